// See expert_choices.h. Tested by tests/codegen_experts_test.cc.
#include "codegen/expert_choices.h"

#include "program/scratch.h"

namespace ninfer::codegen {

LV ForEachChoice(Emitter& e, const ExpertChoices& choices, LV expert,
                 const std::function<void(LV choice, LV before)>& visit) {
  llvm::IRBuilder<>& b = e.b();
  LV ids = e.ParameterAddress(choices.ids);
  LV per_row = e.I64(choices.per_row);
  const bool argument = e.ParameterInfo(choices.ids).kind == program::OperandKind::kArgument;
  const int64_t ld = argument ? choices.per_row : program::LeadingDimension(choices.per_row);
  LV number = b.CreateTrunc(expert, b.getInt32Ty());
  LV count = b.CreateMul(choices.rows, per_row);
  return e.ForCarry(e.I64(0), count, 1, {e.I64(0)}, [&](LV i, const std::vector<LV>& so) {
    LV at = e.AddMul(b.CreateURem(i, per_row), b.CreateUDiv(i, per_row), ld);
    LV own = b.CreateICmpEQ(e.LoadI32(e.Offset(ids, b.CreateMul(at, e.I64(4)))), number);
    if (visit) e.If(own, [&] { visit(i, so[0]); });
    return std::vector<LV>{b.CreateAdd(so[0], b.CreateZExt(own, b.getInt64Ty()))};
  })[0];
}

}  // namespace ninfer::codegen
