// GPT-Neo (Black et al., 2021): GPT-2 with matrices as torch stores them, scores that are not
// scaled, and layers that see a window. Agrees with transformers' modeling_gpt_neo.py; defaults are
// GPTNeoConfig's. Tested by tests/frontend_test.cc.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

struct Sizes {
  int64_t vocab = 1;
  int64_t positions = 1;
  int64_t hidden = 1;
  int64_t inner = 1;
  int64_t layers = 1;
  int64_t window = 256;
  std::vector<bool> local;  // by layer
  AttentionShape attention;
  double eps = 1e-5;
  std::string activation;
};

// attention_types: [[["global", "local"], 12]], each list so many times over; global and local by
// turns where it is absent. (attention_layers, which some files hold too, is made from it.)
std::vector<bool> ReadLocalLayers(ConfigReader& config, int64_t layers) {
  constexpr absl::string_view kExpected =
      "pairs of a list of \"global\" and \"local\" and a count, for num_layers in all";
  std::vector<bool> local;
  const nlohmann::json* types = config.Peek("attention_types");
  if (types == nullptr) {
    for (int64_t i = 0; i < layers; ++i) local.push_back(i % 2 == 1);
    return local;
  }
  bool valid = types->is_array();
  for (size_t i = 0; valid && i < types->size(); ++i) {
    const nlohmann::json& pair = (*types)[i];
    valid =
        pair.is_array() && pair.size() == 2 && pair[0].is_array() && pair[1].is_number_integer();
    for (int64_t n = 0; valid && n < pair[1].get<int64_t>(); ++n) {
      for (const nlohmann::json& type : pair[0]) {
        valid = valid && (type == "global" || type == "local") &&
                static_cast<int64_t>(local.size()) < layers;
        if (valid) local.push_back(type == "local");
      }
      valid = valid && !pair[0].empty();
    }
  }
  if (valid && static_cast<int64_t>(local.size()) == layers) return local;
  config.Refuse("attention_types", kExpected);
  return std::vector<bool>(layers, false);
}

Sizes ReadSizes(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Sizes s;
  s.vocab = config.IntOr("vocab_size", 50257, 1, kMaxVocabulary);
  s.positions = config.IntOr("max_position_embeddings", 2048, 1, kMaxContext);
  s.hidden = config.IntOr("hidden_size", 2048, 1, kMaxSize);
  s.layers = config.IntOr(KeyOf(config, "num_layers", "num_hidden_layers"), 24, 1, kMaxLayers);
  s.inner = config.OptionalInt("intermediate_size", 1, kMaxSize).value_or(4 * s.hidden);
  s.window = config.IntOr("window_size", 256, 1, kMaxContext);
  s.local = ReadLocalLayers(config, s.layers);
  const absl::string_view heads_key = KeyOf(config, "num_heads", "num_attention_heads");
  s.attention.heads = s.attention.kv_heads = config.IntOr(heads_key, 16, 1, kMaxSize);
  if (s.hidden % s.attention.heads != 0) {
    config.Refuse(heads_key, absl::StrCat("a divisor of hidden_size, ", s.hidden));
  }
  s.attention.head_dim = s.hidden / s.attention.heads;
  s.eps = m.ReadEpsilon("layer_norm_epsilon", 1e-5);
  s.activation = m.ReadActivation("activation_function", "gelu_new");
  return s;
}

Value* Attention(ModelBuilder& m, Value* x, const Sizes& s, int64_t layer) {
  const std::string name = absl::StrCat("h.", layer, ".attn.attention");
  Value* q = m.Linear(x, absl::StrCat(name, ".q_proj"), s.hidden, s.hidden, false);
  Value* k = m.Linear(x, absl::StrCat(name, ".k_proj"), s.hidden, s.hidden, false);
  Value* v = m.Linear(x, absl::StrCat(name, ".v_proj"), s.hidden, s.hidden, false);
  m.Scope(name);
  AttentionShape shape = s.attention;
  if (s.local[layer]) shape.window = s.window;
  Value* mixed = m.Attention(q, k, v, shape, nullptr, layer);  // [T, hidden]
  return m.Linear(mixed, absl::StrCat(name, ".out_proj"), s.hidden, s.hidden, true);
}

}  // namespace

absl::Status BuildGptNeo(ModelBuilder& m) {
  const Sizes s = ReadSizes(m);
  const bool tied = m.config().BoolOr("tie_word_embeddings", true);
  m.SetDefaultIds(50256, 50256);
  if (!m.ok()) return m.status();

  m.Begin("transformer.", s.vocab, "max_position_embeddings", s.positions,
          ModelBuilder::Positions::kLearned);
  const auto tables = m.EmbeddingAndHead("wte.weight", "lm_head.weight", s.vocab, s.hidden, tied);
  m.Scope("wte");
  Value* x = m.ops().Embedding(m.tokens(), tables.embedding);  // [T, hidden]
  m.Scope("wpe");
  Value* places = m.ops().Embedding(m.positions(), m.Weight("wpe.weight", {s.positions, s.hidden}));
  x = m.NameHidden(m.ops().Add(x, places), 0);
  const MlpShape mlp = {s.hidden, s.inner, s.activation, /*bias=*/true};
  for (int64_t layer = 0; layer < s.layers && m.ok(); ++layer) {
    const std::string name = absl::StrCat("h.", layer);
    Value* h = m.LayerNorm(x, absl::StrCat(name, ".ln_1"), s.hidden, s.eps);
    h = Attention(m, h, s, layer);
    m.Scope(name);
    x = m.ops().Add(x, h);
    h = m.LayerNorm(x, absl::StrCat(name, ".ln_2"), s.hidden, s.eps);
    h = PlainMlp(m, h, absl::StrCat(name, ".mlp"), "c_fc", "c_proj", mlp);
    m.Scope(name);
    x = m.NameHidden(m.ops().Add(x, h), layer + 1);
  }
  x = m.LayerNorm(x, "ln_f", s.hidden, s.eps);
  m.ops().set_provenance("lm_head");
  m.Finish(m.ops().Linear(x, tables.head));  // [T, vocab]
  return m.status();
}

}  // namespace ninfer::frontend
