// Command-R and Command-R+ (Cohere, 2024), and Cohere 2 (Command R7B, 2024): attention and MLP side
// by side after one LayerNorm without bias, rope on neighbouring pairs, logits scaled. Cohere 2 has
// windows, and no positions in the layers that see all. Agrees with transformers'
// modeling_cohere.py and modeling_cohere2.py; defaults are those of their configuration classes.
// Tested by tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

Decoder ReadCohere(ModelBuilder& m, double theta) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 256000,
                              .hidden = 8192,
                              .intermediate = 22528,
                              .layers = 40,
                              .heads = 64,
                              .context = 8192,
                              .eps = 1e-5,
                              .tied = true,
                              .eps_key = "layer_norm_eps",
                              .rope = {.theta = theta, .style = "pairs"}});
  d.norm.kind = Norm::kLayer;
  d.parallel = true;
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.logits_scale = config.NumberOr("logit_scale", 0.0625);
  m.SetDefaultIds(5, 255001);
  return d;
}

}  // namespace

absl::Status BuildCohere(ModelBuilder& m) {
  Decoder d = ReadCohere(m, 500000);
  if (m.config().BoolOr("use_qk_norm", false)) d.qk_norm = QkNorm::kEachHead;
  return BuildDecoder(m, d);
}

absl::Status BuildCohere2(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadCohere(m, 10000);
  const int64_t every = config.IntOr("sliding_window_pattern", 4, 1, INT32_MAX);
  const auto sliding = ReadSlidingLayers(
      config, d.layers, [every](int64_t layer) { return (layer + 1) % every != 0; });
  SetWindows(config, 4096, sliding, d);
  for (LayerKind& kind : d.kinds) kind.rope = kind.window > 0 ? 0 : -1;
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
