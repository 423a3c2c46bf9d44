// A thread of its own for everything that pins its caller: a pool keeps the thread that made it on
// one CPU, and engines that are open side by side must not pin each other's. Tested by
// tests/bench_machine_test.cc.
#ifndef NINFER_BENCH_HOST_H_
#define NINFER_BENCH_HOST_H_

#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/functional/function_ref.h"

namespace ninfer::bench {

class Host {
 public:
  Host();
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Runs `work` on the thread and returns when it has returned.
  void Run(absl::FunctionRef<void()> work);

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable changed_;
  const absl::FunctionRef<void()>* work_ = nullptr;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_HOST_H_
