// SmolLM3 (Bakouch et al., 2025): Llama in which every fourth layer has no positions. Agrees with
// transformers' modeling_smollm3.py; defaults are SmolLM3Config's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

// 1 where a layer has positions. The list may be longer than there are layers.
std::vector<int64_t> ReadRopeLayers(ConfigReader& config, int64_t layers) {
  std::vector<int64_t> turned = config.Ints("no_rope_layers", 0, 1);
  const int64_t interval = config.IntOr("no_rope_layer_interval", 4, 1, INT32_MAX);
  if (!config.Has("no_rope_layers")) {
    for (int64_t i = 0; i < layers; ++i) turned.push_back((i + 1) % interval != 0);
  }
  if (static_cast<int64_t>(turned.size()) < layers) {
    config.Refuse("no_rope_layers", absl::StrCat("0 or 1 for each of ", layers, " layers"));
  }
  turned.resize(layers);
  return turned;
}

}  // namespace

absl::Status BuildSmolLm3(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 128256,
                              .hidden = 2048,
                              .intermediate = 11008,
                              .layers = 36,
                              .heads = 16,
                              .kv_heads = 4,
                              .context = 32768,
                              .tied = true,
                              .rope = {.theta = 2000000.0}});
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.mlp.bias = config.BoolOr("mlp_bias", false);
  const std::vector<int64_t> turned = ReadRopeLayers(config, d.layers);
  for (int64_t i = 0; i < d.layers; ++i) d.kinds[i].rope = turned[i] != 0 ? 0 : -1;
  const bool windows = config.BoolOr("use_sliding_window", false) && config.Has("sliding_window");
  const auto sliding = ReadSlidingLayers(
      config, d.layers, [&](int64_t layer) { return windows && turned[layer] == 0; });
  SetWindows(config, 0, sliding, d);
  m.SetDefaultIds(128000, 128001);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
