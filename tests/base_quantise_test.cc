#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/quantise.h"

namespace ninfer {
namespace {

std::vector<float> Random(int64_t count, float size) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, size);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Half of the widest gap between integers that a value may fall between, in scales.
double HalfGap(const QuantiseScheme& scheme) {
  if (scheme.grid != QuantiseGrid::kTable) return 0.5;
  int widest = 0;
  for (int i = 0; i < 15; ++i) {
    widest = std::max(widest, kQuantiseTable[i + 1] - kQuantiseTable[i]);
  }
  return widest / 2.0;
}

TEST(Quantise, EveryValueIsWithinItsBound) {
  for (const absl::string_view name : ListQuantiseSchemes()) {
    const QuantiseScheme& scheme = *FindQuantiseScheme(name);
    const auto group = static_cast<int>(scheme.GroupOf(200));
    for (float size : {1e-3f, 1.0f, 100.0f}) {
      const std::vector<float> x = Random(group * 100, size);
      for (size_t begin = 0; begin < x.size(); begin += group) {
        std::vector<int8_t> integers(group);
        const QuantisedGroup found = QuantiseGroup(scheme, &x[begin], group, integers.data());
        for (int i = 0; i < group; ++i) {
          const double scale = std::fabs(found.scale), value = x[begin + i];
          double bound = scale * HalfGap(scheme) * 1.0001 + std::fabs(value) / 2048;
          if (scheme.grid == QuantiseGrid::kShifted) bound += scale / 2;
          // With 4 bits the end without a sign to spare is clamped: one scale at most.
          if (scheme.grid == QuantiseGrid::kSymmetric && scheme.bits == 4 && integers[i] == 7) {
            bound = scale;
          }
          const double scaled = value / found.scale;
          const bool beyond = scheme.grid == QuantiseGrid::kTable &&
                              (scaled < kQuantiseTable[0] || scaled > kQuantiseTable[15]);
          if (beyond) continue;  // TablesHaveALessSquaredErrorThanSixteenEvenSteps
          ASSERT_LE(std::fabs(value - integers[i] * double{found.scale}), bound)
              << std::string(name);
        }
      }
    }
  }
}

TEST(Quantise, ScalesAreThoseOfTheTable) {
  std::vector<int8_t> integers(200);
  const std::vector<float> x = Random(200, 1);
  float lowest = 0, highest = 0;
  for (const float value : x) {
    lowest = std::min(lowest, value);
    highest = std::max(highest, value);
  }
  const float largest = std::max(-lowest, highest);
  const auto scale = [&](const char* name) {
    return QuantiseGroup(*FindQuantiseScheme(name), x.data(), 200, integers.data()).scale;
  };
  EXPECT_NEAR(scale("int8_channel"), largest / 127, largest * 1e-5);
  EXPECT_EQ(scale("int8_g32_f32"), largest / 127);
  EXPECT_NEAR(std::fabs(scale("int4_g128")), largest / 8, largest * 1e-4);
  EXPECT_NEAR(scale("int4a_g128"), (highest - lowest) / 15, largest * 1e-4);
}

double SquaredError(const char* name, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  QuantiseRow(*FindQuantiseScheme(name), x.data(), static_cast<int64_t>(x.size()), y.data());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += double{x[i] - y[i]} * (x[i] - y[i]);
  return sum;
}

TEST(Quantise, TablesHaveALessSquaredErrorThanSixteenEvenSteps) {
  const std::vector<float> x = Random(32 * 500, 1);
  const double even = SquaredError("int4_g32", x);
  EXPECT_LT(SquaredError("nu4_g32", x), 0.76 * even);
  EXPECT_LT(SquaredError("int4a_g32", x), even);
  EXPECT_GT(SquaredError("int4_g128", x), even);
}

// By trying all of many scales.
TEST(Quantise, TheScaleOfATableIsNearlyTheBest) {
  const QuantiseScheme& scheme = *FindQuantiseScheme("nu4_g32");
  const std::vector<float> all = Random(32 * 50, 1);
  double found = 0, best = 0;
  for (size_t begin = 0; begin < all.size(); begin += 32) {
    int8_t integers[32];
    const float* x = &all[begin];
    const auto error = [&](double scale) {
      double sum = 0;
      for (int i = 0; i < 32; ++i) {
        const int nearest = NearestOfTable(x[i], static_cast<float>(1 / scale));
        sum += (x[i] - nearest * scale) * (x[i] - nearest * scale);
      }
      return sum;
    };
    found += error(QuantiseTableGroup(scheme, x, nullptr, 32, integers).scale);
    double least = INFINITY;
    for (int i = 400; i < 2000; ++i) {
      least = std::min({least, error(4.0 * i / 2000 / 64), error(-4.0 * i / 2000 / 64)});
    }
    best += least;
  }
  EXPECT_LT(found, 1.05 * best);
}

TEST(Quantise, ImportantValuesOfATableAreRoundedLess) {
  const QuantiseScheme& scheme = *FindQuantiseScheme("nu4_g32");
  const std::vector<float> x = Random(32 * 200, 1);
  double plain = 0, weighed = 0;
  for (size_t begin = 0; begin < x.size(); begin += 32) {
    std::vector<float> importance(32, 0.01f);
    for (int i = 0; i < 4; ++i) importance[i * 7] = 1;
    for (const bool weigh : {false, true}) {
      int8_t integers[32];
      const float scale =
          QuantiseTableGroup(scheme, &x[begin], weigh ? importance.data() : nullptr, 32, integers)
              .scale;
      for (int i = 0; i < 4; ++i) {
        const double error = x[begin + i * 7] - double{integers[i * 7] * scale};
        (weigh ? weighed : plain) += error * error;
      }
    }
  }
  EXPECT_LT(weighed, 0.5 * plain);
}

TEST(Quantise, StoredLevelsStandForTheirIntegers) {
  for (const absl::string_view name : ListQuantiseSchemes()) {
    const QuantiseScheme& scheme = *FindQuantiseScheme(name);
    const std::vector<float> x = Random(32, 1);
    int8_t integers[32];
    const QuantisedGroup group = QuantiseGroup(scheme, x.data(), 32, integers);
    for (const int8_t integer : integers) {
      const int level = LevelOf(scheme, integer, group.zero);
      EXPECT_GE(level, 0);
      EXPECT_LT(level, 1 << scheme.bits);
      EXPECT_EQ(IntegerOf(scheme, level, group.zero), integer) << std::string(name);
    }
  }
}

TEST(Quantise, LargestMagnitudeOfFourBitsIsMinusEight) {
  const float x[] = {0.5f, -1, 4, 3.9f};
  int8_t integers[4];
  const float scale = QuantiseGroup(*FindQuantiseScheme("int4_g32"), x, 4, integers).scale;
  EXPECT_EQ(scale, -0.5f);
  EXPECT_EQ(integers[0], -1);
  EXPECT_EQ(integers[1], 2);
  EXPECT_EQ(integers[2], -8);
  EXPECT_EQ(integers[3], -8);
}

TEST(Quantise, HalfwayValuesGoToTheEvenInteger) {
  const float x[] = {127, 0.5f, 1.5f, -2.5f};
  int8_t integers[4];
  EXPECT_EQ(QuantiseGroup(*FindQuantiseScheme("int8_g32_f32"), x, 4, integers).scale, 1.0f);
  EXPECT_EQ(integers[1], 0);
  EXPECT_EQ(integers[2], 2);
  EXPECT_EQ(integers[3], -2);
}

TEST(Quantise, ARoundedRowStaysAsItIs) {
  for (const absl::string_view name : ListQuantiseSchemes()) {
    const std::vector<float> x = Random(2077, 1);
    std::vector<float> y(x.size()), z(x.size());
    QuantiseRow(*FindQuantiseScheme(name), x.data(), 2077, y.data());
    QuantiseRow(*FindQuantiseScheme(name), y.data(), 2077, z.data());
    const bool exact = FindQuantiseScheme(name)->scale == DType::kF16;
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(y[i], z[i], exact ? 0 : std::fabs(y[i]) * 1e-6f) << std::string(name);
    }
  }
}

