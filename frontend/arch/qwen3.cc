// Qwen3 (Yang et al., 2025): Qwen2 without biases and with a norm of each head of q and k. Agrees
// with transformers' modeling_qwen3.py; defaults are Qwen3Config's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildQwen3(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 151936,
                              .hidden = 4096,
                              .intermediate = 22016,
                              .layers = 32,
                              .heads = 32,
                              .kv_heads = 32,
                              .head_dim = 128,
                              .context = 32768});
  d.qkv_bias = d.output_bias = m.config().BoolOr("attention_bias", false);
  d.qk_norm = QkNorm::kHead;
  SetUpperWindows(m.config(), d);
  m.SetDefaultIds(absl::nullopt, absl::nullopt);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
