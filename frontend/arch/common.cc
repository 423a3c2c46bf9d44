// See the header. Attention is spelled out as transformers' eager attention is, so that the passes
// that replace it have the papers' form before them.
// Tested by tests/frontend_test.cc.
#include "frontend/arch/common.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "frontend/json.h"

namespace ninfer::frontend {
namespace {

using ir::Dim;
using ir::Op;
using ir::Type;
using ir::Value;

// transformers' ACT2FN: all the tanh forms of GELU are the same function.
constexpr struct {
  absl::string_view name;
  Op op;
} kActivations[] = {
    {"gelu", Op::kGelu},
    {"gelu_python", Op::kGelu},
    {"gelu_new", Op::kGeluTanh},
    {"gelu_pytorch_tanh", Op::kGeluTanh},
    {"gelu_fast", Op::kGeluTanh},
    {"gelu_python_tanh", Op::kGeluTanh},
    {"gelu_accurate", Op::kGeluTanh},
    {"quick_gelu", Op::kSigmoid},
    {"relu", Op::kRelu},
    {"relu2", Op::kRelu},
    {"sigmoid", Op::kSigmoid},
    {"silu", Op::kSilu},
    {"swish", Op::kSilu},
    {"tanh", Op::kTanh},
};

Type TypeOf(DType dtype, const std::vector<int64_t>& shape) {
  Type type;
  type.dtype = dtype;
  for (int64_t size : shape) type.shape.push_back(Dim::Static(size));
  return type;
}

Type TypeOf(DType dtype, Dim dim) {
  Type type;
  type.dtype = dtype;
  type.shape.push_back(dim);
  return type;
}

}  // namespace

std::vector<float> AlibiSlopes(int64_t heads) {
  int64_t whole = 1;
  while (2 * whole <= heads) whole *= 2;
  std::vector<float> slopes;
  for (int64_t h = 0; h < heads; ++h) {
    // Heads beyond the power of two take every other slope of twice as many.
    const int64_t count = h < whole ? whole : 2 * whole;
    const int64_t step = h < whole ? h + 1 : 2 * (h - whole) + 1;
    const float base = static_cast<float>(std::exp2(-8.0 / static_cast<double>(count)));
    slopes.push_back(std::pow(base, static_cast<float>(step)));
  }
  return slopes;
}

ModelBuilder::ModelBuilder(ConfigReader* config, TensorSource* tensors, int64_t context_override,
                           ir::Module* module, ModelInfo* info, absl::string_view function)
    : config_(config),
      tensors_(tensors),
      context_override_(context_override),
      module_(module),
      info_(info),
      step_(module->AddFunction(std::string(function))),
      ops_(module, step_) {}

void ModelBuilder::Begin(absl::string_view prefix, int64_t vocab_size,
                         absl::string_view context_key, int64_t context_length,
                         Positions positions) {
  if (tensors_->HasPrefix(prefix)) prefix_ = std::string(prefix);
  if (positions == Positions::kLearned && context_override_ > context_length) {
    config_->Refuse(context_key,
                    absl::StrCat("at least the context length asked for, ", context_override_));
  }
  info_->trained_context = context_length;
  if (context_override_ != 0) context_length = context_override_;
  info_->vocab_size = vocab_size;
  info_->context_length = context_length;
  const int tokens = module_->AddSymbol("T", 1, context_length);
  const int sequences = module_->AddSymbol("S", 1, kMaxSequences);
  rows_ = Dim::Symbolic(tokens);
  tokens_ = step_->AddParameter("tokens", TypeOf(DType::kI32, rows_));
  positions_ = step_->AddParameter("positions", TypeOf(DType::kI32, rows_));
  seq_bounds_ = step_->AddParameter("seq_bounds", TypeOf(DType::kI32, Dim::Symbolic(sequences, 1)));
}

void ModelBuilder::SetDefaultIds(absl::optional<int32_t> bos, absl::optional<int32_t> eos) {
  info_->bos_id = bos;
  info_->eos_ids.clear();
  if (eos.has_value()) info_->eos_ids.push_back(*eos);
}

void ModelBuilder::Finish(Value* logits) {
  if (!ok()) return;
  logits->set_name("logits");
  step_->results().push_back(logits);
}

void ModelBuilder::Scope(absl::string_view name) {
  ops_.set_provenance(absl::StrCat(prefix_, name));
}

Value* ModelBuilder::ClaimedWeight(const std::string& name, std::vector<int64_t> shape) {
  DType dtype = DType::kF32;
  if (ok()) {  // after an error the chain goes on with a weight of the expected type
    absl::StatusOr<DType> claimed = tensors_->Claim(name, shape);
    if (claimed.ok()) dtype = *claimed;
    status_.Update(claimed.status());
  }
  if (Value* known = module_->FindWeight(name); known != nullptr) return known;
  // Of a file that lies there may be more than 2^63.
  int64_t elements = 1;
  for (int64_t size : shape) {
    if (__builtin_mul_overflow(elements, size, &elements)) elements = INT64_MAX;
  }
  if (__builtin_add_overflow(info_->parameters, elements, &info_->parameters)) {
    info_->parameters = INT64_MAX;
  }
  return module_->AddWeight(name, TypeOf(dtype, shape));
}

Value* ModelBuilder::Weight(absl::string_view name, std::vector<int64_t> shape) {
  return ClaimedWeight(absl::StrCat(prefix_, name), std::move(shape));
}

Value* ModelBuilder::Literal(absl::string_view name, std::vector<float> elements) {
  Value* known = module_->FindWeight(name);
  return known != nullptr ? known : module_->AddLiteral(std::string(name), std::move(elements));
}

Value* ModelBuilder::Filled(absl::string_view name, int64_t size, float value) {
  const std::string full = absl::StrCat(name, ".", size);
  Value* known = module_->FindWeight(full);
  return known != nullptr ? known : module_->AddLiteral(full, std::vector<float>(size, value));
}

Value* ModelBuilder::AsF32(Value* weight) {
  return weight->type().dtype == DType::kF32 ? weight : ops_.Cast(weight, DType::kF32);
}

ModelBuilder::Tables ModelBuilder::EmbeddingAndHead(absl::string_view embedding,
                                                    absl::string_view head, int64_t vocab_size,
                                                    int64_t hidden, bool tied) {
  const std::string embedding_name = absl::StrCat(prefix_, embedding);
  const std::string head_name(head);
  const std::vector<int64_t> shape = {vocab_size, hidden};
  if (tied && !tensors_->Has(embedding_name) && tensors_->Has(head_name)) {
    Value* both = ClaimedWeight(head_name, shape);
    return {both, both};
  }
  Value* table = ClaimedWeight(embedding_name, shape);
  if (tied && !tensors_->Has(head_name)) return {table, table};
  if (tied && ok()) {
    status_.Update(tensors_->Claim(head_name, shape).status());
    if (ok() && tensors_->Same(embedding_name, head_name)) return {table, table};
  }
  return {table, ClaimedWeight(head_name, shape)};
}

Value* ModelBuilder::Head(Value* x, Value* table, absl::string_view name, int64_t vocab_size,
                          bool bias) {
  ops_.set_provenance(std::string(name));
  Value* logits = ops_.Linear(x, table);
  if (!bias) return logits;
  return ops_.Add(logits, AsF32(ClaimedWeight(absl::StrCat(name, ".bias"), {vocab_size})));
}

Value* ModelBuilder::Linear(Value* x, absl::string_view name, int64_t in, int64_t out, bool bias) {
  Scope(name);
  Value* y = ops_.Linear(x, Weight(absl::StrCat(name, ".weight"), {out, in}));
  if (!bias) return y;
  return AddBias(y, name, out);
}

Value* ModelBuilder::AddBias(Value* y, absl::string_view name, int64_t size) {
  return ops_.Add(y, AsF32(Weight(absl::StrCat(name, ".bias"), {size})));
}

Value* ModelBuilder::Conv1D(Value* x, absl::string_view name, int64_t in, int64_t out) {
  Scope(name);
  Value* weight = ops_.Transpose(Weight(absl::StrCat(name, ".weight"), {in, out}), {1, 0});
  return AddBias(ops_.Linear(x, weight), name, out);
}

Value* ModelBuilder::RmsNorm(Value* x, absl::string_view name, int64_t size, double eps) {
  Scope(name);
  return ops_.RmsNorm(x, Weight(absl::StrCat(name, ".weight"), {size}), eps);
}

Value* ModelBuilder::LayerNorm(Value* x, absl::string_view name, int64_t size, double eps) {
  Scope(name);
  Value* weight = Weight(absl::StrCat(name, ".weight"), {size});
  return ops_.LayerNorm(x, weight, Weight(absl::StrCat(name, ".bias"), {size}), eps);
}

std::string ModelBuilder::ReadActivation(absl::string_view key, absl::string_view fallback) {
  const std::string name = config_->StringOr(key, fallback);
  if (!config_->ok()) return std::string(fallback);
  for (const auto& row : kActivations) {
    if (row.name == name) return name;
  }
  const auto name_of_row = [](std::string* text, const auto& row) {
    absl::StrAppend(text, row.name);
  };
  config_->Refuse(key, absl::StrCat("one of ", absl::StrJoin(kActivations, ", ", name_of_row)));
  return std::string(fallback);
}

double ModelBuilder::ReadEpsilon(absl::string_view key, double fallback) {
  const double eps = config_->NumberOr(key, fallback);
  if (eps >= 0 && eps <= 1) return eps;
  config_->Refuse(key, "a number in [0, 1]");
  return fallback;
}

Value* ModelBuilder::Activation(Value* x, absl::string_view name) {
  for (const auto& row : kActivations) {
    if (row.name != name) continue;
    if (name == "quick_gelu")
      return ops_.Mul(x, ops_.Unary(row.op, ops_.Mul(x, ops_.Constant(1.702))));
    Value* y = ops_.Unary(row.op, x);
    return name == "relu2" ? ops_.Mul(y, y) : y;  // squared (So et al., 2021)
  }
  NINFER_CHECK(false) << "activation " << name;
  return x;
}

Value* ModelBuilder::RotaryFrequencies(const Rope& rope, absl::string_view name) {
  Value* frequencies = Literal(absl::StrCat(name, ".inv_freq"), rope.inv_freq);
  if (!rope.depends_on_length()) return frequencies;
  info_->rope_by_length = true;
  Value* lengths = step_->FindParameter("rope_len");
  if (lengths == nullptr) lengths = step_->AddParameter("rope_len", TypeOf(DType::kI32, rows_));
  Value* length = ops_.Cast(lengths, DType::kF32);
  length = ops_.Reshape(length, {rows_, Dim::Static(1)});  // [T, 1]
  Value* original = ops_.Constant(static_cast<double>(rope.original_length));
  if (!rope.long_inv_freq.empty()) {
    Value* longer = ops_.Make(Op::kGreater, {length, original});
    Value* shorter = ops_.Sub(ops_.Constant(1), longer);
    Value* long_ones = Literal(absl::StrCat(name, ".long_inv_freq"), rope.long_inv_freq);
    long_ones = ops_.Mul(longer, long_ones);
    return ops_.Add(long_ones, ops_.Mul(shorter, frequencies));  // one of them is 0
  }
  // theta grows by g^(d / (d - 2)), so frequency 2i of d shrinks by g^(2i / (d - 2)), where
  // g = growth * length / original - (growth - 1).
  Value* grown = ops_.Make(Op::kMax, {length, original});
  grown = ops_.Mul(grown, ops_.Constant(rope.growth));
  grown = ops_.Div(grown, original);
  grown = ops_.Sub(grown, ops_.Constant(rope.growth - 1));
  std::vector<float> powers;
  const double columns = 2.0 * static_cast<double>(rope.inv_freq.size());
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    powers.push_back(static_cast<float>(-2.0 * static_cast<double>(i) / (columns - 2)));
  }
  Value* shrinking = Literal(absl::StrCat(name, ".growth"), std::move(powers));
  shrinking = ops_.Unary(Op::kExp, ops_.Mul(ops_.Unary(Op::kLog, grown), shrinking));  // [T, n]
  return ops_.Mul(shrinking, frequencies);
}

