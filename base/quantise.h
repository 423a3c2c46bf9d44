// Rounding of groups of values to integers times a scale: the one definition that the tensor
// graph's `quantise`, the weight formats and the generated code agree with, value for value.
// Tested by tests/base_quantise_test.cc.
#ifndef NINFER_BASE_QUANTISE_H_
#define NINFER_BASE_QUANTISE_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace ninfer {

struct QuantiseScheme {
  absl::string_view name;
  int bits;
  int64_t group;  // neighbouring values that share a scale
  DType scale;    // f32 or f16
  int lowest() const { return bits == 8 ? -127 : -8; }
  int highest() const { return bits == 8 ? 127 : 7; }
  // What is added to an integer where it is stored without a sign.
  int zero_point() const { return 1 << (bits - 1); }
};

// Null when there is none of that name.
const QuantiseScheme* FindQuantiseScheme(absl::string_view name);

// A scale below this is taken as 0, and with it the whole group: its inverse would overflow.
inline constexpr float kSmallestQuantiseScale = 1e-30f;

// The integers of one group of `count` values, at most the scheme's. Each is the multiple of the
// returned scale that is nearest to x / scale (of two the even one), so that for finite x
// |x - integer * scale| <= scale / 2, save where the rounding of the scale to f16 left the largest
// value outside, which is then clamped: <= scale / 2 + |x| / 2048.
float QuantiseGroup(const QuantiseScheme& scheme, const float* x, int64_t count, int8_t* integers);

// y = integer * scale for every group of a row of `count` values; the last group may be shorter.
void QuantiseRow(const QuantiseScheme& scheme, const float* x, int64_t count, float* y);

}  // namespace ninfer

#endif  // NINFER_BASE_QUANTISE_H_
