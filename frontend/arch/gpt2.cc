// GPT-2 (Radford et al., 2019): LayerNorm, learned positions, one matrix for q, k and v, weights
// stored as [in, out]; and GPT-BigCode (Ben Allal et al., 2023), the same with weights stored as
// torch does and, as a rule, one KV head. Agrees with transformers' modeling_gpt2.py and
// modeling_gpt_bigcode.py; defaults are those of their configuration classes. Tested by
// tests/frontend_test.cc.
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"
#include "frontend/arch/fused.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

struct Sizes {
  int64_t vocab = 1;
  int64_t positions = 1;
  int64_t hidden = 1;
  int64_t inner = 1;
  int64_t layers = 1;
  AttentionShape attention;
  bool scale_by_layer = false;
  bool big_code = false;
  double eps = 1e-5;
  std::string activation;
};

Sizes ReadSizes(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.IntOr("vocab_size", 50257, 1, kMaxVocabulary);
  s.positions =
      config.IntOr(KeyOf(config, "n_positions", "max_position_embeddings"), 1024, 1, kMaxContext);
  s.hidden = config.IntOr(KeyOf(config, "n_embd", "hidden_size"), 768, 1, kMaxSize);
  s.layers = config.IntOr(KeyOf(config, "n_layer", "num_hidden_layers"), 12, 1, kMaxLayers);
  s.inner = config.OptionalInt("n_inner", 1, kMaxSize).value_or(4 * s.hidden);
  const absl::string_view heads_key = KeyOf(config, "n_head", "num_attention_heads");
  s.attention.heads = config.IntOr(heads_key, 12, 1, kMaxSize);
  if (s.hidden % s.attention.heads != 0) {
    config.Refuse(heads_key, absl::StrCat("a divisor of n_embd, ", s.hidden));
  }
  s.attention.kv_heads = s.attention.heads;
  s.attention.head_dim = s.hidden / s.attention.heads;
  if (config.BoolOr("scale_attn_weights", true)) {
    s.attention.scale = 1.0 / std::sqrt(static_cast<double>(s.attention.head_dim));
  }
  s.scale_by_layer = config.BoolOr("scale_attn_by_inverse_layer_idx", false);
  s.eps = m.ReadEpsilon("layer_norm_epsilon", 1e-5);
  s.activation = m.ReadActivation("activation_function", "gelu_new");
  return s;
}

Value* Projection(ModelBuilder& m, Value* x, absl::string_view name, int64_t in, int64_t out,
                  const Sizes& s) {
  return s.big_code ? m.Linear(x, name, in, out, true) : m.Conv1D(x, name, in, out);
}

// GPT-2's columns are q, k, v; so are BigCode's with one KV head, else they go head by head.
FusedQkv MakeQkv(ModelBuilder& m, Value* x, absl::string_view name, const Sizes& s) {
  const int64_t kv = s.attention.kv_heads * s.attention.head_dim;
  const std::string projection = absl::StrCat(name, ".c_attn");
  if (s.big_code && s.attention.kv_heads == s.attention.heads) {
    return QkvByHead(m, x, projection, s.hidden, s.attention.heads, s.attention.head_dim, true);
  }
  Value* qkv = Projection(m, x, projection, s.hidden, s.hidden + 2 * kv, s);
  m.Scope(name);
  Value* q = m.ops().Slice(qkv, 1, 0, s.hidden);
  Value* k = m.ops().Slice(qkv, 1, s.hidden, s.hidden + kv);
  return {q, k, m.ops().Slice(qkv, 1, s.hidden + kv, s.hidden + 2 * kv)};
}

Value* Attention(ModelBuilder& m, Value* x, const Sizes& s, int64_t layer) {
  const std::string name = absl::StrCat("h.", layer, ".attn");
  const FusedQkv qkv = MakeQkv(m, x, name, s);
  m.Scope(name);
  AttentionShape shape = s.attention;
  if (s.scale_by_layer) shape.scale /= static_cast<double>(layer + 1);
  Value* mixed = m.Attention(qkv.q, qkv.k, qkv.v, shape, nullptr, layer);  // [T, hidden]
  return Projection(m, mixed, absl::StrCat(name, ".c_proj"), s.hidden, s.hidden, s);
}

Value* Mlp(ModelBuilder& m, Value* x, const Sizes& s, int64_t layer) {
  const std::string name = absl::StrCat("h.", layer, ".mlp");
  Value* h = Projection(m, x, absl::StrCat(name, ".c_fc"), s.hidden, s.inner, s);
  m.Scope(name);
  h = m.Activation(h, s.activation);  // [T, inner]
  return Projection(m, h, absl::StrCat(name, ".c_proj"), s.inner, s.hidden, s);
}

absl::Status Build(ModelBuilder& m, const Sizes& s) {
  ConfigReader& config = m.config();
  const bool tied = config.BoolOr("tie_word_embeddings", true);
  m.SetDefaultIds(50256, 50256);
  if (!m.ok()) return m.status();

  m.Begin("transformer.", s.vocab, KeyOf(config, "n_positions", "max_position_embeddings"),
          s.positions, ModelBuilder::Positions::kLearned);
  const auto tables = m.EmbeddingAndHead("wte.weight", "lm_head.weight", s.vocab, s.hidden, tied);
  m.Scope("wte");
  Value* x = m.ops().Embedding(m.tokens(), tables.embedding);  // [T, hidden]
  m.Scope("wpe");
  Value* places = m.ops().Embedding(m.positions(), m.Weight("wpe.weight", {s.positions, s.hidden}));
  x = m.NameHidden(m.ops().Add(x, places), 0);
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    const std::string name = absl::StrCat("h.", layer);
    Value* h = m.LayerNorm(x, absl::StrCat(name, ".ln_1"), s.hidden, s.eps);
    h = Attention(m, h, s, layer);
    m.Scope(name);
    x = m.ops().Add(x, h);
    h = m.LayerNorm(x, absl::StrCat(name, ".ln_2"), s.hidden, s.eps);
    h = Mlp(m, h, s, layer);
    m.Scope(name);
    x = m.NameHidden(m.ops().Add(x, h), layer + 1);
  }
  x = m.LayerNorm(x, "ln_f", s.hidden, s.eps);
  m.ops().set_provenance("lm_head");
  m.Finish(m.ops().Linear(x, tables.head));  // [T, vocab]
  return m.status();
}

}  // namespace

absl::Status BuildGpt2(ModelBuilder& m) { return Build(m, ReadSizes(m)); }

absl::Status BuildGptBigCode(ModelBuilder& m) {
  Sizes s = ReadSizes(m);
  s.big_code = true;
  if (m.config().BoolOr("multi_query", true)) s.attention.kv_heads = 1;
  return Build(m, s);
}

}  // namespace ninfer::frontend
