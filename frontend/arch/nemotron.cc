// Nemotron-4 and Minitron (Parmar et al., 2024): LayerNorm with weights plus one, an MLP of a
// squared ReLU without a gate, rope on a part of each head. Agrees with transformers'
// modeling_nemotron.py; defaults are NemotronConfig's. Tested by tests/eager_models_test.cc.
#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildNemotron(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 256000,
                              .hidden = 6144,
                              .intermediate = 24576,
                              .layers = 32,
                              .heads = 48,
                              .context = 4096,
                              .eps = 1e-5,
                              .activation = "relu2",
                              .eps_key = "norm_eps",
                              .rope = {.partial = 0.5}});
  d.norm.kind = Norm::kLayer;
  d.norm.bias = d.norm.plus_one = true;
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.mlp.bias = config.BoolOr("mlp_bias", false);
  d.make_mlp = [&m, &d](ir::Value* x, int64_t layer) {
    return PlainMlp(m, x, absl::StrCat("layers.", layer, ".mlp"), "up_proj", "down_proj", d.mlp);
  };
  m.SetDefaultIds(2, 3);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
