// OLMo 2 and OLMo 3 (OLMo Team, 2024 and 2025): Llama with its norms behind attention and MLP, and
// one norm over all heads of q and of k; OLMo 3 has windows in three layers of four. Agrees with
// transformers' modeling_olmo2.py and modeling_olmo3.py; defaults are those of their configuration
// classes. Tested by tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

Decoder ReadOlmo(ModelBuilder& m, const RopeOptions& rope) {
  Decoder d = ReadDecoder(m, {.vocab = 50304,
                              .hidden = 4096,
                              .intermediate = 11008,
                              .layers = 32,
                              .heads = 32,
                              .context = 2048,
                              .eps = 1e-5,
                              .rope = rope});
  d.before_attention = d.before_mlp = "";
  d.after_attention = "post_attention_layernorm";
  d.after_mlp = "post_feedforward_layernorm";
  d.qkv_bias = d.output_bias = m.config().BoolOr("attention_bias", false);
  d.qk_norm = QkNorm::kAllHeads;
  m.SetDefaultIds(absl::nullopt, 50279);
  return d;
}

}  // namespace

absl::Status BuildOlmo2(ModelBuilder& m) { return BuildDecoder(m, ReadOlmo(m, {})); }

absl::Status BuildOlmo3(ModelBuilder& m) {
  ConfigReader& config = m.config();
  const RopeOptions global = {.theta = 500000.0, .layer_type = "full_attention"};
  // An older configuration's rope_theta is that of layers which see all, as in transformers.
  const RopeOptions local = {.theta = 500000.0,
                             .theta_key = "",
                             .layer_type = "sliding_attention",
                             .reads_rope_scaling = false};
  Decoder d = ReadOlmo(m, global);
  const auto sliding =
      ReadSlidingLayers(config, d.layers, [](int64_t layer) { return (layer + 1) % 4 != 0; });
  SetWindows(config, 4096, sliding, d);
  SetRopesByLayer(m, global, local, sliding, d);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
