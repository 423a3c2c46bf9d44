// SettlePrecision: the user's storage and arithmetic types become casts in the graph, so that no
// later stage rounds where the graph does not say so.
//   weights      the weight of every linear is cast to the storage type (at compile time); so is an
//                embedding table that is wider than it. A table tied to the head shares the head's
//                cast: it is stored once. Norm weights and biases stay as they are.
//   weight_scheme  the weight of every linear is quantised in place of a cast, and so is its x: the
//                products are of integers. A tied table is stored so too. A router is not.
//   activations  bf16: x of every linear, and q of attention (k and v without a cache), are cast to
//                bf16 by what makes them. Sums, norms, softmax, residuals and logits stay f32.
//   kv_cache     the states' type; k and v are cast to it before they are appended.
// A cast goes above views (slices, reshapes) when everything that looks through them wants it, so
// that one cast serves, for instance, all of a fused q, k, v projection.
//
// Proves: the graph against the f32 one within the stated budget; nothing changes for f32.
// Order: after merge-linears (one cast for a merged weight) and attention (q, k and v have their
// final places); before fuse, which takes the casts into epilogues.
//
// Tested by tests/passes_golden_test.cc (tests/passes/precision.ir), tests/passes_model_test.cc.
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "base/quantise.h"
#include "base/status.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

constexpr absl::string_view kInputScheme = "int8_g32_f32";

// What multiplies activations with a weight, its second operand.
bool Multiplies(const Node& node) {
  return node.op() == Op::kLinear || node.op() == Op::kGroupedLinear;
}

bool IsView(const Node* node) {
  return node != nullptr && (node->op() == Op::kReshape || node->op() == Op::kSlice);
}

class PrecisionSettler {
 public:
  PrecisionSettler(ir::Module& module, ir::Function& function, const PassOptions& options,
                   Rewrites& rewrites)
      : module_(module), function_(function), options_(options), rewrites_(rewrites) {}

  // False: told to stop.
  absl::StatusOr<bool> CastWeights();
  absl::StatusOr<bool> SettleStates();
  absl::StatusOr<bool> CastActivations();
  absl::StatusOr<bool> QuantiseInputs();

 private:
  using Casts = absl::flat_hash_map<std::pair<const Value*, DType>, Value*>;

  // The type that an operand should have, or none when it is right as it is.
  absl::optional<DType> Wanted(const Node& node, size_t operand) const;
  absl::optional<DType> WantedWeight(const Node& node, const Uses& uses) const;
  absl::StatusOr<Value*> InsertQuantise(Value* value, absl::string_view scheme, const Node* before);
  bool WantsQuantised(const Node& node, const Uses& uses) const;
  absl::StatusOr<Value*> InsertCast(Value* value, DType dtype, const Node* before);
  // True when every use of `value`, seen through views, wants `dtype`.
  bool AllWant(const Value* value, DType dtype, const Uses& uses) const;
  absl::StatusOr<bool> CastAbove(Value* root, DType dtype);
  bool NeedsCasts(const Node& node) const;
  // Casts what a node takes in; `casts` are at hand above it, and it may add to them.
  absl::Status CastOperands(Node* node, Casts& casts);
  void RetypeViews(const Value* value, DType dtype, const Uses& uses);
  const Node* NodeAfter(const Node* node) const;

  ir::Module& module_;
  ir::Function& function_;
  const PassOptions& options_;
  Rewrites& rewrites_;
};

absl::StatusOr<Value*> PrecisionSettler::InsertCast(Value* value, DType dtype, const Node* before) {
  ir::Builder builder(&module_, &function_, before);
  builder.set_provenance(value->provenance());
  Value* cast = builder.Cast(value, dtype);
  NINFER_RETURN_IF_ERROR(builder.status());
  return cast;
}

absl::StatusOr<Value*> PrecisionSettler::InsertQuantise(Value* value, absl::string_view scheme,
                                                        const Node* before) {
  ir::Builder builder(&module_, &function_, before);
  builder.set_provenance(value->provenance());
  Value* quantised = builder.Quantise(value, scheme);
  NINFER_RETURN_IF_ERROR(builder.status());
  return quantised;
}

// --- weights -------------------------------------------------------------------------------------

absl::optional<DType> PrecisionSettler::WantedWeight(const Node& node, const Uses& uses) const {
  if (!Multiplies(node) && node.op() != Op::kEmbedding) return absl::nullopt;
  const Value* weight = node.operand(1);
  if (ProducerIf(weight, Op::kQuantise) != nullptr) return absl::nullopt;
  const DType stored = weight->type().dtype;
  if (!ir::IsConstant(weight) || stored == options_.weights) return absl::nullopt;
  if (Multiplies(node)) return options_.weights;
  for (const Node* user : uses.of(weight)) {
    if (user->op() == Op::kLinear && user->operand(1) == weight) return options_.weights;  // tied
  }
  if (DTypeSize(stored) <= DTypeSize(options_.weights)) return absl::nullopt;
  return options_.weights;
}

