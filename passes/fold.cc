// FoldConstants: arithmetic on scalar constants is done once, here, in f32 as eager would do it.
// Only operations that IEEE 754 rounds correctly are folded (see EvaluateScalar), so that the
// result is the same bits everywhere; one that is not finite stays for the step to show.
//
// Proves: equal under eager, bit by bit.
// Order: after canonicalise, which puts constants in their places; before cse, which then finds
// equal constants.
//
// Tested by tests/passes_golden_test.cc (tests/passes/fold.ir), tests/passes_fuzz_test.cc.
#include "base/status.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {

absl::StatusOr<int> FoldConstants(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  for (const auto& function : module.functions()) {
    for (size_t i = 0; i < function->nodes().size(); ++i) {
      ir::Node& node = *function->nodes()[i];
      if (node.op() == ir::Op::kConstant || node.num_results() != 1) continue;
      const absl::optional<float> value = EvaluateScalar(node.result());
      if (!value) continue;
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
