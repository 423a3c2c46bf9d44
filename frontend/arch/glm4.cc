// GLM-4-0414 (GLM Team, 2025): norms before and after attention and MLP, rope on neighbouring pairs
// of half of each head, gate and up in one matrix. Agrees with transformers' modeling_glm4.py;
// defaults are Glm4Config's. Tested by tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildGlm4(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 151552,
                              .hidden = 4096,
                              .intermediate = 13696,
                              .layers = 40,
                              .heads = 32,
                              .kv_heads = 2,
                              .head_dim = 128,
                              .context = 131072,
                              .eps = 1.5625e-7,
                              .rope = {.style = "pairs", .partial = 0.5}});
  d.after_attention = "post_self_attn_layernorm";
  d.after_mlp = "post_mlp_layernorm";
  d.qkv_bias = m.config().BoolOr("attention_bias", true);
  d.mlp.fused = true;
  m.SetDefaultIds(absl::nullopt, absl::nullopt);
  m.SetDefaultEnds({151329, 151336, 151338});
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
