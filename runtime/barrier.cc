// Tested by tests/runtime_thread_pool_test.cc.
#include "runtime/barrier.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace ninfer::runtime {
namespace {

void Futex(std::atomic<uint32_t>* word, int operation, uint32_t value) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), operation | FUTEX_PRIVATE_FLAG, value,
          nullptr, nullptr, 0);
}

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t Now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}

}  // namespace

void Barrier::Wait() {
  if (threads_ == 1) return;
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    // Both sides are sequentially consistent: either a sleeper is counted here, or it sees the new
    // phase before it sleeps.
    phase_.store(phase + 1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) Futex(&phase_, FUTEX_WAKE, INT32_MAX);
    return;
  }
  if (!Spin(phase)) Sleep(phase);
}

// The clock is read only now and then: it costs more than the wait for a thread that is on time.
bool Barrier::Spin(uint32_t phase) const {
  int64_t end = 0;
  while (true) {
    for (int i = 0; i < 64; ++i) {
      if (phase_.load(std::memory_order_acquire) != phase) return true;
      Pause();
    }
    if (spin_nanoseconds_ == 0) return false;
    const int64_t now = Now();
    if (end == 0) end = now + spin_nanoseconds_;
    if (now >= end) return false;
  }
}

void Barrier::Sleep(uint32_t phase) {
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (phase_.load(std::memory_order_seq_cst) == phase) Futex(&phase_, FUTEX_WAIT, phase);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace ninfer::runtime
