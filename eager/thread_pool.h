// A pool of threads that splits a range into contiguous pieces, one a thread. Workers wait briefly
// awake, yielding, then asleep; the pieces of those that have not begun when the caller is done
// with its own are the caller's, too, so that nobody waits for a thread that other programs keep
// from its CPU. One caller at a time. Tested by tests/eager_test.cc.
#ifndef NINFER_EAGER_THREAD_POOL_H_
#define NINFER_EAGER_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace ninfer::eager {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end) on contiguous pieces of [0, count) of at least `grain` each, which
  // depend on these two alone. Returns when all are done.
  void For(int64_t count, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> body);
  // Calls body(i) for i in [0, count), dealt so. Returns the first error, after which that thread
  // has stopped.
  absl::Status ForEach(int64_t count, absl::FunctionRef<absl::Status(int64_t)> body);

 private:
  void Work(int index);
  // True for the one thread that is to run this piece of the epoch.
  bool Claim(int64_t index, uint32_t epoch);
  void RunPiece(int64_t index);

  std::vector<std::thread> workers_;
  std::atomic<uint32_t> epoch_{0};                 // another for each For that uses the workers
  std::unique_ptr<std::atomic<uint32_t>[]> open_;  // by piece: the epoch until it is claimed, or 0
  std::atomic<int64_t> pending_{0};                // pieces of this epoch that are not done
  std::atomic<bool> stop_{false};
  const absl::FunctionRef<void(int64_t, int64_t)>* body_ = nullptr;
  int64_t count_ = 0;
  int64_t pieces_ = 0;
};

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_THREAD_POOL_H_
