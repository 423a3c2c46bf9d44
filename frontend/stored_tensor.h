// A tensor as a checkpoint's file stores it, whatever the format. Nothing is copied: a tensor
// points into the mapped file.
// Tested by tests/safetensors_test.cc, tests/torch_file_test.cc and tests/tf_checkpoint_test.cc.
#ifndef NINFER_FRONTEND_STORED_TENSOR_H_
#define NINFER_FRONTEND_STORED_TENSOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace ninfer::frontend {

// What the writer of a file noted of some bytes, by which a change since can be told.
struct Checksum {
  enum class Kind : uint8_t { kNone, kCrc32, kMaskedCrc32c };  // of zip, of TensorFlow
  Kind kind = Kind::kNone;
  uint32_t value = 0;
  const uint8_t* data = nullptr;
  uint64_t bytes = 0;
};

// An error "WHERE: expected checksum X, found Y" where the bytes do not have this sum.
absl::Status Verify(absl::string_view where, const Checksum& checksum);

// A tensor in a file whose header has been checked: every element is inside the file.
struct StoredTensor {
  std::string name;
  std::string file;  // for messages
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  // Distances in elements along each dimension; empty when the elements lie one behind the other.
  std::vector<int64_t> strides;
  const uint8_t* data = nullptr;  // the first element; may lie unaligned
  uint64_t bytes = 0;             // of all elements, without what lies between them
  Checksum checksum;              // verified when the tensor is claimed
};

// "[2,3]", "[]".
std::string ShapeToString(const std::vector<int64_t>& shape);

// The bytes that dtype and shape need; false when the product passes 2^63.
bool BytesNeeded(DType dtype, const std::vector<int64_t>& shape, uint64_t* bytes);

// Copies a tensor's elements into `target`, one behind the other, `tensor.bytes` in all.
void CopyElements(const StoredTensor& tensor, uint8_t* target);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_STORED_TENSOR_H_
