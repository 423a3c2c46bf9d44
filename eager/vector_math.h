// e^x in a form that compilers turn into vector code: x = n ln 2 + r, a polynomial for e^r (the
// minimax coefficients of Cephes' expf), n into the exponent. Relative error below 2e-7; 0 below
// -86.6 and infinity above 88.72, where the result leaves the normal floats; NaN stays NaN. Tested
// by tests/eager_test.cc.
#ifndef NINFER_EAGER_VECTOR_MATH_H_
#define NINFER_EAGER_VECTOR_MATH_H_

#include <bit>
#include <cstdint>
#include <limits>

namespace ninfer::eager {

inline float Exp(float x) {
  constexpr float kLowest = -86.6f, kHighest = 88.72f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float c = x < kLowest ? kLowest : x;
  c = c > kHighest ? kHighest : c;
  const float shifted = c * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^(n-1), so that n = 128 stays finite, then doubled.
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound) + 126;
  const float scale = std::bit_cast<float>(static_cast<uint32_t>(exponent) << 23);
  float y = p * scale * 2.0f;
  y = x < kLowest ? 0.0f : y;
  return x > kHighest ? std::numeric_limits<float>::infinity() : y;
}

inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_VECTOR_MATH_H_
