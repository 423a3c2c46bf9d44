// Tested by tests/base_quantise_test.cc.
#include "base/quantise.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace ninfer {
namespace {

constexpr QuantiseScheme kSchemes[] = {
#define QUANTISE(enumerator, text, flag, grid, bits, group, scale) k##enumerator,
#include "base/quantise.def"
};

struct Range {
  float lowest = 0, highest = 0;  // 0 is always among the values
};

Range RangeOf(const float* x, int64_t count) {
  Range range;
  for (int64_t i = 0; i < count; ++i) {
    range.lowest = std::min(range.lowest, x[i]);
    range.highest = std::max(range.highest, x[i]);
  }
  return range;
}

float Settle(const QuantiseScheme& scheme, float scale) {
  if (scheme.scale == DType::kF16) scale = F16ToFloat(FloatToF16(scale));
  return std::fabs(scale) >= kSmallestQuantiseScale ? scale : 0;  // 0 for NaN too
}

float InverseOf(float scale) { return scale == 0 ? 0 : 1 / scale; }

QuantisedGroup QuantiseSymmetric(const QuantiseScheme& scheme, const float* x, int64_t count,
                                 int8_t* integers) {
  const Range range = RangeOf(x, count);
  const bool negative = -range.lowest > range.highest;
  const float largest = negative ? range.lowest : range.highest;
  const float scale =
      Settle(scheme, scheme.bits == 8 ? std::fabs(largest) / 127.0f : largest / -8.0f);
  const float inverse = InverseOf(scale);
  const auto lowest = static_cast<float>(scheme.lowest());
  const auto highest = static_cast<float>(scheme.highest());
  for (int64_t i = 0; i < count; ++i) {
    // In this order NaN becomes the lowest integer.
    const float clamped = std::min(std::max(lowest, x[i] * inverse), highest);
    integers[i] = static_cast<int8_t>(std::nearbyint(clamped));
  }
  return {scale, scheme.zero_point()};
}

QuantisedGroup QuantiseShifted(const QuantiseScheme& scheme, const float* x, int64_t count,
                               int8_t* integers) {
  const auto most = static_cast<float>((1 << scheme.bits) - 1);
  const Range range = RangeOf(x, count);
  const float scale = Settle(scheme, (range.highest - range.lowest) / most);
  const float inverse = InverseOf(scale);
  const float zero = std::nearbyint(std::min(std::max(0.0f, -range.lowest * inverse), most));
  for (int64_t i = 0; i < count; ++i) {
    const float clamped = std::min(std::max(-zero, x[i] * inverse), most - zero);
    // The largest takes the last integer even where it is a hair nearer to the last but one, so
    // that rounded values span the whole range and are rounded to themselves.
    const bool last = x[i] == range.highest && scale != 0;
    integers[i] = static_cast<int8_t>(last ? most - zero : std::nearbyint(clamped));
  }
  return {scale, static_cast<int>(zero)};
}

constexpr int kLeastEntryTried = 64, kRefinements = 3;

constexpr float Middle(int index) {
  return static_cast<float>(kQuantiseTable[index] + kQuantiseTable[index + 1]) / 2;
}

// Whether rounding with this scale leaves every value as it is.
bool AreMultiples(const float* x, int64_t count, float scale) {
  const float inverse = InverseOf(scale);
  for (int64_t i = 0; i < count; ++i) {
    if (static_cast<float>(NearestOfTable(x[i], inverse)) * scale != x[i]) return false;
  }
  return true;
}

// The squared error of a scale, and the scale that is best for the integers which that one chooses.
struct Trial {
  double error;
  float refined;
};
Trial TryScale(const float* x, const float* importance, int64_t count, float scale) {
  const float inverse = InverseOf(scale);
  double error = 0, with_x = 0, with_itself = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double weight = importance == nullptr ? 1 : importance[i];
    const int integer = NearestOfTable(x[i], inverse);
    const double difference = x[i] - double{static_cast<float>(integer) * scale};
    error += weight * difference * difference;
    with_x += weight * integer * x[i];
    with_itself += weight * integer * integer;
  }
  return {error, with_itself > 0 ? static_cast<float>(with_x / with_itself) : 0};
}

}  // namespace

const QuantiseScheme* FindQuantiseScheme(absl::string_view name) {
  for (const QuantiseScheme& scheme : kSchemes) {
    if (scheme.name == name) return &scheme;
  }
  return nullptr;
}

const QuantiseScheme* FindWeightScheme(absl::string_view flag) {
  for (const QuantiseScheme& scheme : kSchemes) {
    if (scheme.flag == flag && !flag.empty()) return &scheme;
  }
  return nullptr;
}

