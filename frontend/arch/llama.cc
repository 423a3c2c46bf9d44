// Llama 1, 2 and 3.x, and what is stored as such: TinyLlama, SmolLM2 and others (Touvron et al.,
// 2023; Grattafiori et al., 2024). Agrees with transformers' modeling_llama.py; defaults are
// LlamaConfig's, but the sizes that shape the tensors must be given. Tested by
// tests/frontend_test.cc.
#include "frontend/arch/llama.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "frontend/arch/rope.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

struct Sizes {
  int64_t vocab = 1;
  int64_t hidden = 1;
  int64_t intermediate = 1;
  int64_t layers = 1;
  AttentionShape attention;
  double eps = 1e-6;
  std::string activation;
};

void ReadHeads(ConfigReader& config, const LlamaVariant& variant, int64_t hidden,
               AttentionShape& shape) {
  shape.heads = config.Int("num_attention_heads", 1, kMaxSize);
  shape.kv_heads = shape.heads;
  if (variant.default_kv_heads != 0 && config.Peek("num_key_value_heads") == nullptr) {
    shape.kv_heads = variant.default_kv_heads;
  } else if (auto kv_heads = config.OptionalInt("num_key_value_heads", 1, kMaxSize)) {
    shape.kv_heads = *kv_heads;
  }
  if (shape.heads % shape.kv_heads != 0) {
    config.Refuse("num_key_value_heads",
                  absl::StrCat("a divisor of num_attention_heads, ", shape.heads));
  }
  const auto head_dim = config.OptionalInt("head_dim", 1, kMaxSize);
  if (!head_dim.has_value() && hidden % shape.heads != 0) {
    config.Refuse("num_attention_heads", absl::StrCat("a divisor of hidden_size, ", hidden));
  }
  shape.head_dim = head_dim.value_or(hidden / shape.heads);
  if (shape.head_dim % 2 != 0) {
    config.Refuse(head_dim.has_value() ? "head_dim" : "hidden_size", "an even size of each head");
  }
  shape.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
}

Sizes ReadSizes(ModelBuilder& m, const LlamaVariant& variant) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.Int("vocab_size", 1, kMaxVocabulary);
  s.hidden = config.Int("hidden_size", 1, kMaxSize);
  s.intermediate = config.Int("intermediate_size", 1, kMaxSize);
  s.layers = config.Int("num_hidden_layers", 1, kMaxLayers);
  ReadHeads(config, variant, s.hidden, s.attention);
  s.eps = m.ReadEpsilon("rms_norm_eps", 1e-6);
  s.activation = m.ReadActivation("hidden_act", "silu");
  return s;
}

Value* Attention(ModelBuilder& m, Value* x, const Sizes& s, const LlamaVariant& variant,
                 const Rotary& rotary, int64_t layer) {
  const std::string name = absl::StrCat("layers.", layer, ".self_attn");
  const int64_t q_size = s.attention.heads * s.attention.head_dim;
  const int64_t kv_size = s.attention.kv_heads * s.attention.head_dim;
  Value* q = m.Linear(x, absl::StrCat(name, ".q_proj"), s.hidden, q_size, variant.qkv_bias);
  Value* k = m.Linear(x, absl::StrCat(name, ".k_proj"), s.hidden, kv_size, variant.qkv_bias);
  Value* v = m.Linear(x, absl::StrCat(name, ".v_proj"), s.hidden, kv_size, variant.qkv_bias);
  m.Scope(name);
  Value* mixed = m.Attention(q, k, v, s.attention, &rotary, layer);  // [T, heads * head_dim]
  return m.Linear(mixed, absl::StrCat(name, ".o_proj"), q_size, s.hidden, variant.output_bias);
}

Value* Mlp(ModelBuilder& m, Value* x, const Sizes& s, bool bias, int64_t layer) {
  const std::string name = absl::StrCat("layers.", layer, ".mlp");
  Value* gate = m.Linear(x, absl::StrCat(name, ".gate_proj"), s.hidden, s.intermediate, bias);
  Value* up = m.Linear(x, absl::StrCat(name, ".up_proj"), s.hidden, s.intermediate, bias);
  m.Scope(name);
  Value* gated = m.ops().Mul(m.Activation(gate, s.activation), up);  // [T, intermediate]
  return m.Linear(gated, absl::StrCat(name, ".down_proj"), s.intermediate, s.hidden, bias);
}

}  // namespace

absl::Status BuildLlamaDecoder(ModelBuilder& m, const LlamaVariant& variant) {
  ConfigReader& config = m.config();
  const Sizes s = ReadSizes(m, variant);
  const bool tied = config.BoolOr("tie_word_embeddings", false);
  const int64_t context =
      config.IntOr("max_position_embeddings", variant.default_context, 1, kMaxContext);
  std::vector<float> frequencies = ReadRopeFrequencies(config, 10000.0, s.attention.head_dim);
  if (!m.ok()) return m.status();

  m.Begin("model.", s.vocab, "max_position_embeddings", context, ModelBuilder::Positions::kRotary);
  const auto tables =
      m.EmbeddingAndHead("embed_tokens.weight", "lm_head.weight", s.vocab, s.hidden, tied);
  m.Scope("embed_tokens");
  Value* x = m.NameHidden(m.ops().Embedding(m.tokens(), tables.embedding), 0);  // [T, hidden]
  const Rotary rotary = m.RotaryTables(std::move(frequencies));
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    const std::string name = absl::StrCat("layers.", layer);
    Value* h = m.RmsNorm(x, absl::StrCat(name, ".input_layernorm"), s.hidden, s.eps);
    h = Attention(m, h, s, variant, rotary, layer);
    m.Scope(name);
    x = m.ops().Add(x, h);
    h = m.RmsNorm(x, absl::StrCat(name, ".post_attention_layernorm"), s.hidden, s.eps);
    h = Mlp(m, h, s, variant.mlp_bias, layer);
    m.Scope(name);
    x = m.NameHidden(m.ops().Add(x, h), layer + 1);
  }
  x = m.RmsNorm(x, "norm", s.hidden, s.eps);
  m.ops().set_provenance("lm_head");
  m.Finish(m.ops().Linear(x, tables.head));  // [T, vocab]
  return m.status();
}

absl::Status BuildLlama(ModelBuilder& m) {
  ConfigReader& config = m.config();
  LlamaVariant variant;
  variant.qkv_bias = variant.output_bias = config.BoolOr("attention_bias", false);
  variant.mlp_bias = config.BoolOr("mlp_bias", false);
  m.SetDefaultIds(1, 2);
  return BuildLlamaDecoder(m, variant);
}

}  // namespace ninfer::frontend
