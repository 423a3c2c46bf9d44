// See the header. The order of operations is that of transformers' modeling files.
// Tested by tests/frontend_options_test.cc and tests/eager_models_test.cc.
#include "frontend/arch/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ninfer::frontend {
namespace {

using ir::Dim;
using ir::Op;
using ir::Value;

void ReadHeads(ConfigReader& config, const DecoderDefaults& defaults, int64_t hidden,
               AttentionShape& shape) {
  shape.heads = config.IntOr("num_attention_heads", defaults.heads, 1, kMaxSize);
  shape.kv_heads = shape.heads;
  if (defaults.kv_heads != 0 && config.Peek("num_key_value_heads") == nullptr) {
    shape.kv_heads = defaults.kv_heads;
  } else if (auto kv_heads = config.OptionalInt("num_key_value_heads", 1, kMaxSize)) {
    shape.kv_heads = *kv_heads;
  }
  if (shape.heads % shape.kv_heads != 0) {
    config.Refuse("num_key_value_heads",
                  absl::StrCat("a divisor of num_attention_heads, ", shape.heads));
  }
  auto head_dim = config.OptionalInt("head_dim", 1, kMaxSize);
  if (!head_dim.has_value() && defaults.head_dim != 0 && config.Peek("head_dim") == nullptr) {
    head_dim = defaults.head_dim;
  }
  if (!head_dim.has_value() && hidden % shape.heads != 0) {
    config.Refuse("num_attention_heads", absl::StrCat("a divisor of hidden_size, ", hidden));
  }
  shape.head_dim = head_dim.value_or(hidden / shape.heads);
  if (shape.head_dim % 2 != 0) {
    config.Refuse(head_dim.has_value() ? "head_dim" : "hidden_size", "an even size of each head");
  }
  shape.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
}

Value* Scaled(ModelBuilder& m, Value* x, double factor) {
  return factor == 1 ? x : m.ops().Mul(x, m.ops().Constant(factor));
}

Value* Softcapped(ModelBuilder& m, Value* x, double cap) {
  if (cap == 0) return x;
  Value* c = m.ops().Constant(cap);
  return m.ops().Mul(m.ops().Unary(Op::kTanh, m.ops().Div(x, c)), c);
}

Value* Clipped(ModelBuilder& m, Value* x, double bound) {
  if (bound == 0) return x;
  Value* above = m.ops().Make(Op::kMax, {x, m.ops().Constant(-bound)});
  return m.ops().Make(Op::kMin, {above, m.ops().Constant(bound)});
}

// x [..., size] with the weight NAME.weight and, if there is one, NAME.bias.
Value* MakeNorm(ModelBuilder& m, Value* x, absl::string_view name, int64_t size, const Norm& norm) {
  m.Scope(name);
  Value* weight =
      norm.weight ? m.Weight(absl::StrCat(name, ".weight"), {size}) : m.Filled("ones", size, 1.0f);
  if (norm.plus_one) {
    weight = m.AsF32(weight);
    weight = m.ops().Add(weight, m.ops().Constant(1));
  }
  if (norm.kind == Norm::kRms) return m.ops().RmsNorm(x, weight, norm.eps);
  Value* bias =
      norm.bias ? m.Weight(absl::StrCat(name, ".bias"), {size}) : m.Filled("zeros", size, 0.0f);
  return m.ops().LayerNorm(x, weight, bias, norm.eps);
}

// [heads, head_dim]
Value* WeightOfHeads(ModelBuilder& m, absl::string_view name, const Decoder& d, int64_t heads) {
  const int64_t size = d.attention.head_dim;
  if (d.qk_norm == QkNorm::kEachHead) return m.Weight(absl::StrCat(name, ".weight"), {heads, size});
  std::vector<Value*> rows;
  for (int64_t head = 0; head < heads; ++head) {
    Value* weight = m.Weight(absl::StrCat(name, ".norms.", head, ".weight"), {size});
    rows.push_back(m.ops().Reshape(weight, {Dim::Static(1), Dim::Static(size)}));
  }
  return m.ops().Concat(rows, 0);
}

// q or k, [T, heads * d]; over single heads the result is [T, heads, d].
Value* NormOfHeads(ModelBuilder& m, Value* x, absl::string_view name, const Decoder& d,
                   int64_t heads) {
  const int64_t size = d.attention.head_dim;
  if (d.qk_norm == QkNorm::kNone) return x;
  if (d.qk_norm == QkNorm::kAllHeads) return MakeNorm(m, x, name, heads * size, d.norm);
  m.Scope(name);
  x = m.ops().Reshape(x, {m.rows(), Dim::Static(heads), Dim::Static(size)});
  if (d.qk_norm == QkNorm::kHead) return MakeNorm(m, x, name, size, d.norm);
  Norm without = d.norm;
  without.weight = without.bias = false;
  x = MakeNorm(m, x, name, size, without);
  return m.ops().Mul(x, m.AsF32(WeightOfHeads(m, name, d, heads)));
}

// What is made once for the step.
struct Shared {
  std::vector<Rotary> rotaries;
  Value* query_scale = nullptr;  // [T, 1]; null: none
};

Shared MakeShared(ModelBuilder& m, const Decoder& d) {
  Shared shared;
  for (const Rope& rope : d.ropes) {
    const size_t index = shared.rotaries.size();
    const std::string name = index == 0 ? "rope" : absl::StrCat("rope.", index);
    shared.rotaries.push_back(m.RotaryTables(rope, name));
    if (rope.query_beta == 0) continue;
    ir::Builder& ops = m.ops();
    Value* position = ops.Cast(m.positions(), DType::kF32);
    position = ops.Reshape(position, {m.rows(), Dim::Static(1)});
    Value* one = ops.Constant(1);
    Value* whole = ops.Constant(static_cast<double>(rope.original_length));
    Value* turns = ops.Unary(Op::kFloor, ops.Div(position, whole));
    Value* grown = ops.Unary(Op::kLog, ops.Add(turns, one));
    shared.query_scale = ops.Add(ops.Mul(grown, ops.Constant(rope.query_beta)), one);
  }
  return shared;
}

struct Qkv {
  Value *q, *k, *v;
};

Qkv MakeQkv(ModelBuilder& m, Value* x, const std::string& name, const Decoder& d) {
  const int64_t q_size = d.attention.heads * d.attention.head_dim;
  const int64_t kv_size = d.attention.kv_heads * d.attention.head_dim;
  if (!d.fused_qkv) {
    Value* q = m.Linear(x, absl::StrCat(name, ".q_proj"), d.hidden, q_size, d.qkv_bias);
    Value* k = m.Linear(x, absl::StrCat(name, ".k_proj"), d.hidden, kv_size, d.qkv_bias);
    Value* v = m.Linear(x, absl::StrCat(name, ".v_proj"), d.hidden, kv_size, d.qkv_bias);
    return {q, k, v};
  }
  const int64_t all = q_size + 2 * kv_size;
  Value* qkv = m.Linear(x, absl::StrCat(name, ".qkv_proj"), d.hidden, all, d.qkv_bias);
  Value* q = m.ops().Slice(qkv, 1, 0, q_size);
  Value* k = m.ops().Slice(qkv, 1, q_size, q_size + kv_size);
  Value* v = m.ops().Slice(qkv, 1, q_size + kv_size, all);
  return {q, k, v};
}

Value* Attention(ModelBuilder& m, Value* x, const Decoder& d, const Shared& shared, int64_t layer) {
  const std::string name = absl::StrCat("layers.", layer, ".self_attn");
  auto [q, k, v] = MakeQkv(m, x, name, d);
  q = NormOfHeads(m, q, absl::StrCat(name, ".", d.q_norm), d, d.attention.heads);
  k = NormOfHeads(m, k, absl::StrCat(name, ".", d.k_norm), d, d.attention.kv_heads);
  m.Scope(name);
  q = Clipped(m, q, d.clip_qkv);
  k = Clipped(m, k, d.clip_qkv);
  v = Clipped(m, v, d.clip_qkv);
  // transformers scales what has been turned, which is the same: turning is linear.
  if (shared.query_scale != nullptr) q = m.ops().Mul(q, shared.query_scale);
  AttentionShape shape = d.attention;
  shape.window = d.kinds[layer].window;
  const int rope = d.kinds[layer].rope;
  const Rotary* rotary = rope < 0 ? nullptr : &shared.rotaries[rope];
  Value* mixed = m.Attention(q, k, v, shape, rotary, layer);  // [T, heads * head_dim]
  return m.Linear(mixed, absl::StrCat(name, ".", d.output_name), shape.heads * shape.head_dim,
                  d.hidden, d.output_bias);
}

Value* Mlp(ModelBuilder& m, Value* x, const Decoder& d, int64_t layer) {
  if (d.make_mlp) return d.make_mlp(x, layer);
  return GatedMlp(m, x, absl::StrCat("layers.", layer, ".mlp"), d.mlp);
}

Value* Block(ModelBuilder& m, Value* x, const Decoder& d, const Shared& shared, int64_t layer) {
  const std::string name = absl::StrCat("layers.", layer);
  const auto norm = [&](Value* value, absl::string_view which) {
    if (which.empty()) return value;
    return MakeNorm(m, value, absl::StrCat(name, ".", which), d.hidden, d.norm);
  };
  const auto add = [&](Value* to, Value* value) {
    m.Scope(name);
    return m.ops().Add(to, Scaled(m, value, d.residual_scale));
  };
  Value* h = norm(x, d.before_attention);
  Value* attended = norm(Attention(m, h, d, shared, layer), d.after_attention);
  x = add(x, attended);
  if (d.parallel) return add(x, Mlp(m, h, d, layer));
  return add(x, norm(Mlp(m, norm(x, d.before_mlp), d, layer), d.after_mlp));
}

}  // namespace

