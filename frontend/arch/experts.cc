// See the header.
// Tested by tests/eager_models_test.cc.
#include "frontend/arch/experts.h"

#include <vector>

#include "absl/strings/str_cat.h"

namespace ninfer::frontend {
namespace {

using ir::Dim;
using ir::Op;
using ir::Value;

constexpr int64_t kMaxExperts = 512;

// Matrices [n, k] of all experts, one below the other, as [E, rows, k].
Value* Stack(ModelBuilder& m, const std::vector<Value*>& matrices, int64_t experts, int64_t rows,
             int64_t columns) {
  Value* all = m.ops().Concat(matrices, 0);
  return m.ops().Reshape(all, {Dim::Static(experts), Dim::Static(rows), Dim::Static(columns)});
}

}  // namespace

void ReadExperts(ConfigReader& config, absl::string_view experts_key, int64_t default_experts,
                 int64_t default_chosen, ExpertsShape& shape) {
  shape.experts = config.IntOr(experts_key, default_experts, 1, kMaxExperts);
  shape.chosen = config.IntOr("num_experts_per_tok", default_chosen, 1, shape.experts);
}

ExpertsWeights StackedWeights(ModelBuilder& m, absl::string_view gate_up, absl::string_view down,
                              const ExpertsShape& shape) {
  return {m.Weight(gate_up, {shape.experts, 2 * shape.intermediate, shape.hidden}),
          m.Weight(down, {shape.experts, shape.hidden, shape.intermediate})};
}

ExpertsWeights WeightsOfExperts(ModelBuilder& m, absl::string_view name, const ExpertsShape& shape,
                                absl::string_view gate, absl::string_view up,
                                absl::string_view down) {
  const std::string stacked = absl::StrCat(name, ".gate_up_proj");
  if (m.Has(stacked)) return StackedWeights(m, stacked, absl::StrCat(name, ".down_proj"), shape);
  const int64_t hidden = shape.hidden, inner = shape.intermediate;
  std::vector<Value*> gate_up, downs;
  for (int64_t e = 0; e < shape.experts; ++e) {
    const auto weight = [&](absl::string_view which, int64_t rows, int64_t columns) {
      return m.Weight(absl::StrCat(name, ".", e, ".", which, ".weight"), {rows, columns});
    };
    gate_up.push_back(weight(gate, inner, hidden));
    gate_up.push_back(weight(up, inner, hidden));
    downs.push_back(weight(down, hidden, inner));
  }
  m.Scope(name);
  Value* first = Stack(m, gate_up, shape.experts, 2 * inner, hidden);
  return {first, Stack(m, downs, shape.experts, hidden, inner)};
}

Value* Experts(ModelBuilder& m, Value* x, absl::string_view name, absl::string_view router,
               const ExpertsWeights& weights, const ExpertsShape& shape) {
  ir::Builder& ops = m.ops();
  Value* logits = m.Linear(x, router, shape.hidden, shape.experts, /*bias=*/false);  // [T, E]
  Value* ids = ops.Make(Op::kTopK, {logits}, {{"k", shape.chosen}});                 // [T, k]
  // Made to sum to 1, probabilities are the softmax of the chosen logits alone.
  Value* scores = shape.normalised ? logits : ops.Softmax(logits);
  scores = ops.Make(Op::kTakeColumns, {scores, ids});
  if (shape.normalised) scores = ops.Softmax(scores);  // [T, k]
  m.Scope(name);
  const int64_t inner = shape.intermediate;
  Value* h = ops.Make(Op::kGroupedLinear, {x, weights.gate_up, ids});  // [T, k, 2 intermediate]
  Value* gate = ops.Slice(h, 2, 0, inner);
  Value* up = ops.Slice(h, 2, inner, 2 * inner);
  h = ops.Mul(m.Activation(gate, shape.activation), up);
  h = ops.Make(Op::kGroupedLinear, {h, weights.down, ids});  // [T, k, hidden]
  return ops.Make(Op::kWeightedSum, {h, scores});
}

}  // namespace ninfer::frontend
