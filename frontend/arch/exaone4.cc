// EXAONE 4 (LG AI Research, 2025): Llama with its norms behind attention and MLP, and a norm of
// each head of q and k; where layers have windows, those that see all have no positions. Agrees
// with transformers' modeling_exaone4.py; defaults are Exaone4Config's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

// Which layers have a window. Without layer_types the pattern must be a number: transformers takes
// letters there, "LLLG", but cannot compute with them.
std::vector<bool> ReadSliding(ConfigReader& config, const Decoder& d) {
  int64_t every = 4;
  if (!config.Has("layer_types")) {
    every = config.IntOr("sliding_window_pattern", every, 1, INT32_MAX);
  }
  return ReadSlidingLayers(config, d.layers,
                           [every](int64_t layer) { return (layer + 1) % every != 0; });
}

}  // namespace

absl::Status BuildExaone4(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 102400,
                              .hidden = 4096,
                              .intermediate = 16384,
                              .layers = 32,
                              .heads = 32,
                              .kv_heads = 32,
                              .context = 2048,
                              .eps = 1e-5});
  d.before_attention = d.before_mlp = "";
  d.after_attention = "post_attention_layernorm";
  d.after_mlp = "post_feedforward_layernorm";
  d.qk_norm = QkNorm::kHead;
  const bool windows = config.Peek("sliding_window") == nullptr || config.Has("sliding_window");
  SetWindows(config, 4096, ReadSliding(config, d), d);
  for (LayerKind& kind : d.kinds) kind.rope = windows && kind.window == 0 ? -1 : 0;
  m.SetDefaultIds(0, 2);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