Decoder ReadDecoder(ModelBuilder& m, const DecoderDefaults& defaults) {
  ConfigReader& config = m.config();
  Decoder d;
  d.vocab = config.IntOr("vocab_size", defaults.vocab, 1, kMaxVocabulary);
  d.hidden = config.IntOr("hidden_size", defaults.hidden, 1, kMaxSize);
  d.layers = config.IntOr("num_hidden_layers", defaults.layers, 1, kMaxLayers);
  d.mlp.hidden = d.hidden;
  d.mlp.intermediate = config.IntOr("intermediate_size", defaults.intermediate, 1, kMaxSize);
  ReadHeads(config, defaults, d.hidden, d.attention);
  d.norm.eps =
      defaults.eps_key.empty() ? defaults.eps : m.ReadEpsilon(defaults.eps_key, defaults.eps);
  d.mlp.activation = m.ReadActivation(defaults.activation_key, defaults.activation);
  d.tied = config.BoolOr("tie_word_embeddings", defaults.tied);
  d.context = config.IntOr("max_position_embeddings", defaults.context, 1, kMaxContext);
  d.kinds.resize(d.layers);
  if (!defaults.rope.layer_type.empty() || !config.ok()) return d;  // the family reads its ropes
  d.ropes = {ReadRope(config, d.attention.head_dim, d.context, defaults.rope)};
  d.context = ContextOf(d.ropes[0], d.context);
  return d;
}

