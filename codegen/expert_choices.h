// Which rows chose an expert, for kernels that visit experts one after the other. Tested by
// tests/codegen_experts_test.cc.
#ifndef NINFER_CODEGEN_EXPERT_CHOICES_H_
#define NINFER_CODEGEN_EXPERT_CHOICES_H_

#include <functional>

#include "codegen/emitter.h"

namespace ninfer::codegen {

// ids[rows, per_row] (i32) in the order of rows: choice i is row i / per_row's (i mod per_row)th.
struct ExpertChoices {
  const ir::Value* ids = nullptr;
  int64_t per_row = 1;
  LV rows = nullptr;
};

// Visits the choices of `expert`, each with how many came before; returns how many there are.
// Without `visit` it counts.
LV ForEachChoice(Emitter& e, const ExpertChoices& choices, LV expert,
                 const std::function<void(LV choice, LV before)>& visit);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_EXPERT_CHOICES_H_
