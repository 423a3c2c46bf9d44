// Rounding of groups of values to integers times a scale: the one definition that the tensor
// graph's `quantise`, the weight formats and the generated code agree with, value for value.
// Tested by tests/base_quantise_test.cc.
#ifndef NINFER_BASE_QUANTISE_H_
#define NINFER_BASE_QUANTISE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace ninfer {

enum class QuantiseGrid : uint8_t { kSymmetric, kShifted, kTable };

struct QuantiseScheme {
  absl::string_view name;
  absl::string_view flag;  // what --weights calls it; empty for what is not for weights
  QuantiseGrid grid;
  int bits;
  int64_t group;  // neighbouring values that share a scale; 0: all of a row
  DType scale;    // f32 or f16
  int lowest() const { return bits == 8 ? -127 : -8; }
  int highest() const { return bits == 8 ? 127 : 7; }
  // Of the byte that stands for an integer where products are made: byte - zero point. Shifted
  // groups have their own.
  int zero_point() const { return grid == QuantiseGrid::kTable ? 128 : 1 << (bits - 1); }
  int64_t GroupOf(int64_t columns) const { return group == 0 ? columns : group; }
};

#define QUANTISE(enumerator, text, flag, grid, bits, group, scale)                  \
  inline constexpr QuantiseScheme k##enumerator = {text, flag,  QuantiseGrid::grid, \
                                                   bits, group, DType::scale};
#include "base/quantise.def"

inline constexpr int64_t kQuantiseBlock = 32;

// Sixteen integers, ascending. Found by Lloyd's method for groups of 32 normally distributed values
// with the scale chosen as below.
inline constexpr int8_t kQuantiseTable[16] = {-127, -101, -79, -61, -46, -33, -21, -9,
                                              2,    13,   24,  36,  49,  64,  82,  109};

// Null when there is none of that name.
const QuantiseScheme* FindQuantiseScheme(absl::string_view name);
std::vector<absl::string_view> ListQuantiseSchemes();
// By what --weights calls it, and all of these.
const QuantiseScheme* FindWeightScheme(absl::string_view flag);
std::vector<std::string> ListWeightSchemes();

// A scale below this is taken as 0, and with it the whole group: its inverse would overflow.
inline constexpr float kSmallestQuantiseScale = 1e-30f;

struct QuantisedGroup {
  float scale;
  int zero;  // of a shifted group, else the scheme's zero point
};

// How a KV cache of integers keeps one position's keys, or values, of one head: one scale for all.
inline constexpr QuantiseScheme kCacheScheme = kInt8RowF32;
inline constexpr int kCacheZero = 128;  // of the byte that stands for an integer there

// The integers of one group of `count` values. Each is the multiple of the returned scale that is
// nearest to x / scale (of two the even one; of a table's the lower), clamped to the grid. So for
// finite x
//   symmetric  |x - integer * scale| <= |scale| / 2, save where the rounding of the scale to f16
//   left
//              the largest value outside, which is then clamped: <= |scale| / 2 + |x| / 2048; of 4
//              bits at the end that lacks an integer <= |scale|;
//   shifted    <= scale + |x| / 2048, since the zero is rounded too;
//   table      <= half the gap between neighbours of the table times |scale|, or, of a value beyond
//              its ends, what the least squared error of the group pays for it.
QuantisedGroup QuantiseGroup(const QuantiseScheme& scheme, const float* x, int64_t count,
                             int8_t* integers);

// The same of a table with a weight of each value's squared error (null: 1). A group of values that
// are all multiples of one scale of the scheme stays as it is.
QuantisedGroup QuantiseTableGroup(const QuantiseScheme& scheme, const float* x,
                                  const float* importance, int64_t count, int8_t* integers);
// The table's integer nearest to x / scale; `inverse` is 1 / scale, 0 for a scale of 0.
int8_t NearestOfTable(float x, float inverse);

// How an integer of a group is stored, as an unsigned number of the scheme's bits, and back.
int LevelOf(const QuantiseScheme& scheme, int integer, int zero);
int IntegerOf(const QuantiseScheme& scheme, int level, int zero);

// y = integer * scale for every group of a row of `count` values; the last group may be shorter. x
// may be y.
void QuantiseRow(const QuantiseScheme& scheme, const float* x, int64_t count, float* y);

// What is multiplied with the integers of a cache: `count` values as multiples of the returned
// scale, each the nearest to x / scale (of two the even one), at most WordLevels(terms) of 16 bits,
// so that the sum of `terms` products with 8 bits fits 32, and 256 times one byte with a sign and
// another gives each integer. So for finite x |x - integer * scale| <= 0.51 * scale, and scale =
// the largest magnitude / WordLevels(terms).
int WordLevels(int64_t terms);
float RoundToWords(const float* x, int64_t count, int64_t terms, int16_t* integers);

}  // namespace ninfer

#endif  // NINFER_BASE_QUANTISE_H_
