// Tested by tests/runtime_kv_pages_test.cc.
#include "runtime/kv_pages.h"

#include "base/status.h"
#include "runtime/step_check.h"

namespace ninfer::runtime {

KvPages::KvPages(Executor* executor) : executor_(executor) {
  for (int64_t page = executor->limits().total_pages; page > 0; --page) {
    free_.push_back(static_cast<int32_t>(page - 1));
  }
}

absl::Status KvPages::Reserve(int64_t positions, std::vector<int32_t>* pages) {
  const ExecutorLimits& limits = executor_->limits();
  const int64_t wanted = PagesFor(positions, limits.page_positions);
  const int64_t missing = wanted - static_cast<int64_t>(pages->size());
  if (wanted > limits.pages_per_sequence) {
    return InvalidArgument("cache: expected at most ", limits.pages_per_sequence,
                           " pages for a sequence, found ", wanted);
  }
  if (missing > free_pages()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cache: expected ", missing, " free pages, found ", free_pages()));
  }
  for (int64_t i = 0; i < missing; ++i) {
    pages->push_back(free_.back());
    free_.pop_back();
    executor_->ClearPage(pages->back());
  }
  return absl::OkStatus();
}

void KvPages::Release(std::vector<int32_t>* pages) {
  while (!pages->empty()) {
    free_.push_back(pages->back());
    pages->pop_back();
  }
}

}  // namespace ninfer::runtime
