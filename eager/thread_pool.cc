// The piece of a thread depends on the range alone, so that the same rows tend to
// meet the same cache. A worker that finds nothing to do yields some hundred times (a step is a few
// hundred short ranges) and then sleeps in the atomic's wait. What a worker reads of a range it
// reads once it has claimed a piece, and the range stays until that is done.
// Tested by tests/eager_test.cc.
#include "eager/thread_pool.h"

#include <algorithm>
#include <mutex>

namespace ninfer::eager {
namespace {

constexpr int kYields = 400;

}  // namespace

ThreadPool::ThreadPool(int threads)
    : open_(std::make_unique<std::atomic<uint32_t>[]>(std::max(threads, 1))) {
  for (int i = 1; i < threads; ++i) {
    workers_.emplace_back([this, i] { Work(i); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

bool ThreadPool::Claim(int64_t index, uint32_t epoch) {
  return open_[index].compare_exchange_strong(epoch, 0);
}

void ThreadPool::RunPiece(int64_t index) {
  const int64_t begin = count_ * index / pieces_;
  const int64_t end = count_ * (index + 1) / pieces_;
  if (begin < end) (*body_)(begin, end);
  pending_.fetch_sub(1);
}

void ThreadPool::Work(int index) {
  uint32_t seen = 0;
  while (true) {
    for (int i = 0; i < kYields && epoch_.load() == seen; ++i) std::this_thread::yield();
    epoch_.wait(seen);
    seen = epoch_.load();
    if (stop_.load()) return;
    if (Claim(index, seen)) RunPiece(index);
  }
}

void ThreadPool::For(int64_t count, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> body) {
  if (count <= 0) return;
  const int64_t most = (count + std::max<int64_t>(grain, 1) - 1) / std::max<int64_t>(grain, 1);
  const int64_t pieces = std::min<int64_t>(threads(), most);
  if (pieces == 1) return body(0, count);
  body_ = &body;
  count_ = count;
  pieces_ = pieces;
  pending_.store(pieces);
  const uint32_t epoch = epoch_.load() == UINT32_MAX ? 1 : epoch_.load() + 1;
  for (int64_t i = 1; i < pieces; ++i) open_[i].store(epoch);
  epoch_.store(epoch);
  epoch_.notify_all();
  RunPiece(0);
  for (int64_t i = 1; i < pieces; ++i) {
    if (Claim(i, epoch)) RunPiece(i);
  }
  while (pending_.load() != 0) std::this_thread::yield();
}

absl::Status ThreadPool::ForEach(int64_t count, absl::FunctionRef<absl::Status(int64_t)> body) {
  std::mutex mutex;
  absl::Status first_error;
  For(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const absl::Status status = body(i);
      if (status.ok()) continue;
      std::lock_guard<std::mutex> lock(mutex);
      first_error.Update(status);
      return;
    }
  });
  return first_error;
}

}  // namespace ninfer::eager
