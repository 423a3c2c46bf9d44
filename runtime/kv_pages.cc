// Tested by tests/runtime_kv_pages_test.cc.
#include "runtime/kv_pages.h"

#include <algorithm>

#include "base/status.h"
#include "runtime/step_check.h"

namespace ninfer::runtime {
namespace {

// The first page that is held; as many as there are entries when none is.
int64_t FirstHeld(const std::vector<int32_t>& table) {
  const auto held = [](int32_t page) { return page != kNoPage; };
  return std::find_if(table.begin(), table.end(), held) - table.begin();
}

}  // namespace

std::vector<KvGroupLimits> KvLimitsOf(absl::Span<const plan::KvGroup> groups, int64_t total_pages,
                                      int64_t max_sequences) {
  std::vector<KvGroupLimits> limits;
  for (const plan::KvGroup& group : groups) {
    int64_t pages = total_pages > 0 ? total_pages : group.pages_held;
    if (group.window > 0) pages = std::min(pages, max_sequences * group.pages_held);
    limits.push_back({group.window, pages, group.pages_held});
  }
  return limits;
}

KvPages::KvPages(Executor* executor) : executor_(executor) {
  for (const KvGroupLimits& group : executor->limits().kv_groups) {
    free_.emplace_back();
    for (int64_t page = group.total_pages; page > 0; --page) {
      free_.back().push_back(static_cast<int32_t>(page - 1));
    }
  }
}

absl::StatusOr<KvPages::Change> KvPages::Plan(int group, int64_t begin, int64_t end,
                                              const HeldPages& pages) const {
  const ExecutorLimits& limits = executor_->limits();
  const KvGroupLimits& group_limits = limits.kv_groups[group];
  const std::vector<int32_t> none, &table = pages.empty() ? none : pages[group];
  const int64_t wanted = PagesFor(end, limits.page_positions);
  if (wanted > limits.pages_per_sequence) {
    return InvalidArgument("cache: expected at most ", limits.pages_per_sequence,
                           " pages for a sequence, found ", wanted);
  }
  const int64_t entries = static_cast<int64_t>(table.size());
  Change change;
  change.first = FirstHeld(table);
  change.take = std::max<int64_t>(wanted - entries, 0);
  const int64_t held = entries - change.first + change.take;
  const int64_t needed_from = group_limits.FirstSeen(begin) / limits.page_positions;
  const int64_t behind = std::max<int64_t>(std::min(needed_from, entries) - change.first, 0);
  // Those that are too many for one sequence; and when they are short, what it can do without.
  change.drop =
      std::max<int64_t>({held - group_limits.pages_held, change.take - free_pages(group), 0});
  if (group_limits.window == 0) change.drop = 0;
  change.drop = std::min(change.drop, behind);
  if (change.take > free_pages(group) + change.drop) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cache: expected ", change.take, " free pages, found ", free_pages(group) + change.drop));
  }
  return change;
}

absl::Status KvPages::Reserve(int64_t begin, int64_t end, HeldPages* pages) {
  std::vector<Change> changes;
  for (size_t group = 0; group < free_.size(); ++group) {
    NINFER_ASSIGN_OR_RETURN(const Change change, Plan(static_cast<int>(group), begin, end, *pages));
    changes.push_back(change);
  }
  pages->resize(free_.size());
  for (size_t group = 0; group < free_.size(); ++group) {
    std::vector<int32_t>& table = (*pages)[group];
    const Change& change = changes[group];
    for (int64_t i = 0; i < change.drop; ++i) {
      Free(static_cast<int>(group), &table[change.first + i]);
    }
    for (int64_t i = 0; i < change.take; ++i) {
      table.push_back(free_[group].back());
      free_[group].pop_back();
      executor_->ClearPage(static_cast<int>(group), table.back());
    }
  }
  return absl::OkStatus();
}

bool KvPages::Holds(int64_t length, const HeldPages& pages) const {
  const ExecutorLimits& limits = executor_->limits();
  for (size_t group = 0; group < pages.size(); ++group) {
    const int64_t first = limits.kv_groups[group].FirstSeen(length) / limits.page_positions;
    if (length > 0 && first < FirstHeld(pages[group])) return false;
  }
  return true;
}

void KvPages::Truncate(int64_t length, HeldPages* pages) {
  const int64_t kept = PagesFor(length, executor_->limits().page_positions);
  for (size_t group = 0; group < pages->size(); ++group) {
    std::vector<int32_t>& table = (*pages)[group];
    while (static_cast<int64_t>(table.size()) > kept) {
      if (table.back() != kNoPage) Free(static_cast<int>(group), &table.back());
      table.pop_back();
    }
  }
  if (length == 0) pages->clear();
}

void KvPages::Free(int group, int32_t* page) {
  free_[group].push_back(*page);
  *page = kNoPage;
}

std::vector<int32_t> PageTable(const ExecutorLimits& limits,
                               absl::Span<const HeldPages* const> sequences) {
  std::vector<int32_t> table(limits.kv_groups.size() * sequences.size() * limits.pages_per_sequence,
                             kNoPage);
  auto row = table.begin();
  for (size_t group = 0; group < limits.kv_groups.size(); ++group) {
    for (const HeldPages* pages : sequences) {
      std::copy((*pages)[group].begin(), (*pages)[group].end(), row);
      row += limits.pages_per_sequence;
    }
  }
  return table;
}

}  // namespace ninfer::runtime
