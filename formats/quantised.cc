// Panels of integers with a scale for each group: [N/32][segment][K/group], each group of 32
// columns being their scales and then their integers, in the order in which an integer dot product
// of four neighbours along K reads them. 4 bits: one load gives two such steps, low and high
// halves. Tested by tests/formats_test.cc.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/status.h"
#include "formats/layouts.h"

namespace ninfer::formats {
namespace {

constexpr int64_t kNeighbours = 4;  // along K, side by side
constexpr int64_t kMaxGroup = 32;

// One group of a panel.
struct Group {
  const FormatInfo& info;
  uint8_t* scales;
  uint8_t* integers;

  Group(const FormatInfo& format, uint8_t* start)
      : info(format),
        scales(start),
        integers(start + kPanelColumns * DTypeSize(format.scheme->scale)) {}

  // The byte that holds element k of the group, and the shift of its bits in it.
  uint8_t* At(int64_t column, int64_t k, int* shift) const {
    int64_t step = k / kNeighbours;
    *shift = 0;
    if (info.scheme->bits == 4) {
      *shift = step % 2 == 0 ? 0 : 4;
      step /= 2;
    }
    return integers + (step * kPanelColumns + column) * kNeighbours + k % kNeighbours;
  }

  void Store(int64_t column, const int8_t* values, float scale) const {
    ConvertFromFloat(&scale, info.scheme->scale, scales + column * DTypeSize(info.scheme->scale),
                     1);
    const int mask = (1 << info.scheme->bits) - 1;
    for (int64_t k = 0; k < info.k_step; ++k) {
      int shift = 0;
      uint8_t* byte = At(column, k, &shift);
      const int stored = values[k] + info.scheme->zero_point();
      *byte = static_cast<uint8_t>((*byte & ~(mask << shift)) | stored << shift);
    }
  }

  void Load(int64_t column, float* values) const {
    float scale = 0;
    ConvertToFloat(info.scheme->scale, scales + column * DTypeSize(info.scheme->scale), &scale, 1);
    const int mask = (1 << info.scheme->bits) - 1;
    for (int64_t k = 0; k < info.k_step; ++k) {
      int shift = 0;
      const uint8_t* byte = At(column, k, &shift);
      const int integer = (*byte >> shift & mask) - info.scheme->zero_point();
      values[k] = static_cast<float>(integer) * scale;
    }
  }
};

Group GroupAt(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n,
              int64_t k, const void* packed) {
  const int64_t panel = n / kPanelColumns * shape.segments + segment;
  auto* start = static_cast<uint8_t*>(const_cast<void*>(packed));
  return Group(info, start + panel * PanelBytes(info.format, shape.k) +
                         k / info.k_step * GroupBytes(info.format));
}

}  // namespace

void PackQuantised(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                   int64_t n1, const float* rows, void* packed) {
  for (int64_t n = n0; n < n1; n += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, n1 - n);
    for (int64_t k = 0; k < shape.k; k += info.k_step) {
      const Group group = GroupAt(info, shape, segment, n, k, packed);
      const int64_t count = std::min(info.k_step, shape.k - k);
      for (int64_t column = 0; column < kPanelColumns; ++column) {
        int8_t integers[kMaxGroup] = {};
        float scale = 0;
        if (column < columns) {
          const float* row = rows + (n - n0 + column) * shape.k + k;
          scale = QuantiseGroup(*info.scheme, row, count, integers);
        }
        group.Store(column, integers, scale);
      }
    }
  }
}

void UnpackQuantised(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                     int64_t n1, const void* packed, float* rows) {
  float values[kMaxGroup];
  for (int64_t n = n0; n < n1; ++n) {
    for (int64_t k = 0; k < shape.k; k += info.k_step) {
      GroupAt(info, shape, segment, n, k, packed).Load(n % kPanelColumns, values);
      std::copy_n(values, std::min(info.k_step, shape.k - k), rows + (n - n0) * shape.k + k);
    }
  }
}

void UnpackQuantisedTurned(const FormatInfo& info, const PackedShape& shape, int64_t segment,
                           int64_t n0, int64_t n1, const void* packed, int64_t ld, float* out) {
  float values[kMaxGroup];
  for (int64_t n = n0; n < n1; ++n) {
    for (int64_t k = 0; k < shape.k; k += info.k_step) {
      GroupAt(info, shape, segment, n, k, packed).Load(n % kPanelColumns, values);
      const int64_t count = std::min(info.k_step, shape.k - k);
      for (int64_t i = 0; i < count; ++i) out[(k + i) * ld + n - n0] = values[i];
    }
  }
}

}  // namespace ninfer::formats