// A linear's weight that is not quantised yet, or the table of an embedding that a linear shares.
bool PrecisionSettler::WantsQuantised(const Node& node, const Uses& uses) const {
  if (options_.weight_scheme.empty()) return false;
  if (!Multiplies(node) && node.op() != Op::kEmbedding) return false;
  const Value* weight = node.operand(1);
  if (!ir::IsConstant(weight) || ProducerIf(weight, Op::kQuantise) != nullptr) return false;
  // What routes is small, and rounding it changes the experts that are chosen.
  const auto routes = [](const Node* user) { return user->op() == Op::kTopK; };
  if (Multiplies(node)) return absl::c_none_of(uses.of(node.result()), routes);
  return absl::c_any_of(uses.of(weight), [&](const Node* user) {
    return user->op() == Op::kLinear && user->operand(1) == weight;
  });
}

absl::StatusOr<bool> PrecisionSettler::CastWeights() {
  const Uses uses(function_);
  absl::flat_hash_map<const Value*, Value*> casts;
  for (size_t i = 0; i < function_.nodes().size(); ++i) {
    Node* node = function_.nodes()[i].get();
    const bool quantised = WantsQuantised(*node, uses);
    const absl::optional<DType> wanted = WantedWeight(*node, uses);
    if (!quantised && !wanted) continue;
    if (!rewrites_.Next()) return false;
    Value*& cast = casts[node->operand(1)];
    if (cast == nullptr) {
      NINFER_ASSIGN_OR_RETURN(
          cast, quantised ? InsertQuantise(node->operand(1), options_.weight_scheme, node)
                          : InsertCast(node->operand(1), *wanted, node));
      ++i;  // the cast stands where the node stood
    }
    node->set_operand(1, cast);
  }
  return true;
}

// --- states --------------------------------------------------------------------------------------

// A state changes its type together with the keys and values that are appended to it, as one
// rewrite.
absl::StatusOr<bool> PrecisionSettler::SettleStates() {
  for (const auto& parameter : function_.parameters()) {
    if (!parameter->type().is_kv || parameter->type().dtype == options_.kv_cache) continue;
    if (!rewrites_.Next()) return false;
    ir::Type type = parameter->type();
    type.dtype = options_.kv_cache;
    parameter->set_type(type);
    const Uses uses(function_);
    for (Node* append : uses.of(parameter.get())) {
      if (append->op() != Op::kKvAppend) continue;
      append->result()->set_type(type);
      Casts casts;
      NINFER_RETURN_IF_ERROR(CastOperands(append, casts));
    }
  }
  return true;
}

// --- activations ---------------------------------------------------------------------------------

absl::optional<DType> PrecisionSettler::Wanted(const Node& node, size_t operand) const {
  DType wanted = options_.activations;
  if (Multiplies(node) && ProducerIf(node.operand(1), Op::kQuantise) != nullptr) {
    return absl::nullopt;  // QuantiseInputs rounds it, once
  }
  if (Multiplies(node) || node.op() == Op::kPagedAttention) {
    if (operand != 0) return absl::nullopt;
  } else if (node.op() == Op::kAttention) {
    if (operand > 2) return absl::nullopt;
  } else if (node.op() == Op::kKvAppend) {
    if (operand != 1 && operand != 2) return absl::nullopt;
    wanted = node.operand(0)->type().dtype;
  } else {
    return absl::nullopt;
  }
  if (node.operand(operand)->type().dtype == wanted) return absl::nullopt;
  return wanted;
}

bool PrecisionSettler::AllWant(const Value* value, DType dtype, const Uses& uses) const {
  if (uses.is_result(value)) return false;
  for (const Node* user : uses.of(value)) {
    if (IsView(user)) {
      if (!AllWant(user->result(), dtype, uses)) return false;
      continue;
    }
    for (size_t i = 0; i < user->operands().size(); ++i) {
      if (user->operand(i) == value && Wanted(*user, i) != dtype) return false;
    }
  }
  return true;
}

const Node* PrecisionSettler::NodeAfter(const Node* node) const {
  const auto nodes = function_.nodes();
  for (size_t i = 0; i + 1 < nodes.size(); ++i) {
    if (nodes[i].get() == node) return nodes[i + 1].get();
  }
  return nullptr;
}

void PrecisionSettler::RetypeViews(const Value* value, DType dtype, const Uses& uses) {
  for (Node* user : uses.of(value)) {
    if (!IsView(user)) continue;
    ir::Type type = user->result()->type();
    type.dtype = dtype;
    user->result()->set_type(type);
    RetypeViews(user->result(), dtype, uses);
  }
}

