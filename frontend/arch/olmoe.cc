// OLMoE (Muennighoff et al., 2024): OLMo 2's norms of q and k and OLMo's clipping in a Llama whose
// layers are mixtures of experts. Agrees with transformers' modeling_olmoe.py; defaults are
// OlmoeConfig's. Tested by tests/eager_models_test.cc.
#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"
#include "frontend/arch/experts.h"

namespace ninfer::frontend {

absl::Status BuildOlmoe(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 50304,
                              .hidden = 2048,
                              .intermediate = 2048,
                              .layers = 16,
                              .heads = 16,
                              .context = 4096,
                              .eps = 1e-5});
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.qk_norm = QkNorm::kAllHeads;
  if (config.Has("clip_qkv")) d.clip_qkv = PositiveOr(config, "clip_qkv", 1);
  ExpertsShape shape{
      .hidden = d.hidden, .intermediate = d.mlp.intermediate, .activation = d.mlp.activation};
  ReadExperts(config, KeyOf(config, "num_experts", "num_local_experts"), 64, 8, shape);
  shape.normalised = config.BoolOr("norm_topk_prob", false);
  d.make_mlp = [&m, shape](ir::Value* x, int64_t layer) {
    const std::string name = absl::StrCat("layers.", layer, ".mlp");
    const ExpertsWeights weights = WeightsOfExperts(m, absl::StrCat(name, ".experts"), shape);
    return Experts(m, x, name, absl::StrCat(name, ".gate"), weights, shape);
  };
  m.SetDefaultIds(absl::nullopt, 50279);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
