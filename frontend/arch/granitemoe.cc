// GraniteMoE (IBM, 2024): Granite with mixtures of experts, whose weights are stored stacked.
// Agrees with transformers' modeling_granitemoe.py; defaults are GraniteMoeConfig's. Tested by
// tests/eager_models_test.cc.
#include "absl/strings/str_cat.h"
#include "frontend/arch/experts.h"
#include "frontend/arch/granite.h"

namespace ninfer::frontend {

absl::Status BuildGraniteMoe(ModelBuilder& m) {
  Decoder d = ReadGranite(m);
  ExpertsShape shape{
      .hidden = d.hidden, .intermediate = d.mlp.intermediate, .activation = d.mlp.activation};
  ReadExperts(m.config(), "num_local_experts", 8, 2, shape);
  d.make_mlp = [&m, shape](ir::Value* x, int64_t layer) {
    const std::string name = absl::StrCat("layers.", layer, ".block_sparse_moe");
    // The names of transformers 5, and those of files.
    const bool renamed = m.Has(absl::StrCat(name, ".router.weight"));
    const auto either = [&](absl::string_view now, absl::string_view stored) {
      return absl::StrCat(name, ".", renamed ? now : stored);
    };
    const ExpertsWeights weights =
        StackedWeights(m, either("experts.gate_up_proj", "input_linear.weight"),
                       either("experts.down_proj", "output_linear.weight"), shape);
    return Experts(m, x, name, either("router", "router.layer"), weights, shape);
  };
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
