// Layers that look back equally far, and what they hold of a text. Tested by
// tests/plan_kv_groups_test.cc.
#ifndef NINFER_PLAN_KV_GROUPS_H_
#define NINFER_PLAN_KV_GROUPS_H_

#include <cstdint>
#include <vector>

#include "plan/plan.h"

namespace ninfer::plan {

struct KvGroup {
  int64_t window = 0;       // positions that a row sees, its own among them; 0: all before it
  std::vector<int> layers;  // of Plan::kv_layers
  int64_t page_bytes = 0;   // of one page in all its layers
  int64_t pages_held = 0;   // most that one text holds at once

  // Bytes of the pages that a text of so many positions holds once it has grown step by step.
  int64_t Bytes(int64_t positions, int64_t page_positions) const;
};

// Every step appends `max_tokens` positions at most and reads `window` - 1 before them; a text has
// `most_pages` at most.
int64_t PagesHeld(int64_t window, int64_t max_tokens, int64_t page_positions, int64_t most_pages);

// By window, those without one first. `page_bytes` of each layer's pages; empty: as CPUs have them.
std::vector<KvGroup> KvGroups(const Plan& plan, const std::vector<int64_t>& page_bytes = {});

// The greatest value of a dimension; `fallback` when the plan has none of this name.
int64_t UpperBound(const Plan& plan, absl::string_view symbol, int64_t fallback);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_KV_GROUPS_H_
