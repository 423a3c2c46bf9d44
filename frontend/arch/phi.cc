// Phi-1, Phi-1.5 and Phi-2 (Microsoft, 2023): attention and MLP side by side after one LayerNorm,
// rope on half of each head, biases everywhere, the head's too. Agrees with transformers'
// modeling_phi.py; defaults are PhiConfig's. Tested by tests/eager_models_test.cc.
#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildPhi(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 51200,
                              .hidden = 2048,
                              .intermediate = 8192,
                              .layers = 24,
                              .heads = 32,
                              .context = 2048,
                              .eps = 1e-5,
                              .activation = "gelu_new",
                              .eps_key = "layer_norm_eps",
                              .rope = {.partial = 0.5}});
  d.norm.kind = Norm::kLayer;
  d.norm.bias = true;
  d.parallel = true;
  d.qkv_bias = d.output_bias = d.mlp.bias = d.head_bias = true;
  d.output_name = "dense";
  d.final_norm = "final_layernorm";
  if (m.config().BoolOr("qk_layernorm", false)) d.qk_norm = QkNorm::kHead;
  d.q_norm = "q_layernorm";
  d.k_norm = "k_layernorm";
  d.make_mlp = [&m, &d](ir::Value* x, int64_t layer) {
    return PlainMlp(m, x, absl::StrCat("layers.", layer, ".mlp"), "fc1", "fc2", d.mlp);
  };
  m.SetDefaultIds(1, 2);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
