// Tested by tests/runtime_bandwidth_test.cc.
#include "runtime/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace ninfer::runtime {
namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Eight independent sums of whole cache lines keep enough loads in flight; the sum is returned so
// that the loads are not optimised away.
typedef uint64_t Line __attribute__((vector_size(64)));

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
SumLines(const Line* lines, int64_t count) {
  Line sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int k = 0; k < 8; ++k) sums[k] += lines[i + k];
  }
  for (; i < count; ++i) sums[0] += lines[i];
  for (int k = 1; k < 8; ++k) sums[0] += sums[k];
  return sums[0][0] + sums[0][1] + sums[0][2] + sums[0][3] + sums[0][4] + sums[0][5] + sums[0][6] +
         sums[0][7];
}

std::atomic<uint64_t> sink;

}  // namespace

double ReadOnce(ThreadPool* pool, const void* data, uint64_t bytes) {
  const Line* lines = static_cast<const Line*>(data);
  const int64_t count = static_cast<int64_t>(bytes / sizeof(Line));
  const double start = Seconds();
  pool->Run([&](int thread) {
    const UnitRange part = DealUnits(count, thread, pool->size());
    sink += SumLines(lines + part.begin, part.end - part.begin);
  });
  return Seconds() - start;
}

double MeasureReadBandwidth(ThreadPool* pool, const void* data, uint64_t bytes, double seconds) {
  ReadOnce(pool, data, bytes);
  const double end = Seconds() + seconds;
  double best = ReadOnce(pool, data, bytes);
  do {
    best = std::min(best, ReadOnce(pool, data, bytes));
  } while (Seconds() < end);
  return static_cast<double>(bytes) / best;
}

}  // namespace ninfer::runtime
