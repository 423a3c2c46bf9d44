// See weight_name.h.
// Tested by tests/program_planner_test.cc, tests/compiler_quality_test.cc.
#include "passes/weight_name.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace ninfer::passes {

std::string JoinWeightNames(absl::Span<const absl::string_view> names) {
  std::vector<std::string> parts;
  absl::string_view prefix;
  for (const absl::string_view name : names) {
    if (parts.empty()) {
      const std::vector<absl::string_view> words = absl::StrSplit(name, '.');
      const size_t kept =
          words.size() > 2 ? words[words.size() - 2].size() + words.back().size() + 1 : name.size();
      prefix = name.substr(0, name.size() - kept);
      parts.emplace_back(name);
    } else {
      const bool same = name.substr(0, prefix.size()) == prefix;
      parts.emplace_back(same ? name.substr(prefix.size()) : name);
    }
  }
  constexpr size_t kMostParts = 6;  // of many experts the first and the last stand for all
  if (parts.size() > kMostParts) parts = {parts[0], parts[1], "...", parts.back()};
  return absl::StrJoin(parts, "/");
}

std::vector<const ir::Value*> WeightsOf(const ir::Value* expression) {
  std::vector<const ir::Value*> weights, pending = {expression};
  absl::flat_hash_set<const ir::Value*> seen = {expression};
  while (!pending.empty()) {
    const ir::Value* value = pending.back();
    pending.pop_back();
    if (value->is_weight()) weights.push_back(value);
    if (value->producer() == nullptr) continue;
    const auto operands = value->producer()->operands();
    for (size_t i = operands.size(); i-- > 0;) {
      if (seen.insert(operands[i]).second) pending.push_back(operands[i]);
    }
  }
  return weights;
}

std::string WeightName(const ir::Value* expression) {
  std::vector<absl::string_view> names;
  for (const ir::Value* weight : WeightsOf(expression)) names.push_back(weight->name());
  return JoinWeightNames(names);
}

}  // namespace ninfer::passes
