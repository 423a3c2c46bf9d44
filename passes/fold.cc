// FoldConstants: arithmetic on scalar constants is done once, here, in f32 as eager would do it. Only
// operations that IEEE 754 rounds correctly are folded (+ - * / negation, square root), so that the
// result is the same bits everywhere; one that is not finite stays for the step to show.
//
// Proves: equal under eager, bit by bit.
// Order: after canonicalise, which puts constants in their places; before cse, which then finds equal
// constants, and before the attention pass, which reads the scale from one constant.
//
// Tested by tests/passes_golden_test.cc (tests/passes/fold.ir), tests/passes_fuzz_test.cc.
#include <cmath>

#include "base/status.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;

absl::optional<float> Evaluate(const Node& node) {
  float x[2] = {};
  if (node.operands().empty() || node.operands().size() > 2) return absl::nullopt;
  for (size_t i = 0; i < node.operands().size(); ++i) {
    const absl::optional<double> constant = ScalarConstant(node.operand(i));
    if (!constant) return absl::nullopt;
    x[i] = static_cast<float>(*constant);
  }
  if (node.op() == Op::kAdd) return x[0] + x[1];
  if (node.op() == Op::kSub) return x[0] - x[1];
  if (node.op() == Op::kMul) return x[0] * x[1];
  if (node.op() == Op::kDiv) return x[0] / x[1];
  if (node.op() == Op::kNeg) return -x[0];
  if (node.op() == Op::kSqrt) return std::sqrt(x[0]);
  return absl::nullopt;
}

}  // namespace

absl::StatusOr<int> FoldConstants(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  for (const auto& function : module.functions()) {
    for (size_t i = 0; i < function->nodes().size(); ++i) {
      Node& node = *function->nodes()[i];
      const absl::optional<float> value = Evaluate(node);
      if (!value || !std::isfinite(*value)) continue;
      if (!rewrites.Next()) return rewrites.made();
      ir::Builder builder(&module, function.get(), &node);
      ir::Value* constant = builder.Constant(*value);
      NINFER_RETURN_IF_ERROR(builder.status());
      function->ReplaceAllUses(node.result(), constant);
      function->Erase(&node);  // the constant took its place in the list
    }
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
