// Pages of the cache: which are free, and which a sequence holds, in the order of its positions.
// Tested by tests/runtime_kv_pages_test.cc.
#ifndef NINFER_RUNTIME_KV_PAGES_H_
#define NINFER_RUNTIME_KV_PAGES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/executor.h"

namespace ninfer::runtime {

class KvPages {
 public:
  // All pages of the executor are free. Pages are cleared when they are taken.
  explicit KvPages(Executor* executor);

  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }

  // Takes pages until `pages` holds `positions` positions. Refuses, taking none, when too few are
  // free or a sequence may not have as many.
  absl::Status Reserve(int64_t positions, std::vector<int32_t>* pages);
  // Gives them all back.
  void Release(std::vector<int32_t>* pages);

 private:
  Executor* executor_;
  std::vector<int32_t> free_;  // the next one to take is the last
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_KV_PAGES_H_
