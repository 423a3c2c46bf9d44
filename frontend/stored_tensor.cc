// See the header.
// Tested by tests/safetensors_test.cc, tests/torch_file_test.cc and tests/tf_checkpoint_test.cc.
#include "frontend/stored_tensor.h"

#include <zlib.h>

#include <array>
#include <cstring>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ninfer::frontend {
namespace {

// CRC-32C (Castagnoli), eight bytes at a time: Debian has no library of it.
using Crc32cTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Crc32cTables MakeCrc32cTables() {
  Crc32cTables tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    tables[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (int t = 1; t < 8; ++t) {
      tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xff];
    }
  }
  return tables;
}

uint32_t Crc32c(const uint8_t* data, uint64_t bytes) {
  static constexpr Crc32cTables kTables = MakeCrc32cTables();
  uint32_t crc = ~0u;
  for (; bytes >= 8; bytes -= 8, data += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data, sizeof(word));
    word ^= crc;
    crc = 0;
    for (int t = 0; t < 8; ++t) crc ^= kTables[7 - t][(word >> (8 * t)) & 0xff];
  }
  for (; bytes > 0; --bytes, ++data) crc = (crc >> 8) ^ kTables[0][(crc ^ *data) & 0xff];
  return ~crc;
}

// Rotated and shifted, as LevelDB and TensorFlow store a sum of bytes that may hold sums.
uint32_t Mask(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

}  // namespace

absl::Status Verify(absl::string_view where, const Checksum& checksum) {
  if (checksum.kind == Checksum::Kind::kNone) return absl::OkStatus();
  const uint32_t found = checksum.kind == Checksum::Kind::kCrc32
                             ? static_cast<uint32_t>(crc32_z(0, checksum.data, checksum.bytes))
                             : Mask(Crc32c(checksum.data, checksum.bytes));
  if (found == checksum.value) return absl::OkStatus();
  return InvalidArgument(where, ": expected ", checksum.bytes, " bytes with checksum ",
                         absl::StrFormat("%08x, found %08x", checksum.value, found));
}

std::string ShapeToString(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ","), "]");
}

bool BytesNeeded(DType dtype, const std::vector<int64_t>& shape, uint64_t* bytes) {
  int64_t product = 1;
  for (int64_t dim : shape) {
    if (__builtin_mul_overflow(product, dim, &product)) return false;
  }
  if (__builtin_mul_overflow(product, DTypeSize(dtype), &product)) return false;
  *bytes = static_cast<uint64_t>(product);
  return true;
}

void CopyElements(const StoredTensor& tensor, uint8_t* target) {
  if (tensor.bytes == 0) return;
  if (tensor.strides.empty()) {
    std::memcpy(target, tensor.data, tensor.bytes);
    return;
  }
  const size_t rank = tensor.shape.size();
  const size_t size = DTypeSize(tensor.dtype);
  std::vector<int64_t> index(rank, 0);
  int64_t offset = 0;  // elements from the first
  for (uint64_t done = 0; done < tensor.bytes; done += size) {
    std::memcpy(target + done, tensor.data + offset * static_cast<int64_t>(size), size);
    for (size_t d = rank; d-- > 0;) {
      offset += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      offset -= tensor.strides[d] * tensor.shape[d];
      index[d] = 0;
    }
  }
}

}  // namespace ninfer::frontend