// Casts a computed value for all its uses at once, when all want it.
absl::StatusOr<bool> PrecisionSettler::CastAbove(Value* root, DType dtype) {
  const Uses uses(function_);
  if (root->producer() == nullptr || !AllWant(root, dtype, uses)) return false;
  NINFER_ASSIGN_OR_RETURN(Value * cast, InsertCast(root, dtype, NodeAfter(root->producer())));
  for (Node* user : uses.of(root)) {
    for (size_t i = 0; i < user->operands().size(); ++i) {
      if (user->operand(i) == root) user->set_operand(i, cast);
    }
  }
  RetypeViews(root, dtype, uses);  // the sweep knows the views by the value they showed
  return true;
}

bool PrecisionSettler::NeedsCasts(const Node& node) const {
  for (size_t i = 0; i < node.operands().size(); ++i) {
    if (Wanted(node, i)) return true;
  }
  return false;
}

absl::Status PrecisionSettler::CastOperands(Node* node, Casts& casts) {
  for (size_t i = 0; i < node->operands().size(); ++i) {
    const absl::optional<DType> wanted = Wanted(*node, i);
    if (!wanted) continue;
    Value* value = node->operand(i);
    Value* root = value;
    while (IsView(root->producer())) root = root->producer()->operand(0);
    NINFER_ASSIGN_OR_RETURN(const bool above, CastAbove(root, *wanted));
    if (above) continue;
    Value*& cast = casts[{value, *wanted}];
    if (cast == nullptr) {
      NINFER_ASSIGN_OR_RETURN(cast, InsertCast(value, *wanted, node));
    }
    node->set_operand(i, cast);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> PrecisionSettler::CastActivations() {
  std::vector<Node*> nodes;  // as they stand before casts come in between
  for (const auto& node : function_.nodes()) nodes.push_back(node.get());
  Casts casts;
  for (Node* node : nodes) {
    if (!NeedsCasts(*node)) continue;
    if (!rewrites_.Next()) return false;
    NINFER_RETURN_IF_ERROR(CastOperands(node, casts));
  }
  return true;
}

absl::StatusOr<bool> PrecisionSettler::QuantiseInputs() {
  std::vector<Node*> nodes;
  for (const auto& node : function_.nodes()) nodes.push_back(node.get());
  absl::flat_hash_map<const Value*, Value*> made;
  for (Node* node : nodes) {
    const bool wants = Multiplies(*node) &&
                       ProducerIf(node->operand(1), Op::kQuantise) != nullptr &&
                       ProducerIf(node->operand(0), Op::kQuantise) == nullptr;
    if (!wants) continue;
    if (!rewrites_.Next()) return false;
    Value*& quantised = made[node->operand(0)];
    if (quantised == nullptr) {
      NINFER_ASSIGN_OR_RETURN(quantised, InsertQuantise(node->operand(0), kInputScheme, node));
    }
    node->set_operand(0, quantised);
  }
  return true;
}

absl::Status CheckOptions(const PassOptions& options) {
  const auto check = [](absl::string_view what, DType dtype, bool f16) -> absl::Status {
    if (dtype == DType::kF32 || dtype == DType::kBF16 || (f16 && dtype == DType::kF16)) {
      return absl::OkStatus();
    }
    return InvalidArgument(what, ": expected ", f16 ? "f32, bf16 or f16" : "f32 or bf16",
                           ", found ", DTypeName(dtype));
  };
  NINFER_RETURN_IF_ERROR(check("weights", options.weights, true));
  const std::string& scheme = options.weight_scheme;
  if (!scheme.empty() && FindQuantiseScheme(scheme) == nullptr) {
    return InvalidArgument("weights: expected a scheme of integers, found ", scheme);
  }
  NINFER_RETURN_IF_ERROR(check("activations", options.activations, false));
  return check("kv_cache", options.kv_cache, false);
}

}  // namespace

absl::StatusOr<int> SettlePrecision(ir::Module& module, const PassOptions& options) {
  NINFER_RETURN_IF_ERROR(CheckOptions(options));
  Rewrites rewrites(options);
  for (const auto& function : module.functions()) {
    PrecisionSettler settler(module, *function, options, rewrites);
    NINFER_ASSIGN_OR_RETURN(const bool weights_done, settler.CastWeights());
    if (!weights_done) return rewrites.made();
    NINFER_ASSIGN_OR_RETURN(const bool states_done, settler.SettleStates());
    if (!states_done) return rewrites.made();
    NINFER_ASSIGN_OR_RETURN(const bool casts_done, settler.CastActivations());
    if (!casts_done) return rewrites.made();
    NINFER_ASSIGN_OR_RETURN(const bool done, settler.QuantiseInputs());
    if (!done) return rewrites.made();
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
