// LastRows: logits are made only for the rows asked for. The step takes `%rows : i32[R]`, and a
// gather_rows takes those rows of the hidden state as early as one gather does it: it goes up from
// the logits through every node that works row by row on one tensor of rows (the head, the final
// norm) and stops at the last residual sum, which has two.
//
// Both bounds of the step that are the user's choice whatever the passes are set here: S and R.
//
// Proves: the rows asked for are unchanged, bit by bit.
// Order: after kv-cache, so that no attention stands behind the gather that would need all rows'
// keys (none does in any case: the walk stops where rows meet); before merge-linears and fuse,
// which then see the head at its final size. Required: the runtime asks for rows in every plan.
//
// Tested by tests/passes_golden_test.cc (tests/passes/last_rows.ir), tests/passes_model_test.cc.
#include <algorithm>
#include <vector>

#include "base/status.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Dim;
using ir::Node;
using ir::Type;
using ir::Value;

bool HasLeadingRows(const Value* value, int symbol) {
  return value->type().rank() > 0 && value->type().shape[0] == Dim::Symbolic(symbol) &&
         AxisOf(value->type(), symbol) == 0;
}

// The index of the one operand that carries rows; -1 when there are none or several, or when the
// node does not keep rows first.
int CarrierOf(const Node& node, int symbol) {
  if (node.num_results() != 1 || !HasLeadingRows(node.result(), symbol)) return -1;
  if (!IsRowByRow(node, symbol)) return -1;
  int carrier = -1;
  for (size_t i = 0; i < node.operands().size(); ++i) {
    if (AxisOf(node.operand(i)->type(), symbol) == -1) continue;
    if (carrier >= 0 || !HasLeadingRows(node.operand(i), symbol)) return -1;
    carrier = static_cast<int>(i);
  }
  return carrier;
}

// True when the logits are the value's only use, and it is computed at all.
bool OnlyForLogits(const Value* value, const ir::Function& function) {
  return value->producer() != nullptr && function.CountUses(value) == 1;
}

void BoundSequences(ir::Module& module, const ir::Function& step, int64_t most) {
  const Value* seq_bounds = step.FindParameter("seq_bounds");
  if (seq_bounds == nullptr || seq_bounds->type().rank() != 1) return;
  const int symbol = seq_bounds->type().shape[0].symbol;
  if (symbol < 0) return;
  ir::Symbol& sequences = module.symbols()[symbol];
  sequences.max = std::max(sequences.min, most);
}

}  // namespace

absl::StatusOr<int> LastRows(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  ir::Function* step = module.FindFunction("step");
  if (step == nullptr || step->results().empty() || step->FindParameter("rows") != nullptr)
    return 0;
  const Value* tokens = step->FindParameter("tokens");
  if (tokens == nullptr || tokens->type().rank() != 1) return 0;
  const int t = tokens->type().shape[0].symbol;
  Value* logits = step->results()[0];
  if (t < 0 || logits->is_weight() || !HasLeadingRows(logits, t)) return 0;
  if (!rewrites.Next()) return 0;

  if (module.FindSymbol("R") >= 0) {
    return InvalidArgument("dimension R is kept for the rows wanted, found one in the graph");
  }
  const ir::Symbol& symbol = module.symbols()[t];
  const int64_t max_rows = std::max<int64_t>(1, std::min(options.max_rows, symbol.max));
  const Dim wanted = Dim::Symbolic(module.AddSymbol("R", 1, max_rows));
  Value* rows = step->AddParameter("rows", Type{DType::kI32, {wanted}});
  std::vector<Node*> behind;  // nodes that come to work on R rows, the last one first
  Value* hidden = logits;
  while (OnlyForLogits(hidden, *step)) {
    const int carrier = CarrierOf(*hidden->producer(), t);
    if (carrier < 0 || !IsFloat(hidden->producer()->operand(carrier)->type().dtype)) break;
    behind.push_back(hidden->producer());
    hidden = hidden->producer()->operand(carrier);
  }
  ir::Builder builder(&module, step, behind.empty() ? nullptr : behind.back());
  builder.set_provenance(hidden->provenance());
  Value* gathered = builder.GatherRows(hidden, rows);
  NINFER_RETURN_IF_ERROR(builder.status());
  if (behind.empty()) {
    step->results()[0] = gathered;
  } else {
    behind.back()->set_operand(CarrierOf(*behind.back(), t), gathered);
  }
  for (Node* node : behind) {
    Type type = node->result()->type();
    type.shape[0] = wanted;
    node->result()->set_type(type);
  }
  BoundSequences(module, *step, options.max_sequences);
  module.set_stage(std::max(module.stage(), ir::Stage::kOptimised));
  return rewrites.made();
}

}  // namespace ninfer::passes
