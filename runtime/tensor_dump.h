// Tensors of a run by name, written as safetensors: what --dump-tensors=REGEX --dump-to=FILE asks
// for. Rows of later steps follow those of earlier ones, or take their place where each step
// computes the whole text; a tensor whose shape is its step's own is
// written for each step, as `attention.0@3` of the third (under its plain name when it was seen in
// one step alone). Tested by tests/runtime_tensor_dump_test.cc.
#ifndef NINFER_RUNTIME_TENSOR_DUMP_H_
#define NINFER_RUNTIME_TENSOR_DUMP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/dtype.h"

namespace ninfer::runtime {

// "bf16[T,9,64]": a dtype, the name of the first dimension (or its number) and the others. Nothing
// when the text is no such type, a later dimension is symbolic, or a row is longer than any memory.
struct RowType {
  DType dtype = DType::kF32;
  std::string rows;
  std::vector<int64_t> trailing;
  int64_t columns() const;
};
absl::optional<RowType> ParseRowType(absl::string_view type);

class TensorDump {
 public:
  static absl::StatusOr<std::unique_ptr<TensorDump>> Create(const std::string& regex);
  ~TensorDump();

  bool Matches(absl::string_view name) const;
  // Before what a step has to show; steps count from 1. Where it computes the whole text again, as
  // each does without a cache, the rows of its tokens take the place of those of the steps before.
  void NextStep(bool whole_text);
  // Rows of `columns` elements, those of the step's tokens where their dimension is T, `stride`
  // elements from one to the next; all of one type.
  void Append(const std::string& name, const RowType& type, int64_t rows, int64_t stride,
              const void* data);
  // A tensor of this step, dense.
  void AddStep(const std::string& name, DType dtype, const std::vector<int64_t>& shape,
               const void* data);
  absl::Status Write(const std::string& path) const;
  // The refusal of an expression that matches nothing.
  absl::Status NoneMatches() const;

 private:
  struct Pattern;
  struct Tensor {
    DType dtype = DType::kF32;
    std::vector<int64_t> shape;
    std::string bytes;
    int64_t step = 0;  // that it was last seen in
  };
  explicit TensorDump(std::unique_ptr<Pattern> pattern);
  std::unique_ptr<Pattern> pattern_;
  int64_t step_ = 0;
  bool whole_text_ = false;
  std::map<std::string, Tensor> tensors_;                          // of rows
  std::map<std::string, std::map<int64_t, Tensor>> step_tensors_;  // by step
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_TENSOR_DUMP_H_
