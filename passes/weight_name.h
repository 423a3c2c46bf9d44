// How a weight that is made of several tensors is called: by the tensors, wherever it is named.
// Tested by tests/program_planner_test.cc, tests/compiler_quality_test.cc.
#ifndef NINFER_PASSES_WEIGHT_NAME_H_
#define NINFER_PASSES_WEIGHT_NAME_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ir/module.h"

namespace ninfer::passes {

// "model.layers.0.self_attn.q_proj.weight/k_proj.weight": the names without those of the modules
// around them after the first; of many the first two and the last.
std::string JoinWeightNames(absl::Span<const absl::string_view> names);

// The weights that a constant expression is made of, each once, in the order of its operands.
std::vector<const ir::Value*> WeightsOf(const ir::Value* expression);

// Of a constant expression.
std::string WeightName(const ir::Value* expression);

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_WEIGHT_NAME_H_
