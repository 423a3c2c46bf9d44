// Gemma 3, text (Gemma Team, 2025): Gemma 2 with a norm of each head of q and k, no soft caps
// unless the configuration asks for them, and a rope of its own for layers with a window. Agrees
// with transformers' modeling_gemma3.py, Gemma3ForCausalLM; defaults are Gemma3TextConfig's. Tested
// by tests/eager_models_test.cc.
#include <cmath>

#include "frontend/arch/llava.h"

namespace ninfer::frontend {

Decoder ReadGemma3(ModelBuilder& m) {
  ConfigReader& config = m.config();
  const RopeOptions global = {.theta = 1000000.0, .layer_type = "full_attention"};
  const RopeOptions local = {.theta_key = "rope_local_base_freq",
                             .layer_type = "sliding_attention",
                             .reads_rope_scaling = false};
  Decoder d = ReadDecoder(m, {.vocab = 262208,
                              .hidden = 2304,
                              .intermediate = 9216,
                              .layers = 26,
                              .heads = 8,
                              .kv_heads = 4,
                              .head_dim = 256,
                              .context = 131072,
                              .tied = true,
                              .activation = "gelu_pytorch_tanh",
                              .activation_key = "hidden_activation",
                              .rope = global});
  d.before_mlp = "pre_feedforward_layernorm";
  d.after_attention = "post_attention_layernorm";
  d.after_mlp = "post_feedforward_layernorm";
  d.norm.plus_one = true;
  d.qk_norm = QkNorm::kHead;
  d.embedding_scale = std::sqrt(static_cast<double>(d.hidden));
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.attention.scale = 1 / std::sqrt(PositiveOr(config, "query_pre_attn_scalar", 256));
  // transformers' Gemma 3 does not look at attn_logit_softcapping: one that is set is refused.
  d.logits_softcap = SoftcapOr(config, "final_logit_softcapping", 0);
  const int64_t every = config.IntOr("sliding_window_pattern", 6, 1, INT32_MAX);
  const auto sliding = ReadSlidingLayers(
      config, d.layers, [every](int64_t layer) { return (layer + 1) % every != 0; });
  SetWindows(config, 4096, sliding, d);
  SetRopesByLayer(m, global, local, sliding, d);
  m.SetDefaultIds(2, 1);
  return d;
}

absl::Status BuildGemma3(ModelBuilder& m) { return BuildDecoder(m, ReadGemma3(m)); }

}  // namespace ninfer::frontend