Rotary ModelBuilder::RotaryTables(const Rope& rope, absl::string_view name) {
  Scope("rotary_emb");
  Value* frequencies = RotaryFrequencies(rope, name);
  Value* positions = ops_.Cast(positions_, DType::kF32);
  Value* column = ops_.Reshape(positions, {rows_, Dim::Static(1)});  // [T, 1]
  Value* angles = ops_.Mul(column, frequencies);                     // [T, n]
  Rotary rotary{ops_.Unary(Op::kCos, angles), ops_.Unary(Op::kSin, angles), rope.style};
  if (rope.scale == 1.0) return rotary;
  rotary.cos = ops_.Mul(rotary.cos, ops_.Constant(rope.scale));
  rotary.sin = ops_.Mul(rotary.sin, ops_.Constant(rope.scale));
  return rotary;
}

Value* ModelBuilder::SplitHeads(Value* x, int64_t heads, int64_t head_dim, const Rotary* rotary) {
  Value* y = x;
  if (x->type().rank() != 3) {
    y = ops_.Reshape(x, {rows_, Dim::Static(heads), Dim::Static(head_dim)});
  }
  if (rotary != nullptr) y = ops_.Rope(y, rotary->cos, rotary->sin, rotary->style);
  return ops_.Transpose(y, {1, 0, 2});  // [heads, T, head_dim]
}

