#include "tests/support/random_graph.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "ir/builder.h"
#include "ir/verifier.h"
#include "tests/support/random.h"

namespace ninfer {
namespace {

using ir::Dim;
using ir::Op;
using ir::Type;
using ir::Value;

constexpr int64_t kWidths[] = {1,  2,  3,  5,  7,  8,  12, 16, 17, 24,
                               31, 32, 33, 48, 63, 64, 65, 80, 96};

// Calls that draw numbers or make nodes stand in statements of their own: the order in which
// arguments are evaluated is the compiler's choice.
class Generator {
 public:
  Generator(uint64_t seed, const RandomGraphOptions& options, ir::Module* module)
      : random_(seed),
        options_(options),
        module_(module),
        tokens_dim_(Dim::Symbolic(module->AddSymbol("T", 1, options.max_tokens))),
        sequences_(module->AddSymbol("S", 1, options.max_sequences)),
        function_(module->AddFunction("step")),
        builder_(module, function_) {}

  // Returns the size of the vocabulary.
  int64_t Run() {
    Value* tokens = function_->AddParameter("tokens", {DType::kI32, {tokens_dim_}});
    positions_ = function_->AddParameter("positions", {DType::kI32, {tokens_dim_}});
    bounds_ = function_->AddParameter("seq_bounds", {DType::kI32, {Dim::Symbolic(sequences_, 1)}});
    const int64_t vocab = random_.Between(2, 70);
    Value* table = Weight({vocab, Width()});
    Push(builder_.Embedding(tokens, table));
    for (int i = 0; i < options_.steps; ++i) {
      builder_.set_provenance(random_.OneIn(3) ? "" : absl::StrCat("model.layers.", i));
      Step();
    }
    // A dead node or two stay behind; the last value made is the one that counts.
    builder_.set_provenance("lm_head");
    Value* last = pool_.back();
    const bool tied = Columns(last) == table->type().shape[1].offset;
    Value* head = tied ? table : Weight({vocab, Columns(last)});
    function_->results().push_back(builder_.Linear(last, head));
    NINFER_CHECK(builder_.status().ok()) << builder_.status().ToString();
    return vocab;
  }

 private:
  using StepFn = void (Generator::*)();

  void Step() {
    static constexpr StepFn kSteps[] = {
        &Generator::Unary,  &Generator::Residual,    &Generator::Gate,   &Generator::Scale,
        &Generator::Linear, &Generator::Linear,      &Generator::Norm,   &Generator::Softmax,
        &Generator::Divide, &Generator::TakeColumns, &Generator::Join,   &Generator::Repeat,
        &Generator::Heads,  &Generator::Double,      &Generator::Merged, &Generator::Attention,
        &Generator::SwiGlu,
    };
    (this->*random_.Pick<StepFn>(kSteps))();
    NINFER_CHECK(builder_.status().ok()) << builder_.status().ToString();
  }

  // --- pieces ---

  int64_t Width() { return random_.Pick<int64_t>(kWidths); }
  static int64_t Columns(const Value* x) { return x->type().shape.back().offset; }
  Value* Any() { return pool_[random_.Below(static_cast<int64_t>(pool_.size()))]; }
  // The newest value mostly, so that graphs grow deep as well as wide.
  Value* Recent() { return random_.OneIn(3) ? Any() : pool_.back(); }
  Value* Push(Value* x) {
    if (random_.OneIn(5)) x->set_name(absl::StrCat("v.", names_++));
    pool_.push_back(x);
    return x;
  }
  // Another value of as many columns, or null.
  Value* Like(const Value* x) {
    for (int i = 0; i < 8; ++i) {
      Value* other = Any();
      if (other != x && Columns(other) == Columns(x)) return other;
    }
    return nullptr;
  }

  Value* Weight(const std::vector<int64_t>& shape) {
    constexpr DType kHalves[] = {DType::kBF16, DType::kF16};
    const bool half = options_.half_weights && random_.OneIn(2);
    Type type{half ? random_.Pick<DType>(kHalves) : DType::kF32};
    for (const int64_t size : shape) type.shape.push_back(Dim::Static(size));
    return module_->AddWeight(
        absl::StrCat("model.w", module_->weights().size(), shape.size() == 1 ? ".bias" : ".weight"),
        type);
  }
  Value* AsF32(Value* w) {
    return w->type().dtype == DType::kF32 ? w : builder_.Cast(w, DType::kF32);
  }