TEST(Quantise, ZerosAndTinyValuesBecomeZero) {
  const float x[] = {0, -0.0f, 1e-38f, std::numeric_limits<float>::denorm_min()};
  for (const absl::string_view name : ListQuantiseSchemes()) {
    float y[4] = {1, 1, 1, 1};
    QuantiseRow(*FindQuantiseScheme(name), x, 4, y);
    for (const float value : y) EXPECT_EQ(value, 0) << std::string(name);
  }
}

// --- a cache of integers, and what is multiplied with it

constexpr int64_t kHeads[] = {1, 5, 24, 64, 80, 96, 128, 256, 512};

TEST(QuantiseCache, EveryValueIsWithinHalfAScaleAndTheLargestIsKept) {
  for (const int64_t head_dim : kHeads) {
    for (const float size : {1e-20f, 1e-3f, 1.0f, 1e20f}) {
      const std::vector<float> x = Random(head_dim * 20, size);
      for (size_t begin = 0; begin < x.size(); begin += head_dim) {
        std::vector<int8_t> integers(head_dim);
        const float scale = QuantiseGroup(kCacheScheme, &x[begin], head_dim, integers.data()).scale;
        int largest = 0;
        for (int64_t i = 0; i < head_dim; ++i) {
          ASSERT_LE(std::fabs(x[begin + i] - integers[i] * double{scale}), 0.5001 * scale);
          largest = std::max(largest, std::abs(int{integers[i]}));
        }
        EXPECT_EQ(largest, 127);
      }
    }
  }
}

