// SettlePrecision: the user's storage and arithmetic types become casts in the graph, so that no
// later stage rounds where the graph does not say so.
//   weights      the weight of every linear is cast to the storage type (at compile time); so is an
//                embedding table that is wider than it. A table tied to the head shares the head's
//                cast: it is stored once. Norm weights and biases stay as they are.
//   weight_scheme  the weight of every linear is quantised in place of a cast; with input_scheme so
//                is its x: the products are of integers. A tied table is stored so too. A router
//                is not, unless a rule names it.
//   weight_rules  another type for weights by name.
//   activations  bf16: x of every linear, and q of attention (k and v without a cache), are cast to
//                bf16 by what makes them. Sums, norms, softmax, residuals and logits stay f32.
//   kv_cache     the states' type; k and v are cast to it before they are appended. A state of i8
//                takes them in f32 and rounds them itself.
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
#include "passes/weight_name.h"
#include "passes/weight_types.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

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

  absl::Status CheckRules() const;
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
  const QuantiseScheme* WantedScheme(const Node& node, const Uses& uses) const;
  Value* Calibrated(Value* weight);
  bool IsTied(const Value* table, const Uses& uses) const;  // read by a linear too
  // Whether QuantiseInputs rounds the first operand.
  bool TakesIntegers(const Node& node) const;
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
  int quantised_ = 0;  // weights so far
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
  if (!ir::IsConstant(weight) || ProducerIf(weight, Op::kQuantise) != nullptr) return absl::nullopt;
  const DType stored = weight->type().dtype;
  const WeightType type = WeightTypeOf(options_, weight);
  if (stored == type.dtype) return absl::nullopt;
  if (Multiplies(node) || IsTied(weight, uses) || type.rule >= 0) return type.dtype;
  if (DTypeSize(stored) <= DTypeSize(type.dtype)) return absl::nullopt;
  return type.dtype;
}

bool PrecisionSettler::IsTied(const Value* table, const Uses& uses) const {
  return absl::c_any_of(uses.of(table), [&](const Node* user) {
    return user->op() == Op::kLinear && user->operand(1) == table;
  });
}

// The scheme for a linear's weight that is not quantised yet, or for the table of an embedding that
// a linear shares.
const QuantiseScheme* PrecisionSettler::WantedScheme(const Node& node, const Uses& uses) const {
  if (!Multiplies(node) && node.op() != Op::kEmbedding) return nullptr;
  const Value* weight = node.operand(1);
  if (!ir::IsConstant(weight) || ProducerIf(weight, Op::kQuantise) != nullptr) return nullptr;
  const WeightType type = WeightTypeOf(options_, weight);
  // What routes is small, and rounding it changes the experts that are chosen.
  const auto routes = [](const Node* user) { return user->op() == Op::kTopK; };
  if (Multiplies(node)) {
    return type.rule < 0 && absl::c_any_of(uses.of(node.result()), routes) ? nullptr : type.scheme;
  }
  return IsTied(weight, uses) ? type.scheme : nullptr;
}

// Every rule stores some weight, as it says.
absl::Status PrecisionSettler::CheckRules() const {
  const Uses uses(function_);
  std::vector<bool> used(options_.weight_rules.size());
  for (const auto& node : function_.nodes()) {
    if (!Multiplies(*node) && node->op() != Op::kEmbedding) continue;
    if (!ir::IsConstant(node->operand(1))) continue;
    const WeightType type = WeightTypeOf(options_, node->operand(1));
    if (type.rule < 0) continue;
    for (const Value* tensor : WeightsOf(node->operand(1))) {
      const int rule = RuleOf(options_, tensor->name());
      if (rule >= 0) used[rule] = true;
    }
    if (node->op() == Op::kEmbedding && type.scheme != nullptr && !IsTied(node->operand(1), uses)) {
      return InvalidArgument("--weights-for: ", options_.weight_rules[type.rule].pattern,
                             ": expected f32, bf16 or f16 for a table that no linear reads, found ",
                             type.scheme->name);
    }
  }
  for (size_t i = 0; i < used.size(); ++i) {
    if (used[i]) continue;
    return InvalidArgument("--weights-for: ", options_.weight_rules[i].pattern,
                           ": expected the name of a linear's or an embedding's weight that no "
                           "later rule names, found none such");
  }
  return absl::OkStatus();
}

// The next weight to quantise, or what is to stand in its place.
Value* PrecisionSettler::Calibrated(Value* weight) {
  const auto it = options_.calibrated.find(quantised_++);
  if (it == options_.calibrated.end()) return weight;
  ir::Type type = weight->type();
  type.dtype = DType::kF32;
  Value* calibrated = module_.AddWeight(it->second, type);
  calibrated->set_provenance(weight->provenance());
  return calibrated;
}

absl::StatusOr<bool> PrecisionSettler::CastWeights() {
  const Uses uses(function_);
  absl::flat_hash_map<const Value*, Value*> casts;
  for (size_t i = 0; i < function_.nodes().size(); ++i) {
    Node* node = function_.nodes()[i].get();
    const QuantiseScheme* scheme = WantedScheme(*node, uses);
    const absl::optional<DType> wanted = WantedWeight(*node, uses);
    if (scheme == nullptr && !wanted) continue;
    if (!rewrites_.Next()) return false;
    Value*& cast = casts[node->operand(1)];
    if (cast == nullptr) {
      NINFER_ASSIGN_OR_RETURN(
          cast, scheme != nullptr ? InsertQuantise(Calibrated(node->operand(1)), scheme->name, node)
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

bool PrecisionSettler::TakesIntegers(const Node& node) const {
  return !options_.input_scheme.empty() && Multiplies(node) &&
         ProducerIf(node.operand(1), Op::kQuantise) != nullptr;
}

absl::optional<DType> PrecisionSettler::Wanted(const Node& node, size_t operand) const {
  DType wanted = options_.activations;
  if (TakesIntegers(node)) return absl::nullopt;  // QuantiseInputs rounds it, once
  if (Multiplies(node) || node.op() == Op::kPagedAttention) {
    if (operand != 0) return absl::nullopt;
  } else if (node.op() == Op::kAttention) {
    if (operand > 2) return absl::nullopt;
  } else if (node.op() == Op::kKvAppend) {
    if (operand != 1 && operand != 2) return absl::nullopt;
    wanted = node.operand(0)->type().dtype;
    if (wanted == DType::kI8) wanted = DType::kF32;
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
    if (!TakesIntegers(*node) || ProducerIf(node->operand(0), Op::kQuantise) != nullptr) continue;
    if (!rewrites_.Next()) return false;
    Value*& quantised = made[node->operand(0)];
    if (quantised == nullptr) {
      NINFER_ASSIGN_OR_RETURN(quantised,
                              InsertQuantise(node->operand(0), options_.input_scheme, node));
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
  if (options.kv_cache == DType::kI8) return absl::OkStatus();
  return check("kv_cache", options.kv_cache, false);
}

}  // namespace

absl::StatusOr<int> SettlePrecision(ir::Module& module, const PassOptions& options) {
  NINFER_RETURN_IF_ERROR(CheckOptions(options));
  Rewrites rewrites(options);
  for (const auto& function : module.functions()) {
    PrecisionSettler settler(module, *function, options, rewrites);
    NINFER_RETURN_IF_ERROR(settler.CheckRules());
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
