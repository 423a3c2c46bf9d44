// GPT-J (Wang and Komatsuzaki, 2021) and CodeGen (Nijkamp et al., 2022): attention and MLP side by
// side after one LayerNorm, rope on neighbouring pairs of the first columns of a head, a head with
// a bias. CodeGen has q, v and k in one matrix of four blocks. Agrees with transformers'
// modeling_gptj.py and modeling_codegen.py; defaults are those of their configuration classes.
// Tested by tests/eager_models_test.cc.
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"
#include "frontend/arch/fused.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

constexpr int64_t kBlocks = 4;  // of CodeGen's matrix: it was trained on so many devices

struct Sizes {
  int64_t vocab = 1, hidden = 1, inner = 1, layers = 1, context = 1;
  AttentionShape attention;
  Rope rope;
  double eps = 1e-5;
  std::string activation;
  bool fused = false;
};

Sizes ReadSizes(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.IntOr("vocab_size", 50400, 1, kMaxVocabulary);
  s.hidden = config.IntOr(KeyOf(config, "n_embd", "hidden_size"), 4096, 1, kMaxSize);
  s.layers = config.IntOr(KeyOf(config, "n_layer", "num_hidden_layers"), 28, 1, kMaxLayers);
  s.context =
      config.IntOr(KeyOf(config, "n_positions", "max_position_embeddings"), 2048, 1, kMaxContext);
  s.inner = config.OptionalInt("n_inner", 1, kMaxSize).value_or(4 * s.hidden);
  const absl::string_view heads_key = KeyOf(config, "n_head", "num_attention_heads");
  s.attention.heads = s.attention.kv_heads = config.IntOr(heads_key, 16, 1, kMaxSize);
  if (s.hidden % s.attention.heads != 0) {
    config.Refuse(heads_key, absl::StrCat("a divisor of n_embd, ", s.hidden));
  }
  s.attention.head_dim = s.hidden / s.attention.heads;
  s.attention.scale = 1.0 / std::sqrt(static_cast<double>(s.attention.head_dim));
  const int64_t rotated = config.IntOr("rotary_dim", 64, 2, kMaxSize);
  if (rotated % 2 != 0 || rotated > s.attention.head_dim) {
    config.Refuse("rotary_dim",
                  absl::StrCat("an even number up to the size of a head, ", s.attention.head_dim));
  }
  s.rope.style = "pairs";
  s.rope.inv_freq = PlainFrequencies(10000.0, rotated);
  s.eps = m.ReadEpsilon("layer_norm_epsilon", 1e-5);
  s.activation = m.ReadActivation("activation_function", "gelu_new");
  return s;
}

FusedQkv MakeQkv(ModelBuilder& m, Value* x, const std::string& name, const Sizes& s) {
  if (!s.fused) {
    Value* q = m.Linear(x, absl::StrCat(name, ".q_proj"), s.hidden, s.hidden, false);
    Value* k = m.Linear(x, absl::StrCat(name, ".k_proj"), s.hidden, s.hidden, false);
    Value* v = m.Linear(x, absl::StrCat(name, ".v_proj"), s.hidden, s.hidden, false);
    return {q, k, v};
  }
  const auto part = [&](int64_t i) {
    return LinearPart(m, x, absl::StrCat(name, ".qkv_proj"), s.hidden,
                      {{kBlocks, 3, s.hidden / kBlocks}, 1, i, i + 1}, false);
  };
  Value* q = part(0);
  Value* v = part(1);
  return {q, part(2), v};
}

absl::Status Build(ModelBuilder& m, const Sizes& s) {
  const bool tied = m.config().BoolOr("tie_word_embeddings", false);
  m.SetDefaultIds(50256, 50256);
  if (!m.ok()) return m.status();
  m.Begin("transformer.", s.vocab, "n_positions", s.context, ModelBuilder::Positions::kRotary);
  const auto tables = m.EmbeddingAndHead("wte.weight", "lm_head.weight", s.vocab, s.hidden, tied);
  m.Scope("wte");
  Value* x = m.NameHidden(m.ops().Embedding(m.tokens(), tables.embedding), 0);  // [T, hidden]
  const Rotary rotary = m.RotaryTables(s.rope);
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    const std::string name = absl::StrCat("h.", layer);
    Value* h = m.LayerNorm(x, absl::StrCat(name, ".ln_1"), s.hidden, s.eps);
    const FusedQkv qkv = MakeQkv(m, h, absl::StrCat(name, ".attn"), s);
    m.Scope(absl::StrCat(name, ".attn"));
    Value* mixed = m.Attention(qkv.q, qkv.k, qkv.v, s.attention, &rotary, layer);  // [T, hidden]
    mixed = m.Linear(mixed, absl::StrCat(name, ".attn.out_proj"), s.hidden, s.hidden, false);
    const MlpShape mlp = {s.hidden, s.inner, s.activation, true};
    h = PlainMlp(m, h, absl::StrCat(name, ".mlp"), "fc_in", "fc_out", mlp);
    m.Scope(name);
    x = m.NameHidden(m.ops().Add(m.ops().Add(mixed, h), x), layer + 1);
  }
  x = m.LayerNorm(x, "ln_f", s.hidden, s.eps);
  m.Finish(m.Head(x, tables.head, "lm_head", s.vocab, /*bias=*/true));  // [T, vocab]
  return m.status();
}

}  // namespace

absl::Status BuildGptJ(ModelBuilder& m) { return Build(m, ReadSizes(m)); }

absl::Status BuildCodeGen(ModelBuilder& m) {
  Sizes s = ReadSizes(m);
  s.fused = true;
  if (s.attention.heads % kBlocks != 0) {
    m.config().Refuse(KeyOf(m.config(), "n_head", "num_attention_heads"), "a multiple of 4");
  }
  return Build(m, s);
}

}  // namespace ninfer::frontend
