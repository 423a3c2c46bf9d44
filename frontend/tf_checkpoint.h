// TensorFlow's checkpoints, version 2 (tensorflow/core/util/tensor_bundle): an index, which is a
// table of protocol buffers by tensor name, and shards of plain bytes.
// Tested by tests/tf_checkpoint_test.cc, fuzzed by tests/fuzz/tf_checkpoint_fuzz.cc.
#ifndef NINFER_FRONTEND_TF_CHECKPOINT_H_
#define NINFER_FRONTEND_TF_CHECKPOINT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "frontend/stored_tensor.h"

namespace ninfer::frontend {

// A tensor of the index: where in which shard its bytes lie.
struct TfEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  int64_t shard = 0;
  uint64_t offset = 0, bytes = 0;
  uint32_t masked_crc32c = 0;
};

struct TfIndex {
  int64_t shards = 0;
  std::vector<TfEntry> entries;  // by name
};

absl::StatusOr<TfIndex> ParseTfIndex(absl::string_view file, absl::string_view contents);

// "PREFIX.data-00000-of-00001".
std::string TfShardName(absl::string_view prefix, int64_t shard, int64_t shards);

// The entry as a tensor of its shard, whose contents these are.
absl::StatusOr<StoredTensor> TfTensor(const TfEntry& entry, absl::string_view shard_file,
                                      absl::string_view shard);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_TF_CHECKPOINT_H_
