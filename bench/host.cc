// Tested by tests/bench_machine_test.cc.
#include "bench/host.h"

namespace ninfer::bench {

Host::Host() : thread_([this] { Work(); }) {}

Host::~Host() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Host::Run(absl::FunctionRef<void()> work) {
  std::unique_lock<std::mutex> lock(mutex_);
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [this] { return work_ == nullptr; });
}

void Host::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return work_ != nullptr || ended_; });
    if (work_ == nullptr) return;
    const absl::FunctionRef<void()> work = *work_;
    lock.unlock();
    work();
    lock.lock();
    work_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace ninfer::bench
