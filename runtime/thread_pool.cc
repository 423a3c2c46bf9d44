// Tested by tests/runtime_thread_pool_test.cc.
#include "runtime/thread_pool.h"

#include <algorithm>

namespace ninfer::runtime {
namespace {

// Between two steps the workers wait for the caller to choose a token; waking them costs more than
// this.
constexpr int64_t kSpinNanoseconds = 200000;

// One CPU for each thread, from the one that the caller runs on, so that programs which use a part
// of the machine do not all choose its first CPUs.
std::vector<int> ChooseCpus(const CpuLimits& limits, int threads) {
  const std::vector<int>& all = limits.cpus;
  if (threads > static_cast<int>(all.size())) return {};
  size_t first = 0;
  if (threads < static_cast<int>(all.size())) {
    first = std::lower_bound(all.begin(), all.end(), sched_getcpu()) - all.begin();
  }
  std::vector<int> chosen;
  for (int i = 0; i < threads; ++i) chosen.push_back(all[(first + i) % all.size()]);
  return chosen;
}

void Pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);  // a failure leaves the thread free to move
}

int64_t SpinTime(const CpuLimits& limits, int threads) {
  return threads > DefaultThreads(limits) ? 0 : kSpinNanoseconds;
}

}  // namespace

ThreadPool::ThreadPool(int threads, const CpuLimits& limits)
    : size_(threads > 0 ? threads : DefaultThreads(limits)),
      pinned_(ChooseCpus(limits, size_)),
      barrier_(size_, SpinTime(limits, size_)) {
  CPU_ZERO(&callers_mask_);
  sched_getaffinity(0, sizeof(callers_mask_), &callers_mask_);
  for (int i = 1; i < size_; ++i) threads_.emplace_back([this, i] { Work(i); });
  if (!pinned_.empty()) Pin(pinned_[0]);
}

ThreadPool::~ThreadPool() {
  job_ = nullptr;
  barrier_.Wait();
  for (std::thread& thread : threads_) thread.join();
  if (!pinned_.empty()) sched_setaffinity(0, sizeof(callers_mask_), &callers_mask_);
}

void ThreadPool::Run(absl::FunctionRef<void(int)> job) {
  job_ = &job;
  barrier_.Wait();
  job(0);
  barrier_.Wait();
}

void ThreadPool::Work(int thread) {
  if (!pinned_.empty()) Pin(pinned_[thread]);
  while (true) {
    barrier_.Wait();
    if (job_ == nullptr) return;
    (*job_)(thread);
    barrier_.Wait();
  }
}

}  // namespace ninfer::runtime
