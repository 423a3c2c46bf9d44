// Panels of 32 output columns: [N/32][segment][K / step][32][step]. A matrix-vector product reads a
// panel from front to back, and a matrix product keeps several rows' 32 sums in registers beside
// it, so one layout serves decode and prefill. `step` is 2 for bf16, whose dot-product instructions
// take pairs along K, and 1 for the dtypes that are widened first.
// Tested by tests/formats_test.cc.
#include <algorithm>
#include <cstring>
#include <vector>

#include "formats/layouts.h"

namespace ninfer::formats {
namespace {

constexpr int64_t kBlock = 64;  // columns of K turned at once, so that both sides stay in the cache

uint8_t* PanelAt(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t panel,
                 void* packed) {
  return static_cast<uint8_t*>(packed) +
         (panel * shape.segments + segment) * PanelBytes(info.format, shape.k);
}

// Element (k, column) of a block that starts at a multiple of the step.
int64_t InBlock(int64_t k, int64_t column, int64_t step) {
  return (k / step * kPanelColumns + column) * step + k % step;
}

}  // namespace

void PackPanels(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                int64_t n1, const float* rows, void* packed) {
  const int64_t step = info.k_step;
  const int64_t padded_k = (shape.k + step - 1) / step * step;
  const int64_t size = DTypeSize(info.dtype);
  float block[kBlock * kPanelColumns];
  for (int64_t n = n0; n < n1; n += kPanelColumns) {
    uint8_t* panel = PanelAt(info, shape, segment, n / kPanelColumns, packed);
    const int64_t columns = std::min(kPanelColumns, n1 - n);
    for (int64_t k = 0; k < padded_k; k += kBlock) {
      const int64_t count = std::min(kBlock, padded_k - k);
      const int64_t inside = std::min(count, shape.k - k);
      if (inside < count || columns < kPanelColumns) std::memset(block, 0, sizeof(block));
      for (int64_t column = 0; column < columns; ++column) {
        const float* source = rows + (n - n0 + column) * shape.k + k;
        for (int64_t i = 0; i < inside; ++i) block[InBlock(i, column, step)] = source[i];
      }
      ConvertFromFloat(block, info.dtype, panel + k * kPanelColumns * size, count * kPanelColumns);
    }
  }
}

void UnpackPanels(const FormatInfo& info, const PackedShape& shape, int64_t segment, int64_t n0,
                  int64_t n1, const void* packed, float* rows) {
  const int64_t step = info.k_step;
  const int64_t padded_k = (shape.k + step - 1) / step * step;
  std::vector<float> panel(padded_k * kPanelColumns);
  for (int64_t n = n0; n < n1; n += kPanelColumns) {
    const uint8_t* source =
        PanelAt(info, shape, segment, n / kPanelColumns, const_cast<void*>(packed));
    ConvertToFloat(info.dtype, source, panel.data(), static_cast<int64_t>(panel.size()));
    const int64_t columns = std::min(kPanelColumns, n1 - n);
    for (int64_t column = 0; column < columns; ++column) {
      float* target = rows + (n - n0 + column) * shape.k;
      for (int64_t k = 0; k < shape.k; ++k) target[k] = panel[InBlock(k, column, step)];
    }
  }
}

void UnpackPanelsTurned(const FormatInfo& info, const PackedShape& shape, int64_t segment,
                        int64_t n0, int64_t n1, const void* packed, int64_t ld, float* out) {
  const int64_t step = info.k_step;
  std::vector<float> group(step * kPanelColumns);  // a step of K
  const int64_t group_bytes = step * kPanelColumns * DTypeSize(info.dtype);
  for (int64_t n = n0; n < n1; n += kPanelColumns) {
    const uint8_t* source =
        PanelAt(info, shape, segment, n / kPanelColumns, const_cast<void*>(packed));
    const int64_t columns = std::min(kPanelColumns, n1 - n);
    for (int64_t k = 0; k < shape.k; ++k) {
      if (k % step == 0) {
        ConvertToFloat(info.dtype, source, group.data(), step * kPanelColumns);
        source += group_bytes;
      }
      const float* from = group.data() + k % step;
      float* to = out + k * ld + n - n0;
      for (int64_t column = 0; column < columns; ++column) to[column] = from[column * step];
    }
  }
}

}  // namespace ninfer::formats
