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

TEST(Quantise, EveryValueIsWithinHalfAScale) {
  for (const char* name : {"int8_g32", "int4_g32", "int8_g32_f32"}) {
    const QuantiseScheme& scheme = *FindQuantiseScheme(name);
    for (float size : {1e-3f, 1.0f, 100.0f}) {
      const std::vector<float> x = Random(32 * 100, size);
      for (size_t begin = 0; begin < x.size(); begin += 32) {
        int8_t integers[32];
        const float scale = QuantiseGroup(scheme, &x[begin], 32, integers);
        float largest = 0;
        for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[begin + i]));
        ASSERT_NEAR(std::fabs(scale), largest / (scheme.bits == 8 ? 127 : 8), largest * 1e-3);
        for (int i = 0; i < 32; ++i) {
          const float bound = std::fabs(scale) / 2 * 1.0001f + std::fabs(x[begin + i]) / 2048;
          // With 4 bits the end without a sign to spare is clamped: one scale at most.
          const float clamped = scheme.bits == 4 && integers[i] == 7 ? std::fabs(scale) : bound;
          ASSERT_LE(std::fabs(x[begin + i] - integers[i] * scale), clamped) << name;
        }
      }
    }
  }
}

TEST(Quantise, LargestMagnitudeOfFourBitsIsMinusEight) {
  const float x[] = {0.5f, -1, 4, 3.9f};
  int8_t integers[4];
  const float scale = QuantiseGroup(*FindQuantiseScheme("int4_g32"), x, 4, integers);
  EXPECT_EQ(scale, -0.5f);
  EXPECT_EQ(integers[0], -1);
  EXPECT_EQ(integers[1], 2);
  EXPECT_EQ(integers[2], -8);
  EXPECT_EQ(integers[3], -8);
}

TEST(Quantise, HalfwayValuesGoToTheEvenInteger) {
  const float x[] = {127, 0.5f, 1.5f, -2.5f};
  int8_t integers[4];
  EXPECT_EQ(QuantiseGroup(*FindQuantiseScheme("int8_g32_f32"), x, 4, integers), 1.0f);
  EXPECT_EQ(integers[1], 0);
  EXPECT_EQ(integers[2], 2);
  EXPECT_EQ(integers[3], -2);
}

TEST(Quantise, ARoundedRowStaysAsItIs) {
  for (const char* name : {"int8_g32", "int4_g32", "int8_g32_f32"}) {
    std::vector<float> x = Random(77, 1), y(77), z(77);
    QuantiseRow(*FindQuantiseScheme(name), x.data(), 77, y.data());
    QuantiseRow(*FindQuantiseScheme(name), y.data(), 77, z.data());
    for (int i = 0; i < 77; ++i) ASSERT_NEAR(y[i], z[i], std::fabs(y[i]) * 1e-6f) << name;
  }
}

TEST(Quantise, ZerosAndTinyValuesBecomeZero) {
  const float x[] = {0, -0.0f, 1e-38f, std::numeric_limits<float>::denorm_min()};
  for (const char* name : {"int8_g32", "int4_g32", "int8_g32_f32"}) {
    int8_t integers[4] = {1, 1, 1, 1};
    EXPECT_EQ(QuantiseGroup(*FindQuantiseScheme(name), x, 4, integers), 0);
    for (int8_t integer : integers) EXPECT_EQ(integer, 0);
  }
}

TEST(Quantise, UnknownNamesAreNotFound) { EXPECT_EQ(FindQuantiseScheme("int3"), nullptr); }

}  // namespace
}  // namespace ninfer
