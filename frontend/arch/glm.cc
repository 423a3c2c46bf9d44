// GLM-4 of 2024 (GLM Team, arXiv:2406.12793) as transformers has it: Llama with rope on
// neighbouring pairs of half of each head, biases on q, k and v, gate and up in one matrix. Agrees
// with transformers' modeling_glm.py; defaults are GlmConfig's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildGlm(ModelBuilder& m) {
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
  d.qkv_bias = m.config().BoolOr("attention_bias", true);
  d.mlp.fused = true;
  m.SetDefaultIds(absl::nullopt, absl::nullopt);
  m.SetDefaultEnds({151329, 151336, 151338});
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
