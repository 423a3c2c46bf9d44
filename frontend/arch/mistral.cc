// Mistral 7B and its successors (Jiang et al., 2023): Llama whose layers all have a sliding window,
// unless the configuration sets it to null. Agrees with transformers' modeling_mistral.py; defaults
// are MistralConfig's. Tested by tests/eager_models_test.cc.
#include "frontend/arch/llava.h"

namespace ninfer::frontend {

Decoder ReadMistral(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 32000,
                              .hidden = 4096,
                              .intermediate = 14336,
                              .layers = 32,
                              .heads = 32,
                              .kv_heads = 8,
                              .context = 4096 * 32});
  SetWindowOfAll(m.config(), 4096, d);
  m.SetDefaultIds(1, 2);
  return d;
}

absl::Status BuildMistral(ModelBuilder& m) { return BuildDecoder(m, ReadMistral(m)); }

}  // namespace ninfer::frontend
