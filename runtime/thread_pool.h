// Threads that live as long as the model and stay on their CPUs, so that each keeps reading the
// same part of the weights. Work is given to all at once and the caller is thread 0; inside,
// threads meet at the pool's barrier. Not for tasks of uneven size or for waiting on files. Tested
// by tests/runtime_thread_pool_test.cc.
#ifndef NINFER_RUNTIME_THREAD_POOL_H_
#define NINFER_RUNTIME_THREAD_POOL_H_

#include <sched.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/barrier.h"
#include "runtime/cpu_limits.h"

namespace ninfer::runtime {

class ThreadPool {
 public:
  // 0 threads: as many as the limits allow. Threads are pinned, one to a CPU, when there are enough
  // CPUs for them; the calling thread is pinned too until the pool ends, and must be the one that
  // calls Run.
  explicit ThreadPool(int threads = 0, const CpuLimits& limits = ReadCpuLimits());
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }
  // Calls job(0) .. job(size - 1), one on each thread, and returns when all have returned.
  void Run(absl::FunctionRef<void(int thread)> job);
  // Inside a job: waits until all threads have come here.
  void Meet() { barrier_.Wait(); }

 private:
  void Work(int thread);

  const int size_;
  std::vector<int> pinned_;  // CPU of each thread; empty when they are not pinned
  cpu_set_t callers_mask_;
  Barrier barrier_;
  const absl::FunctionRef<void(int)>* job_ = nullptr;  // null: end
  std::vector<std::thread> threads_;
};

// The part [begin, end) of `count` units that thread `thread` of `threads` runs: contiguous and the
// same in every step.
struct UnitRange {
  int64_t begin, end;
};
inline UnitRange DealUnits(int64_t count, int thread, int threads) {
  return {count * thread / threads, count * (thread + 1) / threads};
}

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_THREAD_POOL_H_
