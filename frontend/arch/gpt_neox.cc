// GPT-NeoX and Pythia (Black et al., 2022; Biderman et al., 2023): q, k and v in one matrix head by
// head, rope on a part of each head, attention and MLP side by side with a LayerNorm each. Agrees
// with transformers' modeling_gpt_neox.py; defaults are GPTNeoXConfig's. Tested by
// tests/eager_models_test.cc.
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
  bool parallel = true;
  bool attention_bias = true;
  double eps = 1e-5;
  std::string activation;
};

Sizes ReadSizes(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.IntOr("vocab_size", 50432, 1, kMaxVocabulary);
  s.hidden = config.IntOr("hidden_size", 6144, 1, kMaxSize);
  s.inner = config.IntOr("intermediate_size", 24576, 1, kMaxSize);
  s.layers = config.IntOr("num_hidden_layers", 44, 1, kMaxLayers);
  s.context = config.IntOr("max_position_embeddings", 2048, 1, kMaxContext);
  s.attention.heads = s.attention.kv_heads = config.IntOr("num_attention_heads", 64, 1, kMaxSize);
  if (s.hidden % s.attention.heads != 0) {
    config.Refuse("num_attention_heads", absl::StrCat("a divisor of hidden_size, ", s.hidden));
  }
  s.attention.head_dim = s.hidden / s.attention.heads;
  s.attention.scale = 1.0 / std::sqrt(static_cast<double>(s.attention.head_dim));
  s.parallel = config.BoolOr("use_parallel_residual", true);
  s.attention_bias = config.BoolOr("attention_bias", true);
  s.eps = m.ReadEpsilon("layer_norm_eps", 1e-5);
  s.activation = m.ReadActivation("hidden_act", "gelu");
  RopeOptions options;
  options.theta_key = "rotary_emb_base";
  options.partial = 0.25;
  options.partial_key = "rotary_pct";
  if (config.ok()) s.rope = ReadRope(config, s.attention.head_dim, s.context, options);
  s.context = ContextOf(s.rope, s.context);
  return s;
}

Value* Attention(ModelBuilder& m, Value* x, const Sizes& s, const Rotary& rotary, int64_t layer) {
  const std::string name = absl::StrCat("layers.", layer, ".attention");
  const FusedQkv qkv = QkvByHead(m, x, absl::StrCat(name, ".query_key_value"), s.hidden,
                                 s.attention.heads, s.attention.head_dim, s.attention_bias);
  m.Scope(name);
  Value* mixed = m.Attention(qkv.q, qkv.k, qkv.v, s.attention, &rotary, layer);  // [T, hidden]
  return m.Linear(mixed, absl::StrCat(name, ".dense"), s.hidden, s.hidden, s.attention_bias);
}

}  // namespace

absl::Status BuildGptNeoX(ModelBuilder& m) {
  const Sizes s = ReadSizes(m);
  const bool tied = m.config().BoolOr("tie_word_embeddings", false);
  m.SetDefaultIds(0, 2);
  if (!m.ok()) return m.status();

  m.Begin("gpt_neox.", s.vocab, "max_position_embeddings", s.context,
          ModelBuilder::Positions::kRotary);
  const std::string head = m.HasWhole("lm_head.weight") ? "lm_head" : "embed_out";
  const auto tables =
      m.EmbeddingAndHead("embed_in.weight", absl::StrCat(head, ".weight"), s.vocab, s.hidden, tied);
  m.Scope("embed_in");
  Value* x = m.NameHidden(m.ops().Embedding(m.tokens(), tables.embedding), 0);  // [T, hidden]
  const Rotary rotary = m.RotaryTables(s.rope);
  const MlpShape mlp = {s.hidden, s.inner, s.activation, /*bias=*/true};
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    const std::string name = absl::StrCat("layers.", layer);
    Value* h = m.LayerNorm(x, absl::StrCat(name, ".input_layernorm"), s.hidden, s.eps);
    Value* attended = Attention(m, h, s, rotary, layer);
    m.Scope(name);
    Value* both = m.ops().Add(attended, x);
    h = m.LayerNorm(s.parallel ? x : both, absl::StrCat(name, ".post_attention_layernorm"),
                    s.hidden, s.eps);
    h = PlainMlp(m, h, absl::StrCat(name, ".mlp"), "dense_h_to_4h", "dense_4h_to_h", mlp);
    m.Scope(name);
    x = m.NameHidden(m.ops().Add(h, both), layer + 1);
  }
  x = m.LayerNorm(x, "final_layer_norm", s.hidden, s.eps);
  m.ops().set_provenance(head);
  m.Finish(m.ops().Linear(x, tables.head));  // [T, vocab]
  return m.status();
}

}  // namespace ninfer::frontend
