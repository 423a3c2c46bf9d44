// StableLM (Stability AI, 2023): Llama with LayerNorm, rope on a quarter of each head and, where
// the configuration says so, attention and MLP side by side and a norm for each head of q and k.
// Agrees with transformers' modeling_stablelm.py; defaults are StableLmConfig's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildStableLm(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 50304,
                              .hidden = 2560,
                              .intermediate = 6912,
                              .layers = 32,
                              .heads = 32,
                              .kv_heads = 32,
                              .context = 4096,
                              .eps = 1e-5,
                              .eps_key = "layer_norm_eps",
                              .rope = {.partial = 0.25}});
  d.norm.kind = Norm::kLayer;
  d.norm.bias = true;
  d.qkv_bias = config.BoolOr("use_qkv_bias", false);
  d.parallel = config.BoolOr("use_parallel_residual", false);
  if (config.BoolOr("qk_layernorm", false)) d.qk_norm = QkNorm::kHeadsApart;
  d.q_norm = "q_layernorm";
  d.k_norm = "k_layernorm";
  m.SetDefaultIds(0, 0);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
