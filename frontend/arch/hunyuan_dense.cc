// HunYuan dense (Tencent, 2025): Llama with a norm of each head of q and k after they are turned,
// and a rope whose base is stretched once. Agrees with transformers' modeling_hunyuan_v1_dense.py;
// defaults are HunYuanDenseV1Config's. Tested by tests/eager_models_test.cc.
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

using ir::Dim;
using ir::Value;

// "dynamic" with an alpha: theta is multiplied by alpha^(d / (d - 2)), whatever the text's length.
void StretchRope(ConfigReader& config, Decoder& d) {
  ConfigReader* rope = config.Object("rope_scaling");
  if (rope == nullptr) rope = config.Object("rope_parameters");
  if (rope == nullptr || d.ropes.empty() || d.ropes[0].growth == 0) return;
  const double alpha = rope->OptionalNumber("alpha").value_or(0);
  if (alpha == 0) return;
  if (!(alpha > 0)) rope->Refuse("alpha", "a number above 0");
  const double size = static_cast<double>(d.attention.head_dim);
  const double theta =
      rope->Has("rope_theta") ? rope->Number("rope_theta") : config.NumberOr("rope_theta", 10000.0);
  Rope stretched;
  stretched.inv_freq =
      PlainFrequencies(theta * std::pow(alpha, size / (size - 2)), d.attention.head_dim);
  d.ropes[0] = stretched;
  d.context = config.IntOr("max_position_embeddings", d.context, 1, kMaxContext);
}

// NAME.q_proj, turned and normalised: [T, heads, head_dim].
Value* Turned(ModelBuilder& m, Value* x, const std::string& name, absl::string_view projection,
              absl::string_view norm, int64_t heads, const Decoder& d, const Rotary& rotary) {
  const int64_t size = d.attention.head_dim;
  Value* y = m.Linear(x, absl::StrCat(name, ".", projection), d.hidden, heads * size, d.qkv_bias);
  m.Scope(name);
  y = m.ops().Reshape(y, {m.rows(), Dim::Static(heads), Dim::Static(size)});
  y = m.ops().Rope(y, rotary.cos, rotary.sin, rotary.style);
  return m.RmsNorm(y, absl::StrCat(name, ".", norm), size, d.norm.eps);
}

Value* Attention(ModelBuilder& m, Value* x, const Decoder& d, const Rotary& rotary, int64_t layer) {
  const std::string name = absl::StrCat("layers.", layer, ".self_attn");
  const AttentionShape& shape = d.attention;
  Value* q = Turned(m, x, name, "q_proj", "query_layernorm", shape.heads, d, rotary);
  Value* k = Turned(m, x, name, "k_proj", "key_layernorm", shape.kv_heads, d, rotary);
  Value* v = m.Linear(x, absl::StrCat(name, ".v_proj"), d.hidden, shape.kv_heads * shape.head_dim,
                      d.qkv_bias);
  m.Scope(name);
  Value* mixed = m.Attention(q, k, v, shape, nullptr, layer);  // [T, heads * head_dim]
  return m.Linear(mixed, absl::StrCat(name, ".o_proj"), shape.heads * shape.head_dim, d.hidden,
                  d.output_bias);
}

Value* Block(ModelBuilder& m, Value* x, const Decoder& d, const Rotary& rotary, int64_t layer) {
  const std::string name = absl::StrCat("layers.", layer);
  Value* h = m.RmsNorm(x, absl::StrCat(name, ".input_layernorm"), d.hidden, d.norm.eps);
  h = Attention(m, h, d, rotary, layer);
  m.Scope(name);
  x = m.ops().Add(x, h);
  h = m.RmsNorm(x, absl::StrCat(name, ".post_attention_layernorm"), d.hidden, d.norm.eps);
  h = GatedMlp(m, h, absl::StrCat(name, ".mlp"), d.mlp);
  m.Scope(name);
  return m.ops().Add(x, h);
}

}  // namespace

absl::Status BuildHunYuanDense(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 290943,
                              .hidden = 4096,
                              .intermediate = 11008,
                              .layers = 32,
                              .heads = 32,
                              .context = 2048,
                              .eps = 1e-5});
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  if (!config.BoolOr("use_qk_norm", true)) config.Refuse("use_qk_norm", "true");
  config.OptionalInt("num_experts", 0, 1);  // 1, as some files say, is none
  if (config.BoolOr("use_cla", false)) {
    config.Refuse("use_cla", "false, as each layer has keys of its own");
  }
  if (m.ok()) StretchRope(config, d);
  m.SetDefaultIds(1, 2);
  if (!m.ok()) return m.status();

  m.Begin("model.", d.vocab, "max_position_embeddings", d.context,
          ModelBuilder::Positions::kRotary);
  const auto tables =
      m.EmbeddingAndHead("embed_tokens.weight", "lm_head.weight", d.vocab, d.hidden, d.tied);
  m.Scope("embed_tokens");
  Value* x = m.NameHidden(m.ops().Embedding(m.tokens(), tables.embedding), 0);  // [T, hidden]
  const Rotary rotary = m.RotaryTables(d.ropes[0]);
  for (int64_t layer = 0; layer < d.layers && m.ok(); ++layer) {
    x = m.NameHidden(Block(m, x, d, rotary, layer), layer + 1);
  }
  x = m.RmsNorm(x, "norm", d.hidden, d.norm.eps);
  m.Finish(m.Head(x, tables.head, "lm_head", d.vocab, /*bias=*/false));  // [T, vocab]
  return m.status();
}

}  // namespace ninfer::frontend
