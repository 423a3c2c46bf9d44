// Qwen2 and Qwen2.5 (Yang et al., 2024): Llama with a bias on q, k and v, and windows in the upper
// layers where the configuration asks for them. Agrees with transformers' modeling_qwen2.py;
// defaults are Qwen2Config's. Tested by tests/frontend_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildQwen2(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 151936,
                              .hidden = 4096,
                              .intermediate = 22016,
                              .layers = 32,
                              .heads = 32,
                              .kv_heads = 32,
                              .context = 32768});
  d.qkv_bias = true;
  SetUpperWindows(m.config(), d);
  m.SetDefaultIds(absl::nullopt, absl::nullopt);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
