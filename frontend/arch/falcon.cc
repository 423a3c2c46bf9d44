// Falcon (Almazrouei et al., 2023): q, k and v in one matrix, in an order that depends on the
// generation; rope or ALiBi; attention and MLP side by side but in the oldest. Agrees with
// transformers' modeling_falcon.py with its default attention; defaults are FalconConfig's. Tested
// by tests/eager_models_test.cc.
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"
#include "frontend/arch/fused.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

struct Sizes {
  int64_t vocab = 1, hidden = 1, inner = 1, layers = 1, context = 1;
  AttentionShape attention;
  Rope rope;
  Alibi alibi;
  bool uses_alibi = false;
  bool grouped = false;      // new_decoder_architecture: k and v behind the queries that share them
  bool multi_query = false;  // one KV head behind all queries
  bool parallel = true;
  bool two_norms = false;  // of a parallel block
  bool bias = false;
  double eps = 1e-5;
  std::string activation;
};

void ReadHeads(ConfigReader& config, Sizes& s) {
  const absl::string_view key = KeyOf(config, "num_attention_heads", "n_head");
  AttentionShape& shape = s.attention;
  shape.heads = config.IntOr(key, 71, 1, kMaxSize);
  if (s.hidden % shape.heads != 0) {
    config.Refuse(key, absl::StrCat("a divisor of hidden_size, ", s.hidden));
  }
  shape.head_dim = s.hidden / shape.heads;
  shape.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  const int64_t kv_heads =
      config.OptionalInt(KeyOf(config, "num_kv_heads", "n_head_kv"), 1, kMaxSize)
          .value_or(shape.heads);
  shape.kv_heads = s.grouped ? kv_heads : s.multi_query ? 1 : shape.heads;
  if (shape.heads % shape.kv_heads != 0) {
    config.Refuse("num_kv_heads", absl::StrCat("a divisor of ", key, ", ", shape.heads));
  }
}

Sizes ReadSizes(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.IntOr("vocab_size", 65024, 1, kMaxVocabulary);
  s.hidden = config.IntOr("hidden_size", 4544, 1, kMaxSize);
  s.layers = config.IntOr(KeyOf(config, "num_hidden_layers", "n_layer"), 32, 1, kMaxLayers);
  s.inner = config.OptionalInt("ffn_hidden_size", 1, kMaxSize).value_or(4 * s.hidden);
  s.context = config.IntOr("max_position_embeddings", 2048, 1, kMaxContext);
  s.grouped = config.BoolOr("new_decoder_architecture", false);
  s.multi_query = config.BoolOr("multi_query", true);
  s.uses_alibi = config.BoolOr("alibi", false);
  const bool parallel = config.BoolOr("parallel_attn", true);
  s.parallel = s.grouped || parallel;
  const int64_t norms =
      config.OptionalInt("num_ln_in_parallel_attn", 1, 2).value_or(s.grouped ? 2 : 1);
  s.two_norms = s.grouped && norms == 2;
  s.bias = config.BoolOr("bias", false);
  s.eps = m.ReadEpsilon("layer_norm_epsilon", 1e-5);
  s.activation = m.ReadActivation("activation", "gelu");
  ReadHeads(config, s);
  if (config.BoolOr("apply_residual_connection_post_layernorm", false)) {
    config.Refuse("apply_residual_connection_post_layernorm", "false");
  }
  if (!config.ok()) return s;
  s.rope = ReadRope(config, s.attention.head_dim, s.context, {});
  if (!s.uses_alibi) s.context = ContextOf(s.rope, s.context);
  s.alibi = {AlibiSlopes(s.attention.heads), s.attention.scale, /*round_to_bf16=*/true};
  return s;
}