// Why a head's row has one scale: groups of 32 have an error that is little less, for half a bit or
// more a value and sums that are not of integers alone.
TEST(QuantiseCache, OneScaleARowCostsLittleBesideGroupsOf32) {
  const auto error = [](const QuantiseScheme& scheme, const std::vector<float>& x, int64_t row) {
    std::vector<float> y(x.size());
    double squares = 0, sum = 0;
    for (size_t i = 0; i < x.size(); i += row) QuantiseRow(scheme, &x[i], row, &y[i]);
    for (size_t i = 0; i < x.size(); ++i) {
      squares += double{x[i] - y[i]} * (x[i] - y[i]);
      sum += double{x[i]} * x[i];
    }
    return std::sqrt(squares / sum);
  };
  for (const int64_t head_dim : {64, 128, 256, 512}) {
    const std::vector<float> x = Random(head_dim * 200, 1);
    const double one = error(kCacheScheme, x, head_dim);
    EXPECT_LT(one, 1.45 * error(*FindQuantiseScheme("int8_g32_f32"), x, head_dim)) << head_dim;
    EXPECT_LT(one, 0.008) << head_dim;
  }
}

TEST(QuantiseCache, WhatIsNoNumberBecomesOne) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& x : {std::vector<float>{nan, nan}, {nan, 1}, {0, 0}}) {
    float y[2] = {9, 9};
    QuantiseRow(kCacheScheme, x.data(), 2, y);
    EXPECT_TRUE(std::isfinite(y[0])) << x[0];
    EXPECT_NEAR(y[1], x[1] == 1 ? 1 : 0, 1e-6);
  }
}

TEST(QuantiseCache, WordsAreWithinHalfAScaleAndTheirProductsFit32Bits) {
  for (const int64_t terms : {1, 64, 512, 518, 519, 4096}) {
    const int levels = WordLevels(terms);
    EXPECT_LE(int64_t{levels} * 127 * terms, INT32_MAX);
    EXPECT_EQ(levels == 32639, terms <= 518);
    const std::vector<float> x = Random(64, 3);
    std::vector<int16_t> integers(64);
    const float scale = RoundToWords(x.data(), 64, terms, integers.data());
    int largest = 0;
    for (int i = 0; i < 64; ++i) {
      ASSERT_LE(std::fabs(x[i] - integers[i] * double{scale}), 0.51 * scale);
      largest = std::max(largest, std::abs(int{integers[i]}));
    }
    EXPECT_EQ(largest, levels);
  }
  const float zeros[] = {0, -0.0f, 1e-38f};
  int16_t integers[] = {9, 9, 9};
  EXPECT_EQ(RoundToWords(zeros, 3, 64, integers), 0);
  for (const int16_t integer : integers) EXPECT_EQ(integer, 0);
}

TEST(Quantise, UnknownNamesAreNotFound) { EXPECT_EQ(FindQuantiseScheme("int3"), nullptr); }

}  // namespace
}  // namespace ninfer