std::vector<bool> ReadSlidingLayers(ConfigReader& config, int64_t layers,
                                    absl::FunctionRef<bool(int64_t layer)> by_default) {
  const std::vector<std::string> types = config.Strings("layer_types");
  std::vector<bool> sliding;
  if (!config.Has("layer_types")) {
    for (int64_t layer = 0; layer < layers; ++layer) sliding.push_back(by_default(layer));
    return sliding;
  }
  for (const std::string& type : types) {
    sliding.push_back(type == "sliding_attention");
    if (type == "full_attention" || type == "sliding_attention") continue;
    config.Refuse("layer_types", "\"full_attention\" or \"sliding_attention\" for each layer");
  }
  if (static_cast<int64_t>(types.size()) != layers) {
    config.Refuse("layer_types", absl::StrCat("a type for each of ", layers, " layers"));
  }
  sliding.resize(layers);
  return sliding;
}

void SetWindows(ConfigReader& config, int64_t default_window, const std::vector<bool>& sliding,
                Decoder& d) {
  if (std::find(sliding.begin(), sliding.end(), true) == sliding.end()) {
    config.OptionalInt("sliding_window", 0, INT64_MAX);
    return;
  }
  const int64_t window = config.IntOr("sliding_window", default_window, 1, INT32_MAX);
  for (int64_t layer = 0; layer < d.layers; ++layer) {
    if (sliding[layer]) d.kinds[layer].window = window;
  }
}

void SetWindowOfAll(ConfigReader& config, int64_t default_window, Decoder& d) {
  int64_t window = config.Peek("sliding_window") == nullptr ? default_window : 0;
  window = config.OptionalInt("sliding_window", 1, INT32_MAX).value_or(window);
  for (LayerKind& kind : d.kinds) kind.window = window;
}

void RefuseWindowsThatAreOff(ConfigReader& config, bool windows, const std::vector<bool>& sliding) {
  if (!windows && std::find(sliding.begin(), sliding.end(), true) != sliding.end()) {
    config.Refuse("use_sliding_window", "true, as layer_types has windows");
  }
}

