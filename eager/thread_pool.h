// A pool of threads that splits a range into contiguous pieces, one a thread. Workers wait briefly
// awake, yielding, then asleep. One caller at a time.
// Tested by tests/eager_test.cc.
#ifndef NINFER_EAGER_THREAD_POOL_H_
#define NINFER_EAGER_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
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

  // Calls body(begin, end) on contiguous pieces of [0, count) of at least `grain` each; the
  // caller's thread takes the first. Returns when all are done.
  void For(int64_t count, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> body);
  // Calls body(i) for i in [0, count), dealt so. Returns the first error, after which that thread
  // has stopped.
  absl::Status ForEach(int64_t count, absl::FunctionRef<absl::Status(int64_t)> body);

 private:
  void Work(int index);
  void RunPiece(int64_t index);

  std::vector<std::thread> workers_;
  std::atomic<int> epoch_{0};    // one more for each For that uses the workers
  std::atomic<int> pending_{0};  // workers that have not finished this epoch
  std::atomic<bool> stop_{false};
  const absl::FunctionRef<void(int64_t, int64_t)>* body_ = nullptr;
  int64_t count_ = 0;
  int64_t pieces_ = 0;
};

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_THREAD_POOL_H_
