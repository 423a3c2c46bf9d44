// Which nodes go into one region.
//
// Anchors first: a linear takes its epilogue, attention what views and casts its result, kv_append
// and attention without a cache the rope and cast of k and v. Then the remaining row-by-row nodes
// chain up, as far as one kernel can compute them (program/columns.h). Every group is convex:
// either one value leaves it, or (rowwise) the nodes that were added beside the chain take nothing
// in that the group did not have.
//
// Tested by tests/passes_golden_test.cc (tests/passes/fuse.ir), tests/passes_model_test.cc.
#include "passes/fuse_groups.h"

#include <algorithm>

#include "program/body.h"
#include "program/columns.h"

namespace ninfer::passes {

using ir::Node;
using ir::Op;
using ir::OpClass;
using ir::Value;
using program::Family;

bool IsFreeView(const Node* node) {
  return node != nullptr && (node->op() == Op::kReshape || node->op() == Op::kSlice) &&
         node->operand(0)->type().rank() > 0 && node->result()->type().rank() > 0 &&
         node->operand(0)->type().shape[0] == node->result()->type().shape[0];
}

Value* BehindViews(Value* value) {
  while (IsFreeView(value->producer())) value = value->producer()->operand(0);
  return value;
}

namespace {

// A constant is none here: it stands in the body of whatever reads it.
bool IsPointwise(const Node& node) {
  return node.op() != Op::kConstant && program::IsPointwise(node);
}

bool IsRowwise(const Node& node) {
  const OpClass op_class = node.info().op_class;
  return IsPointwise(node) || node.op() == Op::kRope || op_class == OpClass::kReduce ||
         op_class == OpClass::kGather;
}

// The slices that take the first and the second half of a linear's columns, when they are its only
// uses; null otherwise.
std::pair<Node*, Node*> HalvesOf(const Node& linear, const Uses& uses) {
  const std::vector<Node*>& users = uses.of(linear.result());
  const ir::Type& type = linear.result()->type();
  if (users.size() != 2 || uses.is_result(linear.result()) || type.rank() != 2 ||
      !type.shape[1].is_static() || type.shape[1].offset % 2 != 0) {
    return {nullptr, nullptr};
  }
  const int64_t half = type.shape[1].offset / 2;
  Node* halves[2] = {};
  for (Node* user : users) {
    if (user->op() != Op::kSlice || user->attr_int("axis") != 1) return {nullptr, nullptr};
    const int64_t begin = user->attr_int("begin");
    if (begin % half != 0 || user->attr_int("end") != begin + half) return {nullptr, nullptr};
    halves[begin / half] = user;
  }
  if (halves[0] == nullptr || halves[1] == nullptr) return {nullptr, nullptr};
  return {halves[0], halves[1]};
}

}  // namespace

GroupFinder::GroupFinder(const ir::Function& function)
    : function_(function),
      uses_(function),
      constants_(ConstantValues(function)),
      positions_(Positions(function)) {}

std::vector<FusionGroup> GroupFinder::Find() {
  for (const auto& node : function_.nodes()) {
    if (!IsFree(node.get())) continue;
    if (node->op() == Op::kLinear) ClaimLinear(node.get());
    if (node->info().op_class == OpClass::kAttention) ClaimAttention(node.get());
    if (node->op() == Op::kKvAppend) ClaimAppend(node.get());
  }
  for (const auto& node : function_.nodes()) {
    if (IsFree(node.get()) && IsRowwise(*node)) ClaimRowwise(node.get());
  }
  groups_.erase(std::remove_if(groups_.begin(), groups_.end(),
                               [](const FusionGroup& group) { return group.nodes.empty(); }),
                groups_.end());
  std::sort(groups_.begin(), groups_.end(), [this](const FusionGroup& a, const FusionGroup& b) {
    return positions_.at(a.place) < positions_.at(b.place);
  });
  for (FusionGroup& group : groups_) group.outputs = OutputsOf(group);
  return std::move(groups_);
}

// Free views of a value lead into the regions that look through them, and count as what these are.
std::vector<Value*> GroupFinder::OutputsOf(const FusionGroup& group) const {
  const NodeSet nodes(group.nodes.begin(), group.nodes.end());
  std::vector<Value*> outputs;
  for (const Node* node : group.nodes) {
    const bool used = uses_.is_result(node->result()) || !uses_.of(node->result()).empty();
    if (used && !UsedOnlyBy(node->result(), nodes)) outputs.push_back(node->result());
  }
  return outputs;
}

bool GroupFinder::IsFree(const Node* node) const {
  return !group_of_.contains(node) && node->num_results() == 1 &&
         !constants_.contains(node->result()) && node->body() == nullptr;
}

void GroupFinder::Add(Family family, std::vector<Node*> nodes, const Node* place) {
  std::sort(nodes.begin(), nodes.end(),
            [this](const Node* a, const Node* b) { return positions_.at(a) < positions_.at(b); });
  for (const Node* node : nodes) group_of_[node] = static_cast<int>(groups_.size());
  groups_.push_back({family, std::move(nodes), place, {}});
}

bool GroupFinder::UsedOnlyBy(const Value* value, const NodeSet& nodes) const {
  if (uses_.is_result(value)) return false;
  return std::all_of(uses_.of(value).begin(), uses_.of(value).end(), [&](const Node* user) {
    return nodes.contains(user) || (IsFreeView(user) && UsedOnlyBy(user->result(), nodes));
  });
}

// --- linear --------------------------------------------------------------------------------------

bool GroupFinder::FitsEpilogue(const Node& node, const NodeSet& inside,
                               const ir::Type& wide) const {
  if (!IsPointwise(node) || node.result()->type().shape != wide.shape) return false;
  if (uses_.of(node.result()).empty() && !uses_.is_result(node.result())) return false;  // dead
  bool from_inside = false;
  for (const Value* operand : node.operands()) {
    if (operand->producer() != nullptr && inside.contains(operand->producer())) {
      from_inside = true;
    } else if (constants_.contains(operand)) {
      const bool row = operand->type().rank() == 1 && operand->type().shape[0] == wide.shape.back();
      if (!row && !EvaluateScalar(operand)) return false;
    } else if (operand->type().shape != wide.shape || IsFreeView(operand->producer())) {
      return false;  // a residual is as wide as the result, and stored
    }
  }
  return from_inside;
}

bool GroupFinder::MayBecomeInner(const Value* value, const NodeSet& inside,
                                 const ir::Type& wide) const {
  if (uses_.is_result(value)) return false;
  return std::all_of(uses_.of(value).begin(), uses_.of(value).end(), [&](const Node* user) {
    return inside.contains(user) || (IsFree(user) && FitsEpilogue(*user, inside, wide));
  });
}

bool GroupFinder::HasOneOutput(const NodeSet& inside) const {
  int outputs = 0;
  for (const Node* node : inside) {
    const Value* value = node->result();
    const bool leaves = uses_.is_result(value) ||
                        std::any_of(uses_.of(value).begin(), uses_.of(value).end(),
                                    [&](const Node* user) { return !inside.contains(user); });
    outputs += leaves ? 1 : 0;
  }
  return outputs == 1;
}

std::vector<Node*> GroupFinder::GrowEpilogue(const std::vector<Node*>& start,
                                             const ir::Type& wide) const {
  NodeSet inside(start.begin(), start.end());
  std::vector<Node*> grown = start;
  size_t best = HasOneOutput(inside) ? grown.size() : 0;
  const auto nodes = function_.nodes();
  for (size_t i = positions_.at(start[0]) + 1; i < nodes.size(); ++i) {
    Node* node = nodes[i].get();
    if (inside.contains(node) || !IsFree(node) || !FitsEpilogue(*node, inside, wide)) continue;
    const bool closes =
        std::all_of(node->operands().begin(), node->operands().end(), [&](const Value* operand) {
          return operand->producer() == nullptr || !inside.contains(operand->producer()) ||
                 MayBecomeInner(operand, inside, wide);
        });
    if (!closes) continue;
    inside.insert(node);
    grown.push_back(node);
    if (HasOneOutput(inside)) best = grown.size();
  }
  grown.resize(best);
  return grown;
}

void GroupFinder::ClaimLinear(Node* linear) {
  const ir::Type& type = linear->result()->type();
  if (!constants_.contains(linear->operand(1)) || type.rank() != 2) {
    Add(Family::kLinear, {linear}, linear);
    return;
  }
  std::vector<Node*> nodes;
  const auto [first, second] = HalvesOf(*linear, uses_);
  if (first != nullptr) {
    nodes = GrowEpilogue({linear, first, second}, first->result()->type());
  }
  if (nodes.empty()) nodes = GrowEpilogue({linear}, type);
  Node* last = *std::max_element(nodes.begin(), nodes.end(), [this](const Node* a, const Node* b) {
    return positions_.at(a) < positions_.at(b);
  });
  Add(Family::kLinear, std::move(nodes), last);
}

// --- attention and state -------------------------------------------------------------------------

void GroupFinder::CollectPrologue(Value* operand, const Node* user,
                                  std::vector<Node*>& nodes) const {
  const Value* whole = operand;
  std::vector<Node*> taken;
  while (true) {
    Value* value = BehindViews(operand);
    Node* node = value->producer();
    if (node == nullptr || !IsFree(node) || !UsedOnlyBy(value, {user})) return;
    const bool norm = node->op() == Op::kRmsNorm || node->op() == Op::kLayerNorm;
    if (node->op() != Op::kRope && node->op() != Op::kCast && !norm) return;
    taken.push_back(node);
    if (!IsComputedByRows(whole, taken)) return;
    nodes.push_back(node);
    operand = node->operand(0);
    user = node;
  }
}

void GroupFinder::ClaimAttention(Node* attention) {
  std::vector<Node*> nodes = {attention};
  if (attention->op() == Op::kAttention) {
    CollectPrologue(attention->operand(1), attention, nodes);
    CollectPrologue(attention->operand(2), attention, nodes);
  }
  Node* last = attention;
  while (true) {
    Node* user = uses_.OnlyUser(last->result());
    const bool takes =
        user != nullptr && IsFree(user) &&
        (user->op() == Op::kCast || (user->op() == Op::kReshape && IsFreeView(user)));
    if (!takes) break;
    nodes.push_back(user);
    last = user;
  }
  Add(Family::kAttention, std::move(nodes), last);
}

void GroupFinder::ClaimAppend(Node* append) {
  std::vector<Node*> nodes = {append};
  CollectPrologue(append->operand(1), append, nodes);
  CollectPrologue(append->operand(2), append, nodes);
  Add(Family::kKvAppend, std::move(nodes), append);
}

// --- rowwise -------------------------------------------------------------------------------------

bool GroupFinder::IsComputedByRows(const Value* value, const std::vector<Node*>& nodes) const {
  const auto at_hand = [&](const Value* v) {
    return constants_.contains(v) ||
           (!IsFreeView(v->producer()) &&
            std::find(nodes.begin(), nodes.end(), v->producer()) == nodes.end());
  };
  const auto in_panels = [](const Value*) { return false; };
  return program::PeriodOf(value, at_hand, in_panels, nullptr).has_value();
}

// The node ends the chain: nothing else looks at what the group makes.
bool GroupFinder::MayChain(const FusionGroup& group, const Node& node) const {
  NodeSet nodes(group.nodes.begin(), group.nodes.end());
  nodes.insert(&node);
  return std::all_of(group.nodes.begin(), group.nodes.end(),
                     [&](const Node* n) { return UsedOnlyBy(n->result(), nodes); });
}

// A pointwise node that takes nothing in but what the group makes may stand beside the chain, as
// sine beside cosine of one angle. Norms do not: their result is worth a region that other layers
// share.
bool GroupFinder::MayJoin(const FusionGroup& group, const Node& node) const {
  if (!IsPointwise(node)) return false;
  return std::all_of(node.operands().begin(), node.operands().end(), [&](Value* operand) {
    if (constants_.contains(operand)) return true;
    const Node* producer = BehindViews(operand)->producer();
    return producer != nullptr &&
           std::find(group.nodes.begin(), group.nodes.end(), producer) != group.nodes.end();
  });
}

void GroupFinder::ClaimRowwise(Node* node) {
  Add(Family::kRowwise, {node}, node);
  const ir::Dim rows =
      node->result()->type().rank() > 0 ? node->result()->type().shape[0] : ir::Dim::Static(0);
  for (size_t i = 0; i < node->operands().size(); ++i) {
    const bool gathered = node->info().op_class == OpClass::kGather;
    const Node* producer = BehindViews(node->operand(i))->producer();
    const auto it = group_of_.find(producer);
    if (gathered || it == group_of_.end() || it->second == group_of_.at(node)) continue;
    FusionGroup& from = groups_[it->second];
    if (from.family != Family::kRowwise || producer->result()->type().shape[0] != rows) continue;
    FusionGroup& to = groups_[group_of_.at(node)];
    const bool chains = MayChain(from, *node);
    // A group that already took another chain in has inputs of its own and cannot move up.
    if (!chains && (to.nodes.size() > 1 || !MayJoin(from, *node))) continue;
    std::vector<Node*> nodes = from.nodes;
    nodes.insert(nodes.end(), to.nodes.begin(), to.nodes.end());
    if (!IsComputedByRows(node->result(), nodes)) continue;
    const Node* place = chains ? node : from.place;
    from.nodes.clear();
    to.nodes.clear();
    Add(Family::kRowwise, std::move(nodes), place);
  }
}

}  // namespace ninfer::passes
