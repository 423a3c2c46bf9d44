// Recognises spelled-out attention: see attention_match.h.
//
// Operands of the matmuls are followed backwards through transposes and repeats, keeping for each
// axis of the operand the axis of the value it comes from, so that any spelling of the same
// permutation matches and no other does.
//
// Tested by tests/passes_golden_test.cc (tests/passes/attention.ir, tests/passes/kv_cache.ir).
#include "passes/attention_match.h"

#include <array>

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

using Axes = std::array<int64_t, 3>;

// A value, the axis of it that each axis of the operand followed is, and how often elements of the
// operand's first axis repeat.
struct Source {
  Value* value = nullptr;
  Axes axes = {0, 1, 2};
  int64_t repeats = 1;
  double scale = 1;
};

// The earliest value behind `operand` whose axes stand in it as `wanted` says.
absl::optional<Source> Follow(Value* operand, const Axes& wanted, bool allow_scale) {
  absl::optional<Source> found;
  Source at{operand};
  while (at.value->type().rank() == 3) {
    if (at.axes == wanted) found = at;
    Node* node = at.value->producer();
    if (node == nullptr) break;
    Value* tensor = nullptr;
    double factor = 1;
    if (node->op() == Op::kTranspose) {
      for (int64_t& axis : at.axes) axis = node->attr_ints("perm")[axis];
      at.value = node->operand(0);
    } else if (node->op() == Op::kRepeat) {
      if (node->attr_int("axis") != at.axes[0]) break;
      at.repeats *= node->attr_int("times");
      at.value = node->operand(0);
    } else if (allow_scale && MatchScaling(node, &tensor, &factor)) {
      if (tensor->type() != at.value->type()) break;
      at.scale *= factor;
      at.value = tensor;
    } else {
      break;
    }
  }
  return found;
}

// What stands between the matmul of the scores and the mask, the first one first:
//   scores * factor, or c * tanh(scores * factor), then alibi.
bool MatchScores(SpelledAttention& match, const Uses& uses) {
  Value* value = match.mask->operand(0);
  while (true) {
    Node* node = value->producer();
    if (uses.OnlyUser(value) == nullptr || node == nullptr) return false;
    if (node->op() == Op::kMatMul) break;
    Value* tensor =
        node->num_results() > 0 && !node->operands().empty() ? node->operand(0) : nullptr;
    double factor = 1;
    if (node->op() == Op::kAlibi && match.between.empty()) {
      if (node->operand(2) != match.mask->operand(3)) return false;
      match.alibi = node;
    } else if (node->op() == Op::kTanh && match.softcap == 0) {
      match.softcap = match.scale;
      match.scale = 1;
    } else if (MatchScaling(node, &tensor, &factor)) {
      match.scale *= factor;
    } else {
      return false;
    }
    match.between.insert(match.between.begin(), node);
    value = tensor;
  }
  match.scores = value->producer();
  if (match.softcap == 0) return true;
  match.scale *= match.softcap;
  return match.softcap > 0;
}

bool MatchOutput(SpelledAttention& match, const Uses& uses) {
  match.softmax = uses.OnlyUser(match.mask->result());
  if (match.softmax == nullptr || match.softmax->op() != Op::kSoftmax) return false;
  match.output = uses.OnlyUser(match.softmax->result());
  return match.output != nullptr && match.output->op() == Op::kMatMul &&
         match.output->operand(0) == match.softmax->result() &&
         match.output->operand(1) != match.softmax->result();
}

bool MatchOperands(SpelledAttention& match) {
  const Axes swapped = {1, 0, 2};
  const bool transpose_b = match.scores->attr_bool("transpose_b", false);
  const bool values_transposed = match.output->attr_bool("transpose_b", false);
  const auto q = Follow(match.scores->operand(0), swapped, /*allow_scale=*/true);
  const auto k = Follow(match.scores->operand(1), transpose_b ? swapped : Axes{1, 2, 0}, false);
  const auto v =
      Follow(match.output->operand(1), values_transposed ? Axes{1, 2, 0} : swapped, false);
  if (!q || !k || !v || q->repeats != 1 || k->repeats != v->repeats) return false;
  match.q = q->value;
  match.k = k->value;
  match.v = v->value;
  match.scale *= q->scale;
  for (const Value* value : {match.q, match.k, match.v}) {
    if (!value->type().shape[1].is_static() || !value->type().shape[2].is_static()) return false;
  }
  return match.k->type().shape == match.v->type().shape &&
         match.q->type().shape[2] == match.k->type().shape[2] &&
         match.query_heads() == match.kv_heads() * k->repeats;
}

}  // namespace

absl::optional<SpelledAttention> MatchAttention(Node* mask, const Uses& uses) {
  SpelledAttention match;
  match.mask = mask;
  if (!MatchScores(match, uses) || !MatchOutput(match, uses) || !MatchOperands(match)) {
    return absl::nullopt;
  }
  return match;
}

void GatherBeforeOutput(ir::Function& function, const SpelledAttention& attention) {
  function.MoveBefore(attention.scores, attention.output);
  for (const Node* node : attention.between) {
    for (Value* operand : node->operands()) {
      if (EvaluateScalar(operand)) HoistConstant(function, operand, attention.scores);
    }
    function.MoveBefore(node, attention.output);
  }
  function.MoveBefore(attention.mask, attention.output);
  function.MoveBefore(attention.softmax, attention.output);
}

}  // namespace ninfer::passes