void SetUpperWindows(ConfigReader& config, Decoder& d) {
  const bool windows = config.BoolOr("use_sliding_window", false);
  const int64_t first = config.IntOr("max_window_layers", 28, 0, INT32_MAX);
  const bool some = config.Peek("sliding_window") == nullptr || config.Has("sliding_window");
  const auto sliding = ReadSlidingLayers(
      config, d.layers, [&](int64_t layer) { return windows && some && layer >= first; });
  RefuseWindowsThatAreOff(config, windows, sliding);
  SetWindows(config, 4096, sliding, d);
}

void SetRopesByLayer(ModelBuilder& m, const RopeOptions& global, const RopeOptions& local,
                     const std::vector<bool>& sliding, Decoder& d) {
  if (!m.ok()) return;
  for (const RopeOptions* options : {&global, &local}) {
    d.ropes.push_back(ReadRope(m.config(), d.attention.head_dim, d.context, *options));
  }
  for (int64_t layer = 0; layer < d.layers; ++layer) d.kinds[layer].rope = sliding[layer] ? 1 : 0;
}

double PositiveOr(ConfigReader& config, absl::string_view key, double fallback) {
  const double value = config.NumberOr(key, fallback);
  if (value > 0) return value;
  config.Refuse(key, "a number above 0");
  return fallback;
}

double SoftcapOr(ConfigReader& config, absl::string_view key, double fallback) {
  if (config.Peek(key) == nullptr) return fallback;
  return config.OptionalNumber(key).has_value() ? PositiveOr(config, key, fallback) : 0;
}

Value* GatedMlp(ModelBuilder& m, Value* x, absl::string_view name, const MlpShape& shape) {
  const int64_t in = shape.hidden, inner = shape.intermediate;
  Value *gate, *up;
  if (shape.fused) {
    Value* both = m.Linear(x, absl::StrCat(name, ".gate_up_proj"), in, 2 * inner, shape.bias);
    gate = m.ops().Slice(both, 1, 0, inner);
    up = m.ops().Slice(both, 1, inner, 2 * inner);
  } else {
    gate = m.Linear(x, absl::StrCat(name, ".gate_proj"), in, inner, shape.bias);
    up = m.Linear(x, absl::StrCat(name, ".up_proj"), in, inner, shape.bias);
  }
  m.Scope(name);
  Value* gated = m.ops().Mul(m.Activation(gate, shape.activation), up);  // [T, intermediate]
  return m.Linear(gated, absl::StrCat(name, ".down_proj"), inner, in, shape.bias);
}

Value* PlainMlp(ModelBuilder& m, Value* x, absl::string_view name, absl::string_view first,
                absl::string_view second, const MlpShape& shape) {
  Value* h =
      m.Linear(x, absl::StrCat(name, ".", first), shape.hidden, shape.intermediate, shape.bias);
  m.Scope(name);
  h = m.Activation(h, shape.activation);  // [T, intermediate]
  return m.Linear(h, absl::StrCat(name, ".", second), shape.intermediate, shape.hidden, shape.bias);
}

absl::string_view KeyOf(const ConfigReader& config, absl::string_view own,
                        absl::string_view general) {
  return config.Peek(own) == nullptr && config.Peek(general) != nullptr ? general : own;
}

absl::Status BuildDecoder(ModelBuilder& m, const Decoder& d) {
  if (!m.ok()) return m.status();
  m.Begin(d.prefix, d.vocab, "max_position_embeddings", d.context,
          ModelBuilder::Positions::kRotary);
  const auto tables = m.EmbeddingAndHead("embed_tokens.weight", absl::StrCat(d.head, ".weight"),
                                         d.vocab, d.hidden, d.tied);
  m.Scope("embed_tokens");
  Value* x = m.ops().Embedding(m.tokens(), tables.embedding);  // [T, hidden]
  x = Scaled(m, x, d.embedding_scale);
  if (d.pictures) x = m.WithPictures(x, d.hidden);
  x = m.NameHidden(x, 0);
  const Shared shared = MakeShared(m, d);
  for (int64_t layer = 0; layer < d.layers && m.ok(); ++layer) {
    x = m.NameHidden(Block(m, x, d, shared, layer), layer + 1);
  }
  x = MakeNorm(m, x, d.final_norm, d.hidden, d.norm);
  Value* logits = m.Head(x, tables.head, d.head, d.vocab, d.head_bias);  // [T, vocab]
  m.Finish(Softcapped(m, Scaled(m, logits, d.logits_scale), d.logits_softcap));
  return m.status();
}

}  // namespace ninfer::frontend
