// What graph passes share: see rewrite.h.
// Tested by tests/passes_golden_test.cc.
#include "passes/rewrite.h"

#include <algorithm>
#include <cmath>

namespace ninfer::passes {

using ir::Node;
using ir::Op;
using ir::OpClass;
using ir::Value;

Uses::Uses(const ir::Function& function) {
  for (const auto& node : function.nodes()) {
    for (const Value* operand : node->operands()) users_[operand].push_back(node.get());
  }
  for (const Value* result : function.results()) results_.insert(result);
}

const std::vector<Node*>& Uses::of(const Value* value) const {
  static const auto* none = new std::vector<Node*>;
  const auto it = users_.find(value);
  return it == users_.end() ? *none : it->second;
}

Node* Uses::OnlyUser(const Value* value) const {
  const std::vector<Node*>& users = of(value);
  return users.size() == 1 && !is_result(value) ? users[0] : nullptr;
}

absl::flat_hash_map<const Node*, int> Positions(const ir::Function& function) {
  absl::flat_hash_map<const Node*, int> positions;
  for (const auto& node : function.nodes()) {
    positions.emplace(node.get(), static_cast<int>(positions.size()));
  }
  return positions;
}

Node* ProducerIf(const Value* value, Op op) {
  Node* producer = value->producer();
  return producer != nullptr && producer->op() == op ? producer : nullptr;
}

absl::optional<double> ScalarConstant(const Value* value) {
  const Node* node = ProducerIf(value, Op::kConstant);
  if (node == nullptr) return absl::nullopt;
  return node->attr_float("value");
}

namespace {

// `depth` bounds recursion, and with it the paths through what is used twice.
absl::optional<float> EvaluateScalar(const Value* value, int depth) {
  const Node* node = value->producer();
  if (node == nullptr || value->type().rank() != 0 || depth == 0) return absl::nullopt;
  if (node->op() == Op::kConstant) return static_cast<float>(node->attr_float("value"));
  if (node->operands().empty() || node->operands().size() > 2) return absl::nullopt;
  float x[2] = {};
  for (size_t i = 0; i < node->operands().size(); ++i) {
    const absl::optional<float> operand = EvaluateScalar(node->operand(i), depth - 1);
    if (!operand) return absl::nullopt;
    x[i] = *operand;
  }
  absl::optional<float> result;
  if (node->op() == Op::kAdd) result = x[0] + x[1];
  if (node->op() == Op::kSub) result = x[0] - x[1];
  if (node->op() == Op::kMul) result = x[0] * x[1];
  if (node->op() == Op::kDiv) result = x[0] / x[1];
  if (node->op() == Op::kNeg) result = -x[0];
  if (node->op() == Op::kSqrt) result = std::sqrt(x[0]);
  if (result && !std::isfinite(*result)) return absl::nullopt;
  return result;
}

}  // namespace

absl::optional<float> EvaluateScalar(const Value* value) {
  return EvaluateScalar(value, kMaxScalarDepth);
}

bool MatchScaling(const Node* node, Value** tensor, double* factor) {
  if (node == nullptr || (node->op() != Op::kMul && node->op() != Op::kDiv)) return false;
  absl::optional<float> scalar = EvaluateScalar(node->operand(1));
  *tensor = node->operand(0);
  if (!scalar && node->op() == Op::kMul) {
    scalar = EvaluateScalar(node->operand(0));
    *tensor = node->operand(1);
  }
  if (!scalar || (node->op() == Op::kDiv && *scalar == 0)) return false;
  *factor = node->op() == Op::kMul ? static_cast<double>(*scalar) : 1.0 / *scalar;
  return true;
}

absl::flat_hash_set<const Value*> ConstantValues(const ir::Function& function) {
  absl::flat_hash_set<const Value*> constants;
  for (const auto& node : function.nodes()) {
    const bool constant =
        std::all_of(node->operands().begin(), node->operands().end(),
                    [&](const Value* v) { return v->is_weight() || constants.contains(v); });
    if (!constant) continue;
    for (const Value* operand : node->operands()) {
      if (operand->is_weight()) constants.insert(operand);
    }
    for (int i = 0; i < node->num_results(); ++i) constants.insert(node->result(i));
  }
  for (const auto& node : function.nodes()) {
    for (const Value* operand : node->operands()) {
      if (operand->is_weight()) constants.insert(operand);
    }
  }
  return constants;
}

void HoistConstant(ir::Function& function, Value* value, const Node* before) {
  Node* producer = value->producer();
  if (producer == nullptr) return;
  for (const auto& node : function.nodes()) {
    if (node.get() == producer) return;  // stands early enough, and so do its operands
    if (node.get() == before) break;
  }
  for (Value* operand : producer->operands()) HoistConstant(function, operand, before);
  function.MoveBefore(producer, before);
}

int AxisOf(const ir::Type& type, int symbol) {
  int axis = -1;
  for (int i = 0; i < type.rank(); ++i) {
    if (type.shape[i].symbol != symbol) continue;
    axis = axis == -1 ? i : -2;
  }
  return axis;
}

namespace {

// Elements before an axis, as a product of static sizes; -1 when one is symbolic.
int64_t ElementsBefore(const ir::Type& type, int axis) {
  int64_t elements = 1;
  for (int i = 0; i < axis; ++i) {
    if (!type.shape[i].is_static()) return -1;
    elements *= type.shape[i].offset;
  }
  return elements;
}

bool ViewIsRowByRow(const Node& node, int symbol) {
  const ir::Type& from = node.operand(0)->type();
  const ir::Type& to = node.result()->type();
  const int axis = AxisOf(to, symbol);
  if (node.op() == Op::kTranspose) return true;
  if (node.op() == Op::kReshape) {
    const int source = AxisOf(from, symbol);
    const int64_t before = axis < 0 || source < 0 ? -1 : ElementsBefore(to, axis);
    return before >= 0 && before == ElementsBefore(from, source);
  }
  return axis >= 0 && node.attr_int("axis") != axis;  // slice, concat, repeat
}

// Whether some operand has rows.
bool HasRows(const Node& node, int symbol) {
  return std::any_of(node.operands().begin(), node.operands().end(),
                     [&](const Value* v) { return AxisOf(v->type(), symbol) != -1; });
}

}  // namespace

bool IsRowByRow(const Node& node, int symbol) {
  if (!HasRows(node, symbol)) return true;
  for (const Value* operand : node.operands()) {
    if (AxisOf(operand->type(), symbol) == -2) return false;
  }
  for (int i = 0; i < node.num_results(); ++i) {
    if (AxisOf(node.result(i)->type(), symbol) < 0) return false;
  }
  const ir::Type& first = node.operand(0)->type();
  const int axis = AxisOf(first, symbol);
  switch (node.info().op_class) {
    case OpClass::kElementwise:
      return node.op() != Op::kCausalMask && node.op() != Op::kAlibi;
    case OpClass::kCast:
      return true;
    case OpClass::kQuantise:
    case OpClass::kReduce:
      return axis != first.rank() - 1;
    case OpClass::kMatmul:  // neither summed over nor carried by the second operand
      return axis != first.rank() - 1 && AxisOf(node.operand(1)->type(), symbol) == -1;
    case OpClass::kGroupedMatmul:
    case OpClass::kTopK:  // the last axis is looked through
      return axis != first.rank() - 1;
    case OpClass::kGather:  // rows of ids, each of which picks a row of a table without rows
      if (node.op() == Op::kTakeColumns) return axis == 0;
      return AxisOf(node.operand(node.op() == Op::kEmbedding ? 1 : 0)->type(), symbol) == -1;
    case OpClass::kView:
      return ViewIsRowByRow(node, symbol);
    case OpClass::kAttention:
    case OpClass::kState:
    case OpClass::kRegion:
      return false;
  }
  return false;
}

}  // namespace ninfer::passes
