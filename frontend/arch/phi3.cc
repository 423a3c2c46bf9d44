// Phi-3, Phi-3.5 and Phi-4 (Abdin et al., 2024): Llama with q, k and v in one matrix and gate and
// up in one, a window, and longrope. Agrees with transformers' modeling_phi3.py; defaults are
// Phi3Config's. Tested by tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildPhi3(ModelBuilder& m) {
  Decoder d =
      ReadDecoder(m, {.vocab = 32064,
                      .hidden = 3072,
                      .intermediate = 8192,
                      .layers = 32,
                      .heads = 32,
                      .context = 4096,
                      .eps = 1e-5,
                      .rope = {.partial = 1, .original_length = 4096, .scaled_is_longrope = true}});
  d.fused_qkv = d.mlp.fused = true;
  SetWindowOfAll(m.config(), 0, d);
  m.SetDefaultIds(1, 32000);
  // generate() drops the cache of a text that comes to the long factors.
  if (m.ok() && !d.ropes[0].long_inv_freq.empty()) m.SetRopeCrossing(d.ropes[0].original_length);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
