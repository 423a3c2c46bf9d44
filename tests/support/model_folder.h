// Tiny model folders that tests write for themselves: a safetensors writer, seeded weights of the
// Llama and GPT-2 families with the configuration that fits them, and a folder that goes when the
// test ends.
//
//   TemporaryFolder folder;
//   WriteModel(folder.path(), TinyLlama({.kv_heads = 1, .tied = true}));
#ifndef NINFER_TESTS_SUPPORT_MODEL_FOLDER_H_
#define NINFER_TESTS_SUPPORT_MODEL_FOLDER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"
#include "nlohmann/json.hpp"

namespace ninfer::testing {

struct TestTensor {
  std::string name;
  std::string dtype;  // as the format spells it: "F32", "BF16"
  std::vector<int64_t> shape;
  std::string bytes;
};

// A tensor of normally distributed values around `centre`; its bytes depend on name, shape and
// seed.
TestTensor RandomTensor(const std::string& name, const std::vector<int64_t>& shape,
                        absl::string_view dtype = "F32", float deviation = 0.2f,
                        float centre = 0.0f, uint64_t seed = 1);

// The file's bytes: tensors one after the other in the given order.
std::string SafetensorsBytes(const std::vector<TestTensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {
                                 {"format", "pt"}});
// A file with this header, whatever it says, and these bytes of data.
std::string RawSafetensors(absl::string_view header, absl::string_view data);

struct TestModel {
  nlohmann::json config;
  std::vector<TestTensor> tensors;

  TestTensor* Find(absl::string_view name);  // null when there is none
  void Remove(absl::string_view name);
};

struct TinyOptions {
  int64_t layers = 2;
  int64_t hidden = 24;
  int64_t heads = 4;
  int64_t kv_heads = 2;  // Llama
  int64_t head_dim = 0;  // Llama; 0: hidden / heads
  int64_t inner = 40;
  int64_t vocab = 37;
  int64_t context = 64;
  bool tied = false;
  bool bias = false;         // Llama: attention_bias and mlp_bias
  std::string prefix = "*";  // of tensor names; "*": the family's own
  std::string dtype = "F32";
  uint64_t seed = 1;
};
TestModel TinyLlama(const TinyOptions& options = {});
TestModel TinyGpt2(const TinyOptions& options = {});

// config.json and model.safetensors into an existing folder. A failure ends the test program.
void WriteModel(const std::string& folder, const TestModel& model);
// The same in `shards` files with their index.
void WriteShardedModel(const std::string& folder, const TestModel& model, int shards);
void WriteText(const std::string& path, absl::string_view text);

// A fresh folder, removed with all in it on destruction.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const;

 private:
  std::string path_;
};

}  // namespace ninfer::testing

#endif  // NINFER_TESTS_SUPPORT_MODEL_FOLDER_H_
