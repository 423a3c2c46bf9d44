// StarCoder 2 (Lozhkov et al., 2024): LayerNorm, biases, a plain MLP, a window. Agrees with
// transformers' modeling_starcoder2.py; defaults are Starcoder2Config's. Tested by
// tests/eager_models_test.cc.
#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildStarcoder2(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 49152,
                              .hidden = 3072,
                              .intermediate = 12288,
                              .layers = 30,
                              .heads = 24,
                              .kv_heads = 2,
                              .context = 4096,
                              .eps = 1e-5,
                              .tied = true,
                              .activation = "gelu_pytorch_tanh",
                              .eps_key = "norm_epsilon"});
  d.norm.kind = Norm::kLayer;
  d.norm.bias = true;
  d.qkv_bias = d.output_bias = d.mlp.bias = m.config().BoolOr("use_bias", true);
  SetWindowOfAll(m.config(), 0, d);
  d.make_mlp = [&m, &d](ir::Value* x, int64_t layer) {
    return PlainMlp(m, x, absl::StrCat("layers.", layer, ".mlp"), "c_fc", "c_proj", d.mlp);
  };
  m.SetDefaultIds(50256, 50256);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
