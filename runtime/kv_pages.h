// Pages of the cache: which are free, and which a sequence holds, by layer group and in the order
// of its positions. Layers with a window hold the pages that it covers, and what else there is room
// for in as many pages as their largest step needs, so that a text can go back a little; pages that
// fall behind go back to the free ones. Tested by tests/runtime_kv_pages_test.cc.
#ifndef NINFER_RUNTIME_KV_PAGES_H_
#define NINFER_RUNTIME_KV_PAGES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/page_table.h"
#include "plan/kv_groups.h"
#include "runtime/executor.h"

namespace ninfer::runtime {

// The pages of one sequence: [group][page of its positions], kNoPage for those that fell behind a
// window. Empty before the first Reserve.
using HeldPages = std::vector<std::vector<int32_t>>;

// The limits of these groups when texts of `total_pages` pages together are to be held: layers with
// a window have as many, or what all sequences of a step can need of them. 0: enough for one
// sequence as long as the context.
std::vector<KvGroupLimits> KvLimitsOf(absl::Span<const plan::KvGroup> groups, int64_t total_pages,
                                      int64_t max_sequences);

class KvPages {
 public:
  // All pages of the executor are free. Pages are cleared when they are taken.
  explicit KvPages(Executor* executor);

  int64_t free_pages(int group) const { return static_cast<int64_t>(free_[group].size()); }

  // Makes ready for a step that appends positions [begin, end) to the ones before `begin`, which
  // `pages` must hold as far as the step sees them. Refuses, changing nothing, when too few pages
  // are free or a sequence may not have as many.
  absl::Status Reserve(int64_t begin, int64_t end, HeldPages* pages);
  // Whether a step may append to the first `length` positions: a window may need pages before those
  // that are held. A text of no positions needs none.
  bool Holds(int64_t length, const HeldPages& pages) const;
  // Gives back the pages behind the first `length` positions.
  void Truncate(int64_t length, HeldPages* pages);
  // Gives them all back.
  void Release(HeldPages* pages) { Truncate(0, pages); }

 private:
  // What Reserve does to one group.
  struct Change {
    int64_t first = 0, drop = 0;  // of the pages held, the first ones to give back
    int64_t take = 0;
  };
  absl::StatusOr<Change> Plan(int group, int64_t begin, int64_t end, const HeldPages& pages) const;
  void Free(int group, int32_t* page);

  Executor* executor_;
  std::vector<std::vector<int32_t>> free_;  // by group; the next one to take is the last
};

// The step's page table, [groups, sequences, pages_per_sequence], of sequences that hold these
// pages.
std::vector<int32_t> PageTable(const ExecutorLimits& limits,
                               absl::Span<const HeldPages* const> sequences);

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_KV_PAGES_H_
