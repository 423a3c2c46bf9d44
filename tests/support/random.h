// A small generator of pseudo-random numbers (SplitMix64: Steele, Lea, Flood 2014). Unlike the
// standard library's distributions it gives the same numbers everywhere.
#ifndef NINFER_TESTS_SUPPORT_RANDOM_H_
#define NINFER_TESTS_SUPPORT_RANDOM_H_

#include <cstdint>

#include "absl/types/span.h"

namespace ninfer {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t Below(int64_t bound) {
    return static_cast<int64_t>(Next() % static_cast<uint64_t>(bound));
  }
  // In [low, high], both included.
  int64_t Between(int64_t low, int64_t high) { return low + Below(high - low + 1); }
  bool OneIn(int64_t n) { return Below(n) == 0; }
  float Uniform() { return static_cast<float>(Next() >> 40) * (1.0f / (1 << 24)); }  // [0, 1)
  // Mean 0 and variance 1, within +-3.5: the sum of twelve uniform numbers.
  float Normal() {
    float sum = -6.0f;
    for (int i = 0; i < 12; ++i) sum += Uniform();
    return sum;
  }
  template <typename T>
  const T& Pick(absl::Span<const T> items) {
    return items[Below(static_cast<int64_t>(items.size()))];
  }

 private:
  uint64_t state_;
};

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_RANDOM_H_
