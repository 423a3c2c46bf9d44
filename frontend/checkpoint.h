// The weights of a model folder, whatever their format: a table of tensors in files that stay
// mapped. Of several formats in one folder the first of these is read: safetensors, PyTorch's
// files (each single, or shards that an index names), TensorFlow's checkpoint of OpenAI's GPT-2.
// Tested by tests/safetensors_test.cc, tests/torch_file_test.cc and tests/tf_checkpoint_test.cc.
#ifndef NINFER_FRONTEND_CHECKPOINT_H_
#define NINFER_FRONTEND_CHECKPOINT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/file.h"
#include "frontend/stored_tensor.h"

namespace ninfer::frontend {

class Checkpoint {
 public:
  static absl::StatusOr<std::unique_ptr<Checkpoint>> OpenFolder(const std::string& folder);
  // One safetensors file of any name.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> OpenFile(const std::string& path);

  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* Find(absl::string_view name) const;  // null when there is none
  // The file, or the index: where messages say that a tensor is missing.
  const std::string& path() const { return path_; }

 private:
  // Reads one file's contents, named by the first argument in errors.
  using Parse = absl::StatusOr<std::vector<StoredTensor>> (*)(absl::string_view, absl::string_view);

  absl::Status Add(StoredTensor tensor);
  absl::Status AddFile(const std::string& path, Parse parse);
  absl::Status OpenShards(const std::string& folder, Parse parse);
  // The index at path_, and its shards.
  absl::Status OpenTensorFlow();

  std::string path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<StoredTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;
};

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_CHECKPOINT_H_
