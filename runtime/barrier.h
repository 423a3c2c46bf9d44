// A barrier for threads that meet hundreds of times in a step: sense-reversing (Mellor-Crummey and
// Scott, 1991), its counter and its flag on cache lines of their own. A thread that waits spins for
// a moment, then sleeps in the kernel, so that a thread which has lost its CPU does not burn
// another one's. Tested by tests/runtime_thread_pool_test.cc, under ThreadSanitizer too.
#ifndef NINFER_RUNTIME_BARRIER_H_
#define NINFER_RUNTIME_BARRIER_H_

#include <atomic>
#include <cstdint>

namespace ninfer::runtime {

class Barrier {
 public:
  // `spin_nanoseconds`: how long Wait spins before it sleeps; 0 where threads outnumber CPUs.
  Barrier(int threads, int64_t spin_nanoseconds)
      : threads_(threads), spin_nanoseconds_(spin_nanoseconds) {}
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  // Returns when all threads have called it. What they wrote before is seen by all after.
  void Wait();

 private:
  bool Spin(uint32_t phase) const;
  void Sleep(uint32_t phase);

  const int threads_;
  const int64_t spin_nanoseconds_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<int> sleepers_{0};
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_BARRIER_H_
