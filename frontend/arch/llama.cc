// Llama 1, 2 and 3.x, and what is stored as such: TinyLlama, SmolLM2 and others (Touvron et al.,
// 2023; Grattafiori et al., 2024). Agrees with transformers' modeling_llama.py; defaults are
// LlamaConfig's. Tested by tests/frontend_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildLlama(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 32000,
                              .hidden = 4096,
                              .intermediate = 11008,
                              .layers = 32,
                              .heads = 32,
                              .context = 2048});
  d.qkv_bias = d.output_bias = m.config().BoolOr("attention_bias", false);
  d.mlp.bias = m.config().BoolOr("mlp_bias", false);
  m.SetDefaultIds(1, 2);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
