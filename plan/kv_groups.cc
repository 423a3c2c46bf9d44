#include "plan/kv_groups.h"

#include <algorithm>
#include <map>

#include "base/page_table.h"

namespace ninfer::plan {

int64_t KvGroup::Bytes(int64_t positions, int64_t page_positions) const {
  return std::min(PagesFor(std::max<int64_t>(positions, 0), page_positions), pages_held) *
         page_bytes;
}

int64_t PagesHeld(int64_t window, int64_t max_tokens, int64_t page_positions, int64_t most_pages) {
  if (window == 0) return most_pages;
  // The first and the last page may hold one of the positions each.
  return std::min(most_pages, PagesFor(window - 1 + max_tokens, page_positions) + 1);
}

std::vector<KvGroup> KvGroups(const Plan& plan, const std::vector<int64_t>& page_bytes) {
  std::map<int64_t, KvGroup> groups;
  for (size_t i = 0; i < plan.kv_layers.size(); ++i) {
    const KvLayer& layer = plan.kv_layers[i];
    KvGroup& group = groups[layer.window];
    group.window = layer.window;
    group.layers.push_back(static_cast<int>(i));
    group.page_bytes += page_bytes.empty() ? layer.page_bytes : page_bytes[i];
  }
  std::vector<KvGroup> out;
  for (auto& [window, group] : groups) {
    const int64_t positions = plan.kv_layers[0].page_positions;
    const int64_t pages = UpperBound(plan, "G", PagesFor(plan.metadata.context_length, positions));
    group.pages_held = PagesHeld(window, UpperBound(plan, "T", 1), positions, pages);
    out.push_back(std::move(group));
  }
  return out;
}

int64_t UpperBound(const Plan& plan, absl::string_view symbol, int64_t fallback) {
  for (const Symbol& candidate : plan.symbols) {
    if (candidate.name == symbol) return candidate.max;
  }
  return fallback;
}

}  // namespace ninfer::plan