  // [n, k], as it is stored or as an expression over stored weights.
  Value* Matrix(int64_t n, int64_t k) {
    if (random_.OneIn(5)) return builder_.Transpose(Weight({k, n}), {1, 0});
    if (random_.OneIn(6)) return builder_.Slice(Weight({n + 2, k}), 0, 1, n + 1);
    if (random_.OneIn(6) && n > 1) {
      Value* first = Weight({n / 2, k});
      Value* second =
          module_->AddWeight(absl::StrCat("model.w", module_->weights().size(), ".part"),
                             {first->type().dtype, {Dim::Static(n - n / 2), Dim::Static(k)}});
      return builder_.Concat({first, second}, 0);
    }
    return Weight({n, k});
  }

  Value* Project(Value* x, int64_t width) {
    Value* y = builder_.Linear(x, Matrix(width, Columns(x)));
    if (random_.OneIn(2)) y = builder_.Add(y, AsF32(Weight({width})));
    return y;
  }

  Value* Normalised(Value* x) {
    const int64_t width = Columns(x);
    Value* w = Weight({width});
    if (random_.OneIn(2)) return builder_.RmsNorm(x, w, 1e-5);
    return builder_.LayerNorm(x, w, Weight({width}), 1e-5);
  }

  Value* Sigmoid(Value* x) { return builder_.Unary(Op::kSigmoid, x); }

  // --- steps ---

  void Unary() {
    constexpr Op kBounded[] = {Op::kNeg,      Op::kTanh, Op::kSigmoid, Op::kSilu, Op::kGelu,
                               Op::kGeluTanh, Op::kRelu, Op::kCos,     Op::kSin};
    constexpr Op kOfPositive[] = {Op::kExp, Op::kSqrt, Op::kRsqrt};
    Value* x = Recent();
    if (random_.OneIn(4)) {
      Value* quarter = builder_.Constant(0.25);
      Value* positive = builder_.Add(Sigmoid(x), quarter);
      Push(builder_.Unary(random_.Pick<Op>(kOfPositive), positive));
    } else {
      Push(builder_.Unary(random_.Pick<Op>(kBounded), x));
    }
  }

  void Residual() {
    Value* x = Recent();
    Value* y = Like(x);
    Push(y == nullptr || random_.OneIn(6) ? builder_.Add(x, x) : builder_.Sub(x, y));
  }

  void Gate() {
    Value* x = Recent();
    Value* y = Like(x);
    Push(builder_.Mul(x, Sigmoid(y == nullptr ? x : y)));
  }

  // By a scalar, a vector or a column.
  void Scale() {
    Value* x = Recent();
    Value* factor = nullptr;
    if (random_.OneIn(3)) {
      factor = builder_.Constant(random_.Normal());
    } else if (random_.OneIn(2)) {
      factor = AsF32(Weight({Columns(x)}));
    } else {
      const int64_t column = random_.Below(Columns(x));
      factor = builder_.Unary(Op::kTanh, builder_.Slice(x, 1, column, column + 1));
    }
    Push(random_.OneIn(2) ? builder_.Mul(x, factor) : builder_.Mul(factor, x));
  }

  void Linear() {
    Value* x = Recent();
    Push(Project(x, Width()));
  }
  void Norm() { Push(Normalised(Recent())); }
  void Softmax() { Push(builder_.Softmax(Recent())); }

  void Divide() {
    Value* x = Recent();
    Value* y = Like(x);
    Value* half = builder_.Constant(0.5);
    Push(builder_.Div(x, builder_.Add(Sigmoid(y == nullptr ? x : y), half)));
  }

  void TakeColumns() {
    Value* x = Recent();
    const int64_t begin = random_.Below(Columns(x));
    Push(builder_.Slice(x, 1, begin, random_.Between(begin + 1, Columns(x))));
  }

  void Join() {
    Value* x = Recent();
    Value* y = Any();
    if (options_.moves && Columns(x) + Columns(y) <= 128) Push(builder_.Concat({x, y}, 1));
  }

  void Repeat() {
    Value* x = Recent();
    if (options_.moves && Columns(x) <= 32) Push(builder_.Repeat(x, 1, random_.Between(1, 3)));
  }

  // To heads, rotated, there and back transposed, and to columns again.
  void Heads() {
    const int64_t heads = random_.Between(1, 4);
    const int64_t head_dim = 2 * random_.Between(1, 9);
    Value* x = Split(Project(Recent(), heads * head_dim), heads, head_dim);
    if (random_.OneIn(2)) x = Rotate(x);
    if (options_.moves && random_.OneIn(3))
      x = builder_.Transpose(builder_.Transpose(x, {1, 0, 2}), {1, 0, 2});
    Push(builder_.Reshape(x, {tokens_dim_, Dim::Static(heads * head_dim)}));
  }

  // The same node twice, for common subexpressions.
  void Double() {
    Value* x = Recent();
    Value* y = builder_.Unary(Op::kTanh, x);
    Push(builder_.Add(y, builder_.Unary(Op::kTanh, x)));
  }

