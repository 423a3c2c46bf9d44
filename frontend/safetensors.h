// The safetensors format: eight bytes of header length, a JSON header, the tensors' bytes. A file
// is mapped, never copied; a checkpoint is one file or the shards that an index names. Agrees with
// the reference implementation (huggingface/safetensors, `Metadata::validate`): tensors lie without
// gaps or overlaps and end where the file ends. Stricter in one thing: a name may not stand twice.
// Tested by tests/safetensors_test.cc, fuzzed by tests/fuzz/safetensors_fuzz.cc.
#ifndef NINFER_FRONTEND_SAFETENSORS_H_
#define NINFER_FRONTEND_SAFETENSORS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"
#include "base/file.h"

namespace ninfer::frontend {

// A tensor in a file whose header has been checked: the bytes are inside the file, and as many as
// dtype and shape need.
struct StoredTensor {
  std::string name;
  std::string file;  // for messages
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;  // may lie unaligned
  uint64_t bytes = 0;
};

// "[2,3]", "[]".
std::string ShapeToString(const std::vector<int64_t>& shape);

// Reads a whole file's contents. The tensors point into `contents`, in the order in which they lie.
absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(absl::string_view file,
                                                           absl::string_view contents);

// The shards' names by tensor, as model.safetensors.index.json gives them, checked to be plain
// names.
absl::StatusOr<absl::flat_hash_map<std::string, std::string>> ParseShardIndex(
    absl::string_view file, absl::string_view text);

class Checkpoint {
 public:
  // model.safetensors of the folder, else the shards of model.safetensors.index.json.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> OpenFolder(const std::string& folder);
  // One file of any name.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> OpenFile(const std::string& path);

  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* Find(absl::string_view name) const;  // null when there is none
  // The file, or the index: where messages say that a tensor is missing.
  const std::string& path() const { return path_; }

 private:
  absl::Status AddFile(const std::string& path);
  absl::Status OpenShards(const std::string& folder);

  std::string path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<StoredTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;
};

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_SAFETENSORS_H_
