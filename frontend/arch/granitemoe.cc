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
    const ExpertsWeights weights = {m.Weight(absl::StrCat(name, ".input_linear.weight"),
                                             {shape.experts, 2 * shape.intermediate, shape.hidden}),
                                    m.Weight(absl::StrCat(name, ".output_linear.weight"),
                                             {shape.experts, shape.hidden, shape.intermediate})};
    return Experts(m, x, name, absl::StrCat(name, ".router.layer"), weights, shape);
  };
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