std::vector<std::string> ListWeightSchemes() {
  std::vector<std::string> flags;
  for (const QuantiseScheme& scheme : kSchemes) {
    if (!scheme.flag.empty()) flags.emplace_back(scheme.flag);
  }
  return flags;
}

std::vector<absl::string_view> ListQuantiseSchemes() {
  std::vector<absl::string_view> names;
  for (const QuantiseScheme& scheme : kSchemes) names.push_back(scheme.name);
  return names;
}

int8_t NearestOfTable(float x, float inverse) {
  const float scaled = x * inverse;
  int index = 0;  // entries whose middle to the next lies below x; of NaN none does
  for (int i = 0; i < 15; ++i) index += scaled > Middle(i);
  return kQuantiseTable[index];
}

QuantisedGroup QuantiseTableGroup(const QuantiseScheme& scheme, const float* x,
                                  const float* importance, int64_t count, int8_t* integers) {
  const Range range = RangeOf(x, count);
  const float largest = -range.lowest > range.highest ? range.lowest : range.highest;
  float best = 0;
  double least = INFINITY;
  for (const int8_t entry : kQuantiseTable) {
    float scale = Settle(scheme, largest / static_cast<float>(entry));
    if (largest == 0 || AreMultiples(x, count, scale)) {
      best = scale;
      break;
    }
    // Near 0 the rest of the table would be thrown away.
    if (std::abs(entry) < kLeastEntryTried) continue;
    for (int round = 0; round < kRefinements; ++round) {
      const Trial trial = TryScale(x, importance, count, scale);
      if (trial.error < least) {
        least = trial.error;
        best = scale;
      }
      const float refined = Settle(scheme, trial.refined);
      if (refined == scale) break;
      scale = refined;
    }
  }
  const float inverse = InverseOf(best);
  for (int64_t i = 0; i < count; ++i) integers[i] = NearestOfTable(x[i], inverse);
  return {best, scheme.zero_point()};
}

QuantisedGroup QuantiseGroup(const QuantiseScheme& scheme, const float* x, int64_t count,
                             int8_t* integers) {
  switch (scheme.grid) {
    case QuantiseGrid::kSymmetric:
      return QuantiseSymmetric(scheme, x, count, integers);
    case QuantiseGrid::kShifted:
      return QuantiseShifted(scheme, x, count, integers);
    case QuantiseGrid::kTable:
      break;
  }
  return QuantiseTableGroup(scheme, x, nullptr, count, integers);
}

int LevelOf(const QuantiseScheme& scheme, int integer, int zero) {
  if (scheme.grid != QuantiseGrid::kTable) return integer + zero;
  return static_cast<int>(
      std::lower_bound(std::begin(kQuantiseTable), std::end(kQuantiseTable), integer) -
      std::begin(kQuantiseTable));
}

int IntegerOf(const QuantiseScheme& scheme, int level, int zero) {
  return scheme.grid == QuantiseGrid::kTable ? kQuantiseTable[level] : level - zero;
}

void QuantiseRow(const QuantiseScheme& scheme, const float* x, int64_t count, float* y) {
  const int64_t group = scheme.GroupOf(count);
  int8_t some[128];
  std::vector<int8_t> many;
  int8_t* integers = some;
  if (group > static_cast<int64_t>(sizeof(some))) {
    many.resize(group);
    integers = many.data();
  }
  for (int64_t begin = 0; begin < count; begin += group) {
    const int64_t size = std::min(group, count - begin);
    const float scale = QuantiseGroup(scheme, x + begin, size, integers).scale;
    for (int64_t i = 0; i < size; ++i) y[begin + i] = static_cast<float>(integers[i]) * scale;
  }
}

int WordLevels(int64_t terms) {
  return static_cast<int>(std::min<int64_t>(127 * 256 + 127, INT32_MAX / (127 * terms)));
}

float RoundToWords(const float* x, int64_t count, int64_t terms, int16_t* integers) {
  const auto most = static_cast<float>(WordLevels(terms));
  const Range range = RangeOf(x, count);
  const float quotient = std::max(-range.lowest, range.highest) / most;
  const float scale = quotient >= kSmallestQuantiseScale ? quotient : 0;
  const float inverse = InverseOf(scale);
  for (int64_t i = 0; i < count; ++i) {
    const float clamped = std::min(std::max(-most, x[i] * inverse), most);
    integers[i] = static_cast<int16_t>(std::nearbyint(clamped));
  }
  return scale;
}

}  // namespace ninfer
