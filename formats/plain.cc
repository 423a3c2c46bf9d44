// Rows as they are: [rows][columns] in the storage dtype. For what is gathered or broadcast
// (embedding tables, norm weights, biases); not for a linear's weight, which is read 32 columns at
// a time.
// Tested by tests/formats_test.cc.
#include "formats/layouts.h"

namespace ninfer::formats {

void PackPlain(const FormatInfo& info, const PackedShape& shape, int64_t n0, int64_t n1,
               const float* rows, void* packed) {
  uint8_t* target = static_cast<uint8_t*>(packed) + n0 * shape.k * DTypeSize(info.dtype);
  ConvertFromFloat(rows, info.dtype, target, (n1 - n0) * shape.k);
}

void UnpackPlain(const FormatInfo& info, const PackedShape& shape, int64_t n0, int64_t n1,
                 const void* packed, float* rows) {
  const uint8_t* source =
      static_cast<const uint8_t*>(packed) + n0 * shape.k * DTypeSize(info.dtype);
  ConvertToFloat(info.dtype, source, rows, (n1 - n0) * shape.k);
}

}  // namespace ninfer::formats
