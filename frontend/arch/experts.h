// Mixtures of experts (Shazeer et al., 2017; Jiang et al., 2024): a router chooses k of E gated
// MLPs for each row, and their results are added by weight. Tested by tests/eager_models_test.cc.
#ifndef NINFER_FRONTEND_ARCH_EXPERTS_H_
#define NINFER_FRONTEND_ARCH_EXPERTS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "frontend/arch/common.h"

namespace ninfer::frontend {

struct ExpertsShape {
  int64_t experts = 1, chosen = 1;
  int64_t hidden = 1, intermediate = 1;
  std::string activation;
  // The chosen ones' probabilities sum to 1; otherwise they are left as they are.
  bool normalised = true;
};

// The weights of all experts: gate and up one after the other, [E, 2 intermediate, hidden], and
// down, [E, hidden, intermediate].
struct ExpertsWeights {
  ir::Value* gate_up;
  ir::Value* down;
};

// Reads num_experts_per_tok; `experts_key` names the number of experts. Both are checked.
void ReadExperts(ConfigReader& config, absl::string_view experts_key, int64_t default_experts,
                 int64_t default_chosen, ExpertsShape& shape);

// Weights stored for all experts as two tensors of these names.
ExpertsWeights StackedWeights(ModelBuilder& m, absl::string_view gate_up, absl::string_view down,
                              const ExpertsShape& shape);

// Weights stored as transformers 5 holds them in memory, NAME.gate_up_proj and NAME.down_proj of
// all experts, or expert by expert as NAME.3.gate_proj.weight, with these names for gate, up and
// down.
ExpertsWeights WeightsOfExperts(ModelBuilder& m, absl::string_view name, const ExpertsShape& shape,
                                absl::string_view gate = "gate_proj",
                                absl::string_view up = "up_proj",
                                absl::string_view down = "down_proj");

// x [T, hidden] -> [T, hidden], with the router's matrix under `router`.
ir::Value* Experts(ModelBuilder& m, ir::Value* x, absl::string_view name, absl::string_view router,
                   const ExpertsWeights& weights, const ExpertsShape& shape);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_EXPERTS_H_
