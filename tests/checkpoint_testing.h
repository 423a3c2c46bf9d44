// What tests of checkpoint formats share: the tiny GPT-2 of tests/data/checkpoints, which lies
// there in every format, as one text that says all of an imported model; and damage done to a file.
#ifndef NINFER_TESTS_CHECKPOINT_TESTING_H_
#define NINFER_TESTS_CHECKPOINT_TESTING_H_

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "frontend/frontend.h"
#include "frontend/stored_tensor.h"
#include "ir/text.h"

namespace ninfer::frontend {

inline std::string CheckpointFolder(absl::string_view name) {
  return absl::StrCat(NINFER_SOURCE_DIR, "/tests/data/checkpoints/", name);
}

// The graph, the ids, and every weight's values, rounded to `dtype` where they are not of it; or
// the error.
inline std::string ModelText(const std::string& folder, DType dtype = DType::kF32) {
  const auto model = ImportModel(folder, {});
  if (!model.ok()) return std::string(model.status().message());
  std::string text = ir::Print(model->module);
  absl::StrAppend(&text, "\neos ", absl::StrJoin(model->info.eos_ids, ","));
  for (const ir::Weight& weight : model->module.weights()) {
    if (!weight.literal.empty()) continue;
    const auto view = model->weights->Find(weight.value->name());
    if (!view.ok()) return std::string(view.status().message());
    int64_t count = 1;
    for (int64_t size : view->shape) count *= size;
    std::vector<float> values(count);
    ConvertToFloat(view->dtype, view->data, values.data(), count);
    if (view->dtype != dtype) {
      std::vector<uint32_t> rounded(count);
      ConvertFromFloat(values.data(), dtype, rounded.data(), count);
      ConvertToFloat(dtype, rounded.data(), values.data(), count);
    }
    absl::StrAppend(&text, "\n", weight.value->name(), " ", absl::StrJoin(values, " "));
  }
  return text;
}

// Every tensor's name, shape and bytes, after its checksum was verified; or the error.
inline std::string TensorsText(const absl::StatusOr<std::vector<StoredTensor>>& tensors) {
  if (!tensors.ok()) return std::string(tensors.status().message());
  std::string text;
  for (const StoredTensor& tensor : *tensors) {
    const absl::Status verified = Verify(tensor.name, tensor.checksum);
    if (!verified.ok()) return std::string(verified.message());
    std::string bytes(tensor.bytes, '\0');
    CopyElements(tensor, reinterpret_cast<uint8_t*>(bytes.data()));
    absl::StrAppend(&text, tensor.name, DTypeName(tensor.dtype), ShapeToString(tensor.shape), bytes,
                    "\n");
  }
  return text;
}

// Whether this is an error as a user sees it.
inline bool IsOneLine(absl::string_view message) {
  return absl::StrContains(message, ": expected ") && !absl::StrContains(message, "\n");
}

// Hands out every version of `bytes` that is cut short or has one byte changed, with what was done.
inline void ForEachDamage(
    const std::string& bytes,
    const std::function<void(const std::string&, const std::string&)>& damaged) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    damaged(bytes.substr(0, i), absl::StrCat("cut to ", i, " bytes"));
    constexpr int kChanges[] = {0xff, 0x01, 0x80};
    const int change = kChanges[i % 3];
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ change);
    damaged(changed, absl::StrCat("byte ", i, " changed by ", change));
  }
}

}  // namespace ninfer::frontend

#endif  // NINFER_TESTS_CHECKPOINT_TESTING_H_