Value* ModelBuilder::AddAlibi(Value* scores, const Alibi& alibi) {
  Value* slopes = Literal("alibi.slopes", alibi.slopes);
  std::vector<ir::Attr> attrs = {{"scale", alibi.scale}};
  if (alibi.round_to_bf16) attrs.push_back({"rounding", std::string("bf16")});
  return ops_.Make(Op::kAlibi, {scores, slopes, seq_bounds_}, std::move(attrs));
}

Value* ModelBuilder::Attention(Value* q, Value* k, Value* v, const AttentionShape& shape,
                               const Rotary* rotary, int64_t layer) {
  q = SplitHeads(q, shape.heads, shape.head_dim, rotary);
  k = SplitHeads(k, shape.kv_heads, shape.head_dim, rotary);
  v = SplitHeads(v, shape.kv_heads, shape.head_dim, nullptr);
  if (shape.heads != shape.kv_heads) {
    k = ops_.Repeat(k, 0, shape.heads / shape.kv_heads);
    v = ops_.Repeat(v, 0, shape.heads / shape.kv_heads);
  }
  Value* scores = ops_.MatMul(q, k, /*transpose_b=*/true);  // [heads, T, T]
  if (shape.scale != 1.0) scores = ops_.Mul(scores, ops_.Constant(shape.scale));
  if (shape.softcap > 0) {
    Value* cap = ops_.Constant(shape.softcap);
    scores = ops_.Mul(ops_.Unary(Op::kTanh, ops_.Div(scores, cap)), cap);
  }
  if (shape.alibi != nullptr) scores = AddAlibi(scores, *shape.alibi);
  std::vector<ir::Attr> attrs;
  if (shape.window > 0) attrs.push_back({"window", shape.window});
  scores =
      ops_.Make(Op::kCausalMask, {scores, positions_, seq_bounds_, seq_bounds_}, std::move(attrs));
  Value* probabilities = ops_.Softmax(scores);
  probabilities->set_name(absl::StrCat("attention.", layer));
  Value* mixed = ops_.MatMul(probabilities, v, /*transpose_b=*/false);  // [heads, T, head_dim]
  mixed = ops_.Transpose(mixed, {1, 0, 2});
  return ops_.Reshape(mixed, {rows_, Dim::Static(shape.heads * shape.head_dim)});
}

