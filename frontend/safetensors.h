// The safetensors format: eight bytes of header length, a JSON header, the tensors' bytes. Agrees
// with the reference implementation (huggingface/safetensors, `Metadata::validate`): tensors lie
// without gaps or overlaps and end where the file ends. Stricter in one thing: a name may not stand
// twice. Tested by tests/safetensors_test.cc, fuzzed by tests/fuzz/safetensors_fuzz.cc.
#ifndef NINFER_FRONTEND_SAFETENSORS_H_
#define NINFER_FRONTEND_SAFETENSORS_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "frontend/stored_tensor.h"

namespace ninfer::frontend {

// Reads a whole file's contents. The tensors point into `contents`, in the order in which they lie.
absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(absl::string_view file,
                                                           absl::string_view contents);

// The shards' names by tensor, as model.safetensors.index.json gives them, checked to be plain
// names.
absl::StatusOr<absl::flat_hash_map<std::string, std::string>> ParseShardIndex(
    absl::string_view file, absl::string_view text);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_SAFETENSORS_H_
