// The most multiply-adds a second that the vector units can start: independent accumulators, enough
// to hide the latency, no memory. On some CPUs VDPBF16PS starts only every other cycle and FMA on
// f32 is the faster way; so both are measured and named. Tested by tests/bench_machine_test.cc.
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "base/machine.h"
#include "bench/machine.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ninfer::bench {
namespace {

// Runs so many rounds and returns the operations done; what it computed goes to the sink.
using Loop = int64_t (*)(int64_t rounds, float* sink);

#if defined(__x86_64__)
constexpr int kWide = 24;    // of 32 registers
constexpr int kNarrow = 12;  // of 16

__attribute__((target("avx512f"))) int64_t Fma512(int64_t rounds, float* sink) {
  __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1.001f), sums[kWide];
  for (int i = 0; i < kWide; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 24
    for (int i = 0; i < kWide; ++i) sums[i] = _mm512_fmadd_ps(a, b, sums[i]);
  }
  __m512 sum = sums[0];
  for (int i = 1; i < kWide; ++i) sum = _mm512_add_ps(sum, sums[i]);
  *sink += sum[0] + sum[15];
  return rounds * kWide * 16 * 2;
}

__attribute__((target("avx512f,avx512bf16"))) int64_t Dot512(int64_t rounds, float* sink) {
  __m512i pairs = _mm512_set1_epi16(0x3f7f);
  __m512 sums[kWide];
  for (int i = 0; i < kWide; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(pairs));
    const __m512bh x = (__m512bh)pairs;
#pragma GCC unroll 24
    for (int i = 0; i < kWide; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], x, x);
  }
  __m512 sum = sums[0];
  for (int i = 1; i < kWide; ++i) sum = _mm512_add_ps(sum, sums[i]);
  *sink += sum[0] + sum[15];
  return rounds * kWide * 32 * 2;
}

__attribute__((target("avx512f,avx512vnni"))) int64_t IntegerDot512(int64_t rounds, float* sink) {
  __m512i bytes = _mm512_set1_epi8(1), sums[kWide];
  for (int i = 0; i < kWide; ++i) sums[i] = _mm512_set1_epi32(i);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(bytes));
#pragma GCC unroll 24
    for (int i = 0; i < kWide; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], bytes, bytes);
  }
  __m512i sum = sums[0];
  for (int i = 1; i < kWide; ++i) sum = _mm512_add_epi32(sum, sums[i]);
  int32_t lanes[16];
  _mm512_storeu_si512(lanes, sum);
  *sink += static_cast<float>(lanes[0]) + static_cast<float>(lanes[15]);
  return rounds * kWide * 64 * 2;
}

__attribute__((target("avx2,fma"))) int64_t Fma256(int64_t rounds, float* sink) {
  __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1.001f), sums[kNarrow];
  for (int i = 0; i < kNarrow; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (int i = 0; i < kNarrow; ++i) sums[i] = _mm256_fmadd_ps(a, b, sums[i]);
  }
  __m256 sum = sums[0];
  for (int i = 1; i < kNarrow; ++i) sum = _mm256_add_ps(sum, sums[i]);
  *sink += sum[0] + sum[7];
  return rounds * kNarrow * 8 * 2;
}
#endif

// Each product depends on its sum, so that none is computed once for all.
int64_t Plain(int64_t rounds, float* sink) {
  typedef float Vector __attribute__((vector_size(16)));
  const Vector a = {0.999f, 0.999f, 0.999f, 0.999f};
  Vector sums[8] = {};
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sums[i] = sums[i] * a + a;
  }
  for (int i = 0; i < 8; ++i) *sink += sums[i][0];
  return rounds * 8 * 4 * 2;
}

struct Candidate {
  const char* name;
  Loop loop;
};

std::vector<Candidate> Candidates(ProductTypes types) {
  std::vector<Candidate> candidates;
#if defined(__x86_64__)
  const absl::flat_hash_set<std::string> features = CpuFeatures();
  if (features.contains("avx512f")) {
    candidates.push_back({"fma-f32-512", Fma512});
  } else if (features.contains("avx2") && features.contains("fma")) {
    candidates.push_back({"fma-f32-256", Fma256});
  }
  if (types.bf16 && features.contains("avx512_bf16")) {
    candidates.push_back({"vdpbf16ps", Dot512});
  }
  if (types.int8 && features.contains("avx512_vnni")) {
    candidates.push_back({"vpdpbusd", IntegerDot512});
  }
#endif
  if (candidates.empty()) candidates.push_back({"multiply-add-f32-128", Plain});
  return candidates;
}

std::atomic<float> sink;

}  // namespace

std::vector<MatrixPeak> MeasureMatrixPeaks(runtime::ThreadPool* pool, ProductTypes types,
                                           double seconds) {
  std::vector<MatrixPeak> peaks;
  for (const Candidate& candidate : Candidates(types)) {
    constexpr int64_t kRounds = 20000;
    std::vector<double> rates(pool->size());
    pool->Run([&](int thread) {
      float sum = 0;
      candidate.loop(kRounds, &sum);  // the clock settles on the frequency of wide vectors
      pool->Meet();
      int64_t operations = 0;
      const double start = Seconds();
      double now = start;
      do {
        operations += candidate.loop(kRounds, &sum);
        now = Seconds();
      } while (now - start < seconds);
      rates[thread] = static_cast<double>(operations) / (now - start);
      sink.store(sum, std::memory_order_relaxed);
    });
    double total = 0;
    for (double rate : rates) total += rate;
    peaks.push_back({candidate.name, total});
  }
  return peaks;
}

}  // namespace ninfer::bench
