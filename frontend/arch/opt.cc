// OPT (Zhang et al., 2022): LayerNorm before or after each part, learned positions that are stored
// from row 2 on, ReLU; an embedding narrower than the model where word_embed_proj_dim says so.
// Agrees with transformers' modeling_opt.py; defaults are OPTConfig's. Tested by
// tests/frontend_test.cc.
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

constexpr int64_t kPositionOffset = 2;
constexpr double kEpsilon = 1e-5;  // torch's default: no key gives it

struct Sizes {
  int64_t vocab = 1;
  int64_t positions = 1;
  int64_t hidden = 1;
  int64_t embedding = 1;
  int64_t inner = 1;
  int64_t layers = 1;
  AttentionShape attention;
  bool norm_first = true;
  bool final_norm = true;
  bool bias = true;
  bool affine = true;
  std::string activation;
};

Sizes ReadSizes(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.IntOr("vocab_size", 50272, 1, kMaxVocabulary);
  s.positions = config.IntOr("max_position_embeddings", 2048, 1, kMaxContext);
  s.hidden = config.IntOr("hidden_size", 768, 1, kMaxSize);
  s.embedding = config.OptionalInt("word_embed_proj_dim", 1, kMaxSize).value_or(s.hidden);
  s.inner = config.IntOr("ffn_dim", 3072, 1, kMaxSize);
  s.layers = config.IntOr("num_hidden_layers", 12, 1, kMaxLayers);
  s.attention.heads = s.attention.kv_heads = config.IntOr("num_attention_heads", 12, 1, kMaxSize);
  if (s.hidden % s.attention.heads != 0) {
    config.Refuse("num_attention_heads", absl::StrCat("a divisor of hidden_size, ", s.hidden));
  }
  s.attention.head_dim = s.hidden / s.attention.heads;
  s.attention.scale = 1.0 / std::sqrt(static_cast<double>(s.attention.head_dim));
  s.norm_first = config.BoolOr("do_layer_norm_before", true);
  s.final_norm = s.norm_first && !config.BoolOr("_remove_final_layer_norm", false);
  s.bias = config.BoolOr("enable_bias", true);
  s.affine = config.BoolOr("layer_norm_elementwise_affine", true);
  s.activation = m.ReadActivation("activation_function", "relu");
  return s;
}

Value* MakeNorm(ModelBuilder& m, Value* x, absl::string_view name, const Sizes& s) {
  if (s.affine) return m.LayerNorm(x, name, s.hidden, kEpsilon);
  m.Scope(name);
  Value* ones = m.Literal("norm.ones", std::vector<float>(s.hidden, 1.0f));
  Value* zeros = m.Literal("norm.zeros", std::vector<float>(s.hidden, 0.0f));
  return m.ops().LayerNorm(x, ones, zeros, kEpsilon);
}

Value* Attention(ModelBuilder& m, Value* x, const Sizes& s, const std::string& layer_name,
                 int64_t layer) {
  const std::string name = absl::StrCat(layer_name, ".self_attn");
  Value* q = m.Linear(x, absl::StrCat(name, ".q_proj"), s.hidden, s.hidden, s.bias);
  Value* k = m.Linear(x, absl::StrCat(name, ".k_proj"), s.hidden, s.hidden, s.bias);
  Value* v = m.Linear(x, absl::StrCat(name, ".v_proj"), s.hidden, s.hidden, s.bias);
  m.Scope(name);
  Value* mixed = m.Attention(q, k, v, s.attention, nullptr, layer);  // [T, hidden]
  return m.Linear(mixed, absl::StrCat(name, ".out_proj"), s.hidden, s.hidden, s.bias);
}

Value* Embed(ModelBuilder& m, Value* table, const Sizes& s) {
  m.Scope("decoder.embed_tokens");
  Value* x = m.ops().Embedding(m.tokens(), table);  // [T, embedding]
  if (s.embedding != s.hidden) {
    x = m.Linear(x, "decoder.project_in", s.embedding, s.hidden, false);
  }
  m.Scope("decoder.embed_positions");
  Value* places =
      m.Weight("decoder.embed_positions.weight", {s.positions + kPositionOffset, s.hidden});
  places = m.ops().Slice(places, 0, kPositionOffset, s.positions + kPositionOffset);
  return m.ops().Add(x, m.ops().Embedding(m.positions(), places));
}

}  // namespace

absl::Status BuildOpt(ModelBuilder& m) {
  ConfigReader& config = m.config();
  const Sizes s = ReadSizes(m);
  const bool tied = config.BoolOr("tie_word_embeddings", true);
  m.SetDefaultIds(2, 2);
  if (!m.ok()) return m.status();

  m.Begin("model.", s.vocab, "max_position_embeddings", s.positions,
          ModelBuilder::Positions::kLearned);
  const auto tables = m.EmbeddingAndHead("decoder.embed_tokens.weight", "lm_head.weight", s.vocab,
                                         s.embedding, tied);
  Value* x = m.NameHidden(Embed(m, tables.embedding, s), 0);  // [T, hidden]
  const MlpShape mlp = {s.hidden, s.inner, s.activation, s.bias};
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    const std::string name = absl::StrCat("decoder.layers.", layer);
    const std::string first = absl::StrCat(name, ".self_attn_layer_norm");
    const std::string second = absl::StrCat(name, ".final_layer_norm");
    Value* h = Attention(m, s.norm_first ? MakeNorm(m, x, first, s) : x, s, name, layer);
    m.Scope(name);
    x = m.ops().Add(x, h);
    if (!s.norm_first) x = MakeNorm(m, x, first, s);
    h = PlainMlp(m, s.norm_first ? MakeNorm(m, x, second, s) : x, name, "fc1", "fc2", mlp);
    m.Scope(name);
    x = m.ops().Add(x, h);
    if (!s.norm_first) x = MakeNorm(m, x, second, s);
    x = m.NameHidden(x, layer + 1);
  }
  if (s.final_norm) x = MakeNorm(m, x, "decoder.final_layer_norm", s);
  if (s.embedding != s.hidden) {
    x = m.Linear(x, "decoder.project_out", s.hidden, s.embedding, false);
  }
  m.ops().set_provenance("lm_head");
  m.Finish(m.ops().Linear(x, tables.head));  // [T, vocab]
  return m.status();
}

}  // namespace ninfer::frontend
