// Arcee's AFM (Arcee AI, 2025): Llama with an MLP of a squared ReLU without a gate. Agrees with
// transformers' modeling_arcee.py; defaults are ArceeConfig's. Tested by
// tests/eager_models_test.cc.
#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

absl::Status BuildArcee(ModelBuilder& m) {
  Decoder d = ReadDecoder(m, {.vocab = 32000,
                              .hidden = 2560,
                              .intermediate = 18432,
                              .layers = 32,
                              .heads = 32,
                              .context = 4096,
                              .eps = 1e-5,
                              .activation = "relu2"});
  d.qkv_bias = d.output_bias = m.config().BoolOr("attention_bias", false);
  d.mlp.bias = m.config().BoolOr("mlp_bias", false);
  d.make_mlp = [&m, &d](ir::Value* x, int64_t layer) {
    return PlainMlp(m, x, absl::StrCat("layers.", layer, ".mlp"), "up_proj", "down_proj", d.mlp);
  };
  m.SetDefaultIds(128000, 128001);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
