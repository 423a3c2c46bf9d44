// Gemma 1 (Gemma Team, 2024): Llama with norm weights plus one, a GELU gate and an embedding times
// the square root of its width. Agrees with transformers' modeling_gemma.py; defaults are
// GemmaConfig's. Tested by tests/eager_models_test.cc.
#include <cmath>

#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildGemma(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 256000,
                              .hidden = 3072,
                              .intermediate = 24576,
                              .layers = 28,
                              .heads = 16,
                              .kv_heads = 16,
                              .head_dim = 256,
                              .context = 8192,
                              .tied = true,
                              .activation = "gelu_pytorch_tanh"});
  // The first uploads say "gelu" and mean its tanh form.
  if (d.mlp.activation == "gelu") d.mlp.activation = "gelu_pytorch_tanh";
  d.norm.plus_one = true;
  d.embedding_scale = std::sqrt(static_cast<double>(d.hidden));
  d.qkv_bias = d.output_bias = m.config().BoolOr("attention_bias", false);
  m.SetDefaultIds(2, 1);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
