// Gemma 2 (Gemma Team, 2024): Gemma with norms before and after attention and MLP, soft caps on
// scores and logits, and a window in every other layer. Agrees with transformers'
// modeling_gemma2.py; defaults are Gemma2Config's. Tested by tests/eager_models_test.cc.
#include <cmath>

#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildGemma2(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 256000,
                              .hidden = 2304,
                              .intermediate = 9216,
                              .layers = 26,
                              .heads = 8,
                              .kv_heads = 4,
                              .head_dim = 256,
                              .context = 8192,
                              .tied = true,
                              .activation = "gelu_pytorch_tanh",
                              .activation_key = "hidden_activation"});
  d.before_mlp = "pre_feedforward_layernorm";
  d.after_attention = "post_attention_layernorm";
  d.after_mlp = "post_feedforward_layernorm";
  d.norm.plus_one = true;
  d.embedding_scale = std::sqrt(static_cast<double>(d.hidden));
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.attention.scale = 1 / std::sqrt(PositiveOr(config, "query_pre_attn_scalar", 256));
  d.attention.softcap = SoftcapOr(config, "attn_logit_softcapping", 50);
  d.logits_softcap = SoftcapOr(config, "final_logit_softcapping", 30);
  SetWindows(config, 4096,
             ReadSlidingLayers(config, d.layers, [](int64_t layer) { return layer % 2 == 0; }), d);
  m.SetDefaultIds(2, 1);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
