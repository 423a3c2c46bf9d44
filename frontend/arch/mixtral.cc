// Mixtral (Jiang et al., 2024): Mistral with a mixture of experts in every layer, whose weights are
// the softmax of the chosen logits. Agrees with transformers' modeling_mixtral.py; defaults are
// MixtralConfig's. Tested by tests/eager_models_test.cc.
#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"
#include "frontend/arch/experts.h"

namespace ninfer::frontend {

absl::Status BuildMixtral(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 32000,
                              .hidden = 4096,
                              .intermediate = 14336,
                              .layers = 32,
                              .heads = 32,
                              .kv_heads = 8,
                              .context = 4096 * 32,
                              .eps = 1e-5,
                              .rope = {.theta = 1000000.0}});
  SetWindowOfAll(config, 0, d);
  ExpertsShape shape{
      .hidden = d.hidden, .intermediate = d.mlp.intermediate, .activation = d.mlp.activation};
  ReadExperts(config, KeyOf(config, "num_local_experts", "num_experts"), 8, 2, shape);
  d.make_mlp = [&m, shape](ir::Value* x, int64_t layer) {
    // transformers 5 calls it "mlp".
    std::string name = absl::StrCat("layers.", layer, ".mlp");
    if (!m.Has(absl::StrCat(name, ".gate.weight"))) {
      name = absl::StrCat("layers.", layer, ".block_sparse_moe");
    }
    const ExpertsWeights weights =
        WeightsOfExperts(m, absl::StrCat(name, ".experts"), shape, "w1", "w3", "w2");
    return Experts(m, x, name, absl::StrCat(name, ".gate"), weights, shape);
  };
  m.SetDefaultIds(1, 2);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
