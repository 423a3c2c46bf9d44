// Model folders with goldens of Hugging Face transformers, for tests of interpreters.
#ifndef NINFER_TESTS_EAGER_MODELS_H_
#define NINFER_TESTS_EAGER_MODELS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "frontend/checkpoint.h"
#include "frontend/frontend.h"
#include "tests/test_data.h"

namespace ninfer {

// Whether both folders hold the same case.
inline bool SameCase(const std::string& a, const std::string& b) {
  for (const char* file : {"/config.json", "/golden.safetensors"}) {
    const auto in_a = ReadFile(a + file), in_b = ReadFile(b + file);
    if (!in_a.ok() || !in_b.ok() || *in_a != *in_b) return false;
  }
  return true;
}

inline std::string FolderName(const std::string& folder) {
  return std::filesystem::path(folder).filename().string();
}

inline std::vector<std::string> CaseParents() {
  return {NINFER_SOURCE_DIR "/tests/data/hf-models", TestDataPath("models"),
          TestDataPath("hf-models")};
}

// The folders that lie in `parent` and have a config.json or a golden. What a folder lacks, or a
// family that archs.def has not, fails the tests of that case.
inline std::vector<std::string> CasesIn(const std::string& parent) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    const std::string folder = entry.path().string();
    if (PathExists(folder + "/config.json") || PathExists(folder + "/golden.safetensors")) {
      folders.push_back(folder);
    }
  }
  return folders;
}

// All cases that the project ships or finds: one that is put there is tested without more ado. The
// same case in two places is tested once, from the project's own.
inline std::vector<std::string> GoldenModelFolders() {
  std::vector<std::string> folders = {NINFER_SOURCE_DIR "/models/demo",
                                      NINFER_SOURCE_DIR "/models/demo-draft"};
  std::map<std::string, std::string> named;  // the first folder of a name
  for (const std::string& parent : CaseParents()) {
    for (const std::string& folder : CasesIn(parent)) {
      const auto [first, added] = named.emplace(FolderName(folder), folder);
      if (added || !SameCase(first->second, folder)) folders.push_back(folder);
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

inline std::string FolderTestName(const testing::TestParamInfo<std::string>& info) {
  // Another case of a name that the project has is told by the folder that it lies in.
  const std::filesystem::path path(info.param);
  const std::string own = NINFER_SOURCE_DIR "/tests/data/hf-models/" + FolderName(info.param);
  const bool other = info.param != own && PathExists(own);
  std::string name = (other ? path.parent_path().filename().string() + "_" : "") + FolderName(path);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !isalnum(c); }, '_');
  return name;
}

struct GoldenModel {
  std::unique_ptr<frontend::ImportedModel> imported;
  std::unique_ptr<frontend::Checkpoint> golden;

  size_t vocab() const { return imported->info.vocab_size; }

  std::vector<int32_t> Ids(const char* name) const {
    const frontend::StoredTensor* stored = golden->Find(name);
    std::vector<int32_t> ids;
    for (size_t i = 0; stored != nullptr && i < stored->bytes / 8; ++i) {
      int64_t id;
      std::memcpy(&id, stored->data + i * 8, 8);
      ids.push_back(static_cast<int32_t>(id));
    }
    return ids;
  }

  std::vector<float> Floats(const char* name) const {
    const frontend::StoredTensor* stored = golden->Find(name);
    std::vector<float> values(stored == nullptr ? 0 : stored->bytes / 4);
    if (stored != nullptr) std::memcpy(values.data(), stored->data, stored->bytes);
    return values;
  }

  // Rows for the ids of pictures, in order: [ids, columns], zero elsewhere; empty for a model that
  // does not see. `rows` are transformers' own by default.
  std::vector<float> PictureRows(const std::vector<int32_t>& ids,
                                 std::vector<float> rows = {}) const {
    const frontend::VisionInfo& vision = imported->info.vision;
    if (vision.patch_size == 0) return {};
    if (rows.empty()) rows = Floats("image_hidden_states");
    std::vector<float> all(ids.size() * vision.columns);
    auto next = rows.begin();
    for (size_t i = 0; i < ids.size() && next != rows.end(); ++i) {
      if (ids[i] != vision.image_token_id) continue;
      std::copy(next, next + vision.columns, all.begin() + i * vision.columns);
      next += vision.columns;
    }
    return all;
  }
  std::vector<int32_t> IsPicture(const std::vector<int32_t>& ids) const {
    const frontend::VisionInfo& vision = imported->info.vision;
    std::vector<int32_t> is;
    for (const int32_t id : ids) is.push_back(vision.patch_size > 0 && id == vision.image_token_id);
    return is;
  }

  // The first ids of the golden text, as many as have logits.
  std::vector<int32_t> IdsWithLogits() const {
    std::vector<int32_t> ids = Ids("input_ids");
    ids.resize(Floats("logits").size() / vocab());
    return ids;
  }
};

inline void LoadGoldenModel(const std::string& folder, GoldenModel& model) {
  auto imported = frontend::ImportModel(folder, {});
  ASSERT_TRUE(imported.ok()) << imported.status();
  model.imported = std::make_unique<frontend::ImportedModel>(*std::move(imported));
  auto golden = frontend::Checkpoint::OpenFile(folder + "/golden.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status();
  model.golden = *std::move(golden);
  ASSERT_FALSE(model.Floats("logits").empty());
}

// Of the largest expected value; infinite when the sizes differ or a value is no number.
inline double LargestError(const std::vector<float>& found, const std::vector<float>& expected) {
  double error = 0, largest = 0;
  if (found.size() != expected.size()) return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(found[i])) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(double{found[i]} - double{expected[i]}));
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return error / largest;
}

}  // namespace ninfer

#endif  // NINFER_TESTS_EAGER_MODELS_H_