FusedQkv MakeQkv(ModelBuilder& m, Value* x, const std::string& name, const Sizes& s) {
  const int64_t heads = s.attention.heads, kv = s.attention.kv_heads, d = s.attention.head_dim;
  const auto part = [&](std::vector<int64_t> dims, int64_t axis, int64_t begin, int64_t end) {
    return LinearPart(m, x, name, s.hidden, {std::move(dims), axis, begin, end}, s.bias);
  };
  if (s.grouped) {
    const int64_t group = heads / kv;
    Value* q = part({kv, group + 2, d}, 1, 0, group);
    Value* k = part({kv, group + 2, d}, 1, group, group + 1);
    return {q, k, part({kv, group + 2, d}, 1, group + 1, group + 2)};
  }
  if (!s.multi_query) return QkvByHead(m, x, name, s.hidden, heads, d, s.bias);
  Value* q = part({heads + 2, d}, 0, 0, heads);
  Value* k = part({heads + 2, d}, 0, heads, heads + 1);
  return {q, k, part({heads + 2, d}, 0, heads + 1, heads + 2)};
}

Value* Attention(ModelBuilder& m, Value* x, const Sizes& s, const Rotary* rotary, int64_t layer) {
  const std::string name = absl::StrCat("h.", layer, ".self_attention");
  const FusedQkv qkv = MakeQkv(m, x, absl::StrCat(name, ".query_key_value"), s);
  m.Scope(name);
  AttentionShape shape = s.attention;
  if (s.uses_alibi) shape.alibi = &s.alibi;
  Value* mixed = m.Attention(qkv.q, qkv.k, qkv.v, shape, rotary, layer);  // [T, hidden]
  return m.Linear(mixed, absl::StrCat(name, ".dense"), s.hidden, s.hidden, s.bias);
}

Value* Block(ModelBuilder& m, Value* x, const Sizes& s, const Rotary* rotary, int64_t layer) {
  const std::string name = absl::StrCat("h.", layer);
  const auto norm = [&](Value* value, absl::string_view which) {
    return m.LayerNorm(value, absl::StrCat(name, ".", which), s.hidden, s.eps);
  };
  const MlpShape mlp = {s.hidden, s.inner, s.activation, s.bias};
  const auto make_mlp = [&](Value* value) {
    return PlainMlp(m, value, absl::StrCat(name, ".mlp"), "dense_h_to_4h", "dense_4h_to_h", mlp);
  };
  Value* h = norm(x, s.two_norms ? "ln_attn" : "input_layernorm");
  Value* attended = Attention(m, h, s, rotary, layer);
  if (s.parallel) {
    Value* fed = make_mlp(s.two_norms ? norm(x, "ln_mlp") : h);
    m.Scope(name);
    return m.ops().Add(x, m.ops().Add(fed, attended));
  }
  m.Scope(name);
  x = m.ops().Add(x, attended);
  Value* fed = make_mlp(norm(x, "post_attention_layernorm"));
  m.Scope(name);
  return m.ops().Add(x, fed);
}

}  // namespace

absl::Status BuildFalcon(ModelBuilder& m) {
  const Sizes s = ReadSizes(m);
  const bool tied = m.config().BoolOr("tie_word_embeddings", true);
  m.SetDefaultIds(11, 11);
  if (!m.ok()) return m.status();

  m.Begin("transformer.", s.vocab, "max_position_embeddings", s.context,
          ModelBuilder::Positions::kRotary);
  const auto tables =
      m.EmbeddingAndHead("word_embeddings.weight", "lm_head.weight", s.vocab, s.hidden, tied);
  m.Scope("word_embeddings");
  Value* x = m.NameHidden(m.ops().Embedding(m.tokens(), tables.embedding), 0);  // [T, hidden]
  Rotary rotary;
  if (!s.uses_alibi) rotary = m.RotaryTables(s.rope);
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    x = m.NameHidden(Block(m, x, s, s.uses_alibi ? nullptr : &rotary, layer), layer + 1);
  }
  x = m.LayerNorm(x, "ln_f", s.hidden, s.eps);
  m.ops().set_provenance("lm_head");
  m.Finish(m.ops().Linear(x, tables.head));  // [T, vocab]
  return m.status();
}

}  // namespace ninfer::frontend