Value* ModelBuilder::WithPictures(Value* x, int64_t hidden) {
  Scope("pictures");
  Type rows{DType::kF32, {rows_, Dim::Static(hidden)}};
  Value* pictures = step_->AddParameter("pictures", std::move(rows));
  Value* is_picture = step_->AddParameter("is_picture", TypeOf(DType::kI32, rows_));
  Value* taken = ops_.Cast(is_picture, DType::kF32);
  taken = ops_.Reshape(taken, {rows_, Dim::Static(1)});  // [T, 1], 1 or 0: the sum is exact
  Value* left = ops_.Sub(ops_.Constant(1), taken);
  return ops_.Add(ops_.Mul(x, left), ops_.Mul(pictures, taken));
}

std::unique_ptr<ModelBuilder> ModelBuilder::AddVision(ConfigReader* config) {
  vision_.emplace(absl::StrCat(module_->name(), ".vision"));
  return std::make_unique<ModelBuilder>(config, tensors_, 0, &*vision_, info_, "vision");
}

ModelBuilder::VisionArguments ModelBuilder::BeginVision(const VisionInfo& vision) {
  const int64_t patches = vision.grid * vision.grid;
  const int64_t joined = vision.scale_factor * vision.scale_factor;
  rows_ = Dim::Symbolic(module_->AddSymbol("T", 1, patches));
  const int sequences = module_->AddSymbol("S", 1, 1);
  const Dim results = Dim::Symbolic(module_->AddSymbol("R", 1, patches / joined));
  const int64_t pixels = vision.channels * vision.patch_size * vision.patch_size;
  VisionArguments arguments;
  arguments.pixels = step_->AddParameter("pixels", Type{DType::kF32, {rows_, Dim::Static(pixels)}});
  arguments.patch_ids = step_->AddParameter("patch_ids", TypeOf(DType::kI32, rows_));
  positions_ = step_->AddParameter("visible", TypeOf(DType::kI32, rows_));
  seq_bounds_ = step_->AddParameter("seq_bounds", TypeOf(DType::kI32, Dim::Symbolic(sequences, 1)));
  arguments.shuffle =
      step_->AddParameter("shuffle", Type{DType::kI32, {results, Dim::Static(joined)}});
  return arguments;
}

void ModelBuilder::FinishVision(Value* rows) {
  if (!ok()) return;
  rows->set_name("rows");
  step_->results().push_back(rows);
}

Value* ModelBuilder::NameHidden(Value* x, int64_t layer) {
  x->set_name(absl::StrCat("hidden.", layer));
  return x;
}

absl::Status ModelBuilder::status() const {
  if (!config_->ok()) return config_->status();
  if (!status_.ok()) return status_;
  return ops_.status();
}

}  // namespace ninfer::frontend
