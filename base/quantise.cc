// Tested by tests/base_quantise_test.cc.
#include "base/quantise.h"

#include <algorithm>
#include <cmath>

namespace ninfer {
namespace {

constexpr QuantiseScheme kSchemes[] = {
#define QUANTISE(enumerator, text, bits, group, scale) {text, bits, group, DType::scale},
#include "base/quantise.def"
};

constexpr int64_t kMaxGroup = 32;

// The scale before it is rounded.
float ScaleOf(const QuantiseScheme& scheme, const float* x, int64_t count) {
  float lowest = 0, highest = 0;
  for (int64_t i = 0; i < count; ++i) {
    lowest = std::min(lowest, x[i]);
    highest = std::max(highest, x[i]);
  }
  if (scheme.bits == 8) return std::max(-lowest, highest) / 127.0f;
  return (-lowest > highest ? lowest : highest) / -8.0f;
}

}  // namespace

const QuantiseScheme* FindQuantiseScheme(absl::string_view name) {
  for (const QuantiseScheme& scheme : kSchemes) {
    if (scheme.name == name) return &scheme;
  }
  return nullptr;
}

float QuantiseGroup(const QuantiseScheme& scheme, const float* x, int64_t count, int8_t* integers) {
  float scale = ScaleOf(scheme, x, count);
  if (scheme.scale == DType::kF16) scale = F16ToFloat(FloatToF16(scale));
  if (!(std::fabs(scale) >= kSmallestQuantiseScale)) scale = 0;
  const float inverse = scale == 0 ? 0 : 1 / scale;
  const float lowest = static_cast<float>(scheme.lowest());
  const float highest = static_cast<float>(scheme.highest());
  for (int64_t i = 0; i < count; ++i) {
    // In this order NaN becomes the lowest integer.
    const float clamped = std::min(std::max(lowest, x[i] * inverse), highest);
    integers[i] = static_cast<int8_t>(std::nearbyint(clamped));
  }
  return scale;
}

void QuantiseRow(const QuantiseScheme& scheme, const float* x, int64_t count, float* y) {
  int8_t integers[kMaxGroup];
  for (int64_t begin = 0; begin < count; begin += scheme.group) {
    const int64_t size = std::min(scheme.group, count - begin);
    const float scale = QuantiseGroup(scheme, x + begin, size, integers);
    for (int64_t i = 0; i < size; ++i) y[begin + i] = static_cast<float>(integers[i]) * scale;
  }
}

}  // namespace ninfer
