// BLOOM (BigScience, 2022): LayerNorm, also on the embedding; ALiBi instead of positions; q, k and
// v in one matrix, head by head. Agrees with transformers' modeling_bloom.py; defaults are
// BloomConfig's. Tested by tests/frontend_test.cc.
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
  int64_t hidden = 1;
  int64_t layers = 1;
  AttentionShape attention;
  Alibi alibi;
  double eps = 1e-5;
  bool residual_of_norm = false;
};

Sizes ReadSizes(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.IntOr("vocab_size", 250880, 1, kMaxVocabulary);
  s.hidden = config.IntOr(KeyOf(config, "hidden_size", "n_embed"), 64, 1, kMaxSize);
  s.layers = config.IntOr(KeyOf(config, "n_layer", "num_hidden_layers"), 2, 1, kMaxLayers);
  const absl::string_view heads_key = KeyOf(config, "n_head", "num_attention_heads");
  s.attention.heads = s.attention.kv_heads = config.IntOr(heads_key, 8, 1, kMaxSize);
  if (s.hidden % s.attention.heads != 0) {
    config.Refuse(heads_key, absl::StrCat("a divisor of hidden_size, ", s.hidden));
  }
  s.attention.head_dim = s.hidden / s.attention.heads;
  s.attention.scale = 1.0 / std::sqrt(static_cast<double>(s.attention.head_dim));
  s.eps = m.ReadEpsilon("layer_norm_epsilon", 1e-5);
  // transformers then leaves out biases; no checkpoint was trained so.
  const int64_t slices = config.IntOr("pretraining_tp", 1, 1, kMaxSize);
  if (config.BoolOr("slow_but_exact", false) && slices > 1) {
    config.Refuse("slow_but_exact", absl::StrCat("false where pretraining_tp is ", slices));
  }
  s.residual_of_norm = config.BoolOr("apply_residual_connection_post_layernorm", false);
  return s;
}

Value* Attention(ModelBuilder& m, Value* x, const Sizes& s, int64_t layer) {
  const std::string name = absl::StrCat("h.", layer, ".self_attention");
  const FusedQkv qkv = QkvByHead(m, x, absl::StrCat(name, ".query_key_value"), s.hidden,
                                 s.attention.heads, s.attention.head_dim, true);
  m.Scope(name);
  AttentionShape shape = s.attention;
  shape.alibi = &s.alibi;
  Value* mixed = m.Attention(qkv.q, qkv.k, qkv.v, shape, nullptr, layer);  // [T, hidden]
  return m.Linear(mixed, absl::StrCat(name, ".dense"), s.hidden, s.hidden, true);
}

}  // namespace

absl::Status BuildBloom(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s = ReadSizes(m);
  const bool tied = config.BoolOr("tie_word_embeddings", true);
  const int64_t context = config.IntOr("seq_length", 2048, 1, kMaxContext);
  m.SetDefaultIds(1, 2);
  if (!m.ok()) return m.status();
  s.alibi.slopes = AlibiSlopes(s.attention.heads);

  m.Begin("transformer.", s.vocab, "seq_length", context, ModelBuilder::Positions::kRotary);
  const auto tables =
      m.EmbeddingAndHead("word_embeddings.weight", "lm_head.weight", s.vocab, s.hidden, tied);
  m.Scope("word_embeddings");
  Value* x = m.ops().Embedding(m.tokens(), tables.embedding);  // [T, hidden]
  x = m.NameHidden(m.LayerNorm(x, "word_embeddings_layernorm", s.hidden, s.eps), 0);
  const MlpShape mlp = {s.hidden, 4 * s.hidden, "gelu_pytorch_tanh", /*bias=*/true};
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    const std::string name = absl::StrCat("h.", layer);
    Value* h = m.LayerNorm(x, absl::StrCat(name, ".input_layernorm"), s.hidden, s.eps);
    Value* residual = s.residual_of_norm ? h : x;
    h = Attention(m, h, s, layer);
    m.Scope(name);
    x = m.ops().Add(h, residual);
    h = m.LayerNorm(x, absl::StrCat(name, ".post_attention_layernorm"), s.hidden, s.eps);
    residual = s.residual_of_norm ? h : x;
    h = PlainMlp(m, h, absl::StrCat(name, ".mlp"), "dense_h_to_4h", "dense_4h_to_h", mlp);
    m.Scope(name);
    x = m.NameHidden(m.ops().Add(h, residual), layer + 1);
  }
  x = m.LayerNorm(x, "ln_f", s.hidden, s.eps);
  m.ops().set_provenance("lm_head");
  m.Finish(m.ops().Linear(x, tables.head));  // [T, vocab]
  return m.status();
}

}  // namespace ninfer::frontend
