// OLMo (Groeneveld et al., 2024): Llama with LayerNorms that have no weights, and q, k and v
// clipped. Agrees with transformers' modeling_olmo.py; defaults are OlmoConfig's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildOlmo(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 50304,
                              .hidden = 4096,
                              .intermediate = 11008,
                              .layers = 32,
                              .heads = 32,
                              .context = 2048,
                              .eps = 1e-5,
                              .eps_key = ""});
  d.norm.kind = Norm::kLayer;
  d.norm.weight = false;
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  if (config.Has("clip_qkv")) d.clip_qkv = PositiveOr(config, "clip_qkv", 1);
  m.SetDefaultIds(absl::nullopt, 50279);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