  // Several linears of one input, for merging.
  void Merged() {
    Value* x = Recent();
    const int64_t count = random_.Between(2, 3);
    for (int64_t i = 0; i < count; ++i) Push(builder_.Linear(x, Weight({Width(), Columns(x)})));
  }

  void SwiGlu() {
    Value* x = Normalised(Recent());
    const int64_t width = Width();
    Value* gate = builder_.Unary(Op::kSilu, builder_.Linear(x, Weight({width, Columns(x)})));
    Value* up = builder_.Linear(x, Weight({width, Columns(x)}));
    Push(Project(builder_.Mul(gate, builder_.Unary(Op::kTanh, up)), Columns(x)));
  }

  Value* Split(Value* x, int64_t heads, int64_t head_dim) {
    return builder_.Reshape(x, {tokens_dim_, Dim::Static(heads), Dim::Static(head_dim)});
  }

  // Rotary embedding of [T, heads, head_dim] by angles made once for each number of pairs.
  Value* Rotate(Value* x) {
    const int64_t pairs = random_.Between(1, Columns(x) / 2);
    std::vector<float> inv_freq(pairs);
    for (int64_t i = 0; i < pairs; ++i) {
      inv_freq[i] = std::pow(10000.0f, -static_cast<float>(i) / static_cast<float>(pairs));
    }
    Value* literal =
        module_->AddLiteral(absl::StrCat("rope.", module_->weights().size()), inv_freq);
    Value* position =
        builder_.Reshape(builder_.Cast(positions_, DType::kF32), {tokens_dim_, Dim::Static(1)});
    Value* angles = builder_.Mul(position, literal);  // [T, pairs]
    Value* cos = builder_.Unary(Op::kCos, angles);
    Value* sin = builder_.Unary(Op::kSin, angles);
    return builder_.Rope(x, cos, sin, random_.OneIn(2) ? "half" : "pairs");
  }

  // As the importer writes it: softmax(mask(q k^T scale)) v with shared KV heads.
  void Attention() {
    if (!options_.attention) return;
    const int64_t kv_heads = random_.Between(1, 3);
    const int64_t times = random_.Between(1, 3);
    const int64_t heads = kv_heads * times;
    const int64_t head_dim = 2 * random_.Between(1, 9);
    Value* x = Normalised(Recent());
    Value* q = Split(Project(x, heads * head_dim), heads, head_dim);
    Value* k = Split(Project(x, kv_heads * head_dim), kv_heads, head_dim);
    Value* v = Split(Project(x, kv_heads * head_dim), kv_heads, head_dim);
    if (random_.OneIn(2)) {
      q = Rotate(q);
      k = Rotate(k);
    }
    const std::vector<int64_t> swap = {1, 0, 2};
    q = builder_.Transpose(q, swap);  // [heads, T, head_dim]
    k = builder_.Transpose(k, swap);
    v = builder_.Transpose(v, swap);
    if (times > 1) {
      k = builder_.Repeat(k, 0, times);
      v = builder_.Repeat(v, 0, times);
    }
    Value* scores = builder_.MatMul(q, k, /*transpose_b=*/true);  // [heads, T, T]
    scores = builder_.Mul(scores, builder_.Constant(1 / std::sqrt(static_cast<double>(head_dim))));
    scores = builder_.Make(Op::kCausalMask, {scores, positions_, bounds_, bounds_});
    Value* y = builder_.MatMul(builder_.Softmax(scores), v, /*transpose_b=*/false);
    y = builder_.Reshape(builder_.Transpose(y, swap), {tokens_dim_, Dim::Static(heads * head_dim)});
    Push(builder_.Add(Project(y, Columns(x)), x));
  }

  Random random_;
  RandomGraphOptions options_;
  ir::Module* module_;
  Dim tokens_dim_;
  int sequences_;
  ir::Function* function_;
  ir::Builder builder_;
  Value* positions_ = nullptr;
  Value* bounds_ = nullptr;
  std::vector<Value*> pool_;  // each [T, columns]
  int names_ = 0;
};

}  // namespace

RandomGraph MakeRandomGraph(uint64_t seed, const RandomGraphOptions& options) {
  RandomGraph graph{ir::Module(absl::StrCat("random-", seed)), std::make_shared<MemoryWeights>(),
                    0};
  graph.vocab = Generator(seed, options, &graph.module).Run();
  // Near 1 / sqrt(columns), so that a chain of linears neither grows nor fades.
  graph.weights->AddRandom(graph.module, seed, 0.15f);
  const absl::Status status = ir::Verify(graph.module);
  NINFER_CHECK(status.ok()) << status.ToString();
  return graph;
}

}  // namespace ninfer
