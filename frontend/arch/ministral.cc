// Ministral (2024): Mistral whose layers have windows or see all, as layer_types says. Agrees with
// transformers' modeling_ministral.py; defaults are MinistralConfig's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildMinistral(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 32000,
                              .hidden = 4096,
                              .intermediate = 14336,
                              .layers = 32,
                              .heads = 32,
                              .kv_heads = 8,
                              .context = 4096 * 32});
  const bool windows = config.Peek("sliding_window") == nullptr || config.Has("sliding_window");
  SetWindows(config, 4096,
             ReadSlidingLayers(config, d.layers, [windows](int64_t) { return windows; }), d);
  m.SetDefaultIds(1, 2);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
