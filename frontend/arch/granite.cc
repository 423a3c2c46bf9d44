// Granite 3 (IBM, 2024): Llama with a multiplier on the embedding, on what each block adds and on
// the scores, and a divisor of the logits. Agrees with transformers' modeling_granite.py; defaults
// are GraniteConfig's. Tested by tests/eager_models_test.cc.
#include "frontend/arch/granite.h"

namespace ninfer::frontend {

Decoder ReadGranite(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 32000,
                              .hidden = 4096,
                              .intermediate = 11008,
                              .layers = 32,
                              .heads = 32,
                              .context = 2048});
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.embedding_scale = config.NumberOr("embedding_multiplier", 1);
  d.residual_scale = config.NumberOr("residual_multiplier", 1);
  d.attention.scale = config.NumberOr("attention_multiplier", 1);
  d.logits_scale = 1 / PositiveOr(config, "logits_scaling", 1);
  m.SetDefaultIds(1, 2);
  return d;
}

absl::Status BuildGranite(ModelBuilder& m) {
  Decoder d = ReadGranite(m);
  d.mlp.bias = m.config().BoolOr("mlp_bias", false);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
