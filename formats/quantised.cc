// Panels of integers with a scale for each group (BlockLayout), each block of 32 columns in the
// order in which an integer dot product of four neighbours along K reads them. 4 bits: one load
// gives two such steps, low and high halves. Tested by tests/formats_test.cc.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/status.h"
#include "formats/layouts.h"

namespace ninfer::formats {
namespace {

constexpr int64_t kNeighbours = 4;  // along K, side by side

// One panel of one segment.
class Panel {
 public:
  Panel(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n,
        const void* packed)
      : scheme_(*info.scheme),
        layout_(BlocksOf(info.format, shape.k)),
        start_(static_cast<uint8_t*>(const_cast<void*>(packed)) +
               (n / kPanelColumns * shape.segments + segment) * layout_.bytes()) {}

  // The group that begins with block `block`: its scale and zero, then `count` integers, which are
  // padded with zeros to whole blocks.
  void StoreGroup(int64_t block, int64_t column, const QuantisedGroup& group,
                  const int8_t* integers, int64_t count) const {
    uint8_t* header = start_ + layout_.HeaderAt(block);
    const int64_t size = DTypeSize(scheme_.scale);
    ConvertFromFloat(&group.scale, scheme_.scale, header + column * size, 1);
    if (scheme_.grid == QuantiseGrid::kShifted) {
      header[kPanelColumns * size + column] = static_cast<uint8_t>(group.zero);
    }
    const int64_t last = std::min(layout_.blocks, block + layout_.blocks_per_group);
    for (int64_t first = 0; block < last; ++block, first += kQuantiseBlock) {
      uint8_t* const start = start_ + layout_.BlockAt(block);
      for (int64_t k = 0; k < kQuantiseBlock; ++k) {
        const int integer = first + k < count ? integers[first + k] : 0;
        Store(start, column, k, LevelOf(scheme_, integer, group.zero));
      }
    }
  }

  // All of a column: k values.
  void Load(int64_t column, int64_t k, float* values) const {
    const int64_t size = DTypeSize(scheme_.scale);
    for (int64_t block = 0; block < layout_.blocks; ++block) {
      const uint8_t* header = start_ + layout_.HeaderAt(block);
      const uint8_t* start = start_ + layout_.BlockAt(block);
      float scale = 0;
      ConvertToFloat(scheme_.scale, header + column * size, &scale, 1);
      const int zero = scheme_.grid == QuantiseGrid::kShifted
                           ? header[kPanelColumns * size + column]
                           : scheme_.zero_point();
      const int64_t count = std::min(kQuantiseBlock, k - block * kQuantiseBlock);
      for (int64_t i = 0; i < count; ++i) {
        int shift = 0;
        const int64_t at = At(column, i, &shift);
        const int level = start[at] >> shift & Mask();
        *values++ = static_cast<float>(IntegerOf(scheme_, level, zero)) * scale;
      }
    }
  }

 private:
  int Mask() const { return (1 << scheme_.bits) - 1; }

  // Which byte of a block holds its element k, and the shift of its bits in it.
  int64_t At(int64_t column, int64_t k, int* shift) const {
    int64_t step = k / kNeighbours;
    *shift = 0;
    if (scheme_.bits == 4) {
      *shift = step % 2 == 0 ? 0 : 4;
      step /= 2;
    }
    return (step * kPanelColumns + column) * kNeighbours + k % kNeighbours;
  }

  void Store(uint8_t* block, int64_t column, int64_t k, int level) const {
    int shift = 0;
    uint8_t* byte = block + At(column, k, &shift);
    *byte = static_cast<uint8_t>((*byte & ~(Mask() << shift)) | level << shift);
  }

  const QuantiseScheme& scheme_;
  const BlockLayout layout_;
  uint8_t* start_;
};

}  // namespace

void PackQuantised(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                   int64_t n1, const float* rows, void* packed) {
  const int64_t group = std::max<int64_t>(1, info.scheme->GroupOf(shape.k));
  std::vector<int8_t> integers(group);
  for (int64_t n = n0; n < n1; n += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, n1 - n);
    const Panel panel(info, shape, segment, n, packed);
    for (int64_t k = 0; k < shape.k; k += group) {
      const int64_t count = std::min(group, shape.k - k);
      for (int64_t column = 0; column < kPanelColumns; ++column) {
        QuantisedGroup rounded{0, info.scheme->zero_point()};
        if (column < columns) {
          const float* row = rows + (n - n0 + column) * shape.k + k;
          rounded = QuantiseGroup(*info.scheme, row, count, integers.data());
        } else {
          std::fill(integers.begin(), integers.end(), int8_t{0});
        }
        panel.StoreGroup(k / kQuantiseBlock, column, rounded, integers.data(), count);
      }
    }
  }
}

void UnpackQuantised(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                     int64_t n1, const void* packed, float* rows) {
  for (int64_t n = n0; n < n1; ++n) {
    Panel(info, shape, segment, n, packed)
        .Load(n % kPanelColumns, shape.k, rows + (n - n0) * shape.k);
  }
}

void UnpackQuantisedTurned(const FormatInfo& info, const PackedShape& shape, int64_t segment,
                           int64_t n0, int64_t n1, const void* packed, int64_t ld, float* out) {
  std::vector<float> values(shape.k);
  for (int64_t n = n0; n < n1; ++n) {
    Panel(info, shape, segment, n, packed).Load(n % kPanelColumns, shape.k, values.data());
    for (int64_t k = 0; k < shape.k; ++k) out[k * ld + n - n0] = values[k];
  }
}

}  // namespace ninfer::formats
