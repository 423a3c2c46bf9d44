// MergeLinears: linears of the same x (q, k, v; gate, up) become one linear of the concatenated
// weight, and slices of its result stand for theirs: one larger pass over x, one launch. Biases
// that follow are concatenated too and added once, but for a pair of equal width (gate and up),
// whose two halves meet in the epilogue and take their own biases there.
//
// Proves: bitwise-equal outputs: a column's sum is over the same products in the same order.
// Order: after cse, which makes equal x one value; before precision, so that one cast serves the
// merged weight, and before fuse, which looks for the two halves. A weight with another use (a tied
// embedding) stays by itself, for merging it would store it twice, and so do weights that are to be
// of different types.
//
// Tested by tests/passes_golden_test.cc (tests/passes/merge_linears.ir),
// tests/passes_model_test.cc.
#include <algorithm>
#include <vector>

#include "base/status.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/weight_types.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

// One linear of a group, with the bias that alone uses its result when there is one.
struct Member {
  Node* linear = nullptr;
  Node* bias_add = nullptr;
  Value* bias = nullptr;
  int64_t columns() const { return linear->operand(1)->type().shape[0].offset; }
};

Member MemberOf(Node* linear, const Uses& uses,
                const absl::flat_hash_set<const Value*>& constants) {
  Member member{linear};
  Node* add = uses.OnlyUser(linear->result());
  if (add == nullptr || add->op() != Op::kAdd) return member;
  Value* bias = add->operand(add->operand(0) == linear->result() ? 1 : 0);
  if (!constants.contains(bias) || bias->type().rank() != 1) return member;
  if (bias->type().shape[0] != ir::Dim::Static(member.columns())) return member;
  member.bias_add = add;
  member.bias = bias;
  return member;
}

bool MayMerge(const Node& linear, const Uses& uses,
              const absl::flat_hash_set<const Value*>& constants) {
  const Value* weight = linear.operand(1);
  return constants.contains(weight) && !constants.contains(linear.operand(0)) &&
         weight->type().rank() == 2 && weight->type().shape[0].is_static() &&
         uses.OnlyUser(weight) != nullptr;
}

// Groups in program order; a group of one is no group.
std::vector<std::vector<Member>> FindGroups(const ir::Function& function,
                                            const PassOptions& options) {
  const Uses uses(function);
  const absl::flat_hash_set<const Value*> constants = ConstantValues(function);
  std::vector<std::vector<Member>> groups;
  for (const auto& node : function.nodes()) {
    if (node->op() != Op::kLinear || !MayMerge(*node, uses, constants)) continue;
    const Member member = MemberOf(node.get(), uses, constants);
    const auto same = [&](const std::vector<Member>& group) {
      const Node* first = group[0].linear;
      return first->operand(0) == node->operand(0) &&
             first->operand(1)->type().dtype == node->operand(1)->type().dtype &&
             WeightTypeOf(options, first->operand(1))
                 .SameAs(WeightTypeOf(options, node->operand(1)));
    };
    const auto it = std::find_if(groups.begin(), groups.end(), same);
    if (it != groups.end()) {
      it->push_back(member);
    } else {
      groups.push_back({member});
    }
  }
  groups.erase(std::remove_if(groups.begin(), groups.end(),
                              [](const auto& group) { return group.size() < 2; }),
               groups.end());
  return groups;
}

bool MergesBiases(const std::vector<Member>& group) {
  if (group.size() == 2 && group[0].columns() == group[1].columns()) return false;
  return std::all_of(group.begin(), group.end(), [&](const Member& member) {
    return member.bias != nullptr && member.bias->type().dtype == group[0].bias->type().dtype;
  });
}

absl::Status Merge(ir::Module& module, ir::Function& function, const std::vector<Member>& group) {
  const Node* first = group[0].linear;
  const bool biases = MergesBiases(group);
  std::vector<Value*> weights, bias_parts;
  for (const Member& member : group) {
    weights.push_back(member.linear->operand(1));
    HoistConstant(function, weights.back(), first);
    if (!biases) continue;
    bias_parts.push_back(member.bias);
    HoistConstant(function, member.bias, first);
  }
  ir::Builder builder(&module, &function, first);
  builder.set_provenance(first->result()->provenance());
  Value* merged = builder.Linear(first->operand(0), builder.Concat(weights, 0));
  if (biases) merged = builder.Add(merged, builder.Concat(bias_parts, 0));
  int64_t begin = 0;
  for (const Member& member : group) {
    const Value* replaced = biases ? member.bias_add->result() : member.linear->result();
    builder.set_provenance(replaced->provenance());
    Value* slice =
        builder.Slice(merged, merged->type().rank() - 1, begin, begin + member.columns());
    begin += member.columns();
    NINFER_RETURN_IF_ERROR(builder.status());
    function.ReplaceAllUses(replaced, slice);
    if (biases) function.Erase(member.bias_add);
  }
  for (const Member& member : group) function.Erase(member.linear);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> MergeLinears(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  for (const auto& function : module.functions()) {
    for (const std::vector<Member>& group : FindGroups(*function, options)) {
      if (!rewrites.Next()) return rewrites.made();
      NINFER_RETURN_IF_ERROR(Merge(module, *function, group));
    }
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
