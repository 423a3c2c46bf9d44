// Philox4x32-10 (Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011): a random
// value as a function of a seed and a counter, without state. Tested by
// tests/runtime_sampling_test.cc against the known answers of Random123.
#ifndef NINFER_RUNTIME_SAMPLING_PHILOX_H_
#define NINFER_RUNTIME_SAMPLING_PHILOX_H_

#include <array>
#include <cstdint>

namespace ninfer::runtime {

inline std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                                      std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t low = uint64_t{0xD2511F53} * counter[0];
    const uint64_t high = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(high >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(high),
               static_cast<uint32_t>(low >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(low)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// The `index`-th value of the stream `seed`: uniform in [0, 1), 53 bits.
inline double PhiloxUniform(uint64_t seed, uint64_t index) {
  const std::array<uint32_t, 4> bits =
      Philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0},
             {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return static_cast<double>((uint64_t{bits[1]} << 32 | bits[0]) >> 11) * 0x1p-53;
}

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_SAMPLING_PHILOX_H_
