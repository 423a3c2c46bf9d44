// The verifier: a walk in execution order that admits a node only when every rule holds. The first
// broken rule is reported, as "@function: line n: node: expected, found"; where the graph was not
// parsed from a text, the provenance stands in the line's place.
//
// Checked, of the module:
//  - it has functions; the names of functions are unique;
//  - a dimension's name is a word and unique, its bounds are ordered, not negative, at most 2^40;
//  - a weight's type is a tensor of static sizes; a literal is f32[n] and has n elements.
// Of a type: symbols exist, sizes are at least 1 (symbolic ones at least 0 at their lower bound),
// the bytes at the upper bounds are at most 2^60; a KV state is of floats or i8, [heads, head_dim],
// both static.
// Of a function:
//  - parameters have unique names that are not numbers; named results have names of their own;
//  - every operand is a parameter, a result defined above or a weight of the module (SSA
//    dominance);
//  - there is at least one result, each defined in the function or a weight;
//  - a KV state is consumed once at most (by a node with a KV result, or as the function's result)
//    and is not read after that.
// Of a node:
//  - the op is legal at the module's stage (what no kernel takes is lowering's to say);
//  - operand count; attributes present, of the right kind, known, within the rule's range;
//  - result count; the result's type is the one that the shape rule infers.
// Of a region (fused): its family is named; its body's parameters match the operands in number and
// type and its results those of the node; the body names no value from outside and no weight, and
// holds no region; its ops are legal inside regions.
//
// Not checked: values (token ids within the table, seq_bounds ascending, rows within range), that
// two functions agree on the state they share, that a KV parameter's last state is returned, the
// names of region families (the program's verifier knows them), the sign of attention's scale.
//
// Tested by tests/ir_verifier_test.cc.
#include "ir/verifier.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "base/status.h"
#include "ir/builder.h"
#include "ir/lexer.h"
#include "ir/shape_rules.h"
#include "ir/text.h"

namespace ninfer::ir {
namespace {

constexpr int64_t kMaxBound = int64_t{1} << 40;
constexpr int64_t kMaxBytes = int64_t{1} << 60;

using WeightSet = absl::flat_hash_set<const Value*>;

absl::Status VerifyType(const Type& type, absl::Span<const Symbol> symbols) {
  for (const Dim& dim : type.shape) {
    if (!dim.is_static() && static_cast<size_t>(dim.symbol) >= symbols.size()) {
      return InvalidArgument("type: expected a declared dimension, found number ", dim.symbol);
    }
    const int64_t least = dim.is_static() ? 1 : 0;
    if (MinOf(dim, symbols) < least || MaxOf(dim, symbols) < 1) {
      return InvalidArgument("type: expected sizes of 1 or more, found ",
                             TypeToString(type, symbols));
    }
  }
  if (MaxBytes(type, symbols) > kMaxBytes) {
    return InvalidArgument("type: expected at most 2^60 bytes, found ",
                           TypeToString(type, symbols));
  }
  if (!type.is_kv) return absl::OkStatus();
  const bool two_sizes = type.rank() == 2 && type.shape[0].is_static() && type.shape[1].is_static();
  if (!two_sizes || (!IsFloat(type.dtype) && type.dtype != DType::kI8)) {
    return InvalidArgument("type: expected a KV state kv<float or i8>[heads,head_dim], found ",
                           TypeToString(type, symbols));
  }
  return absl::OkStatus();
}

// One function, or one region's body (`region` says so).
class FunctionVerifier {
 public:
  FunctionVerifier(const Function& function, absl::Span<const Symbol> symbols, Stage stage,
                   const WeightSet* weights, std::string where, bool region)
      : function_(function),
        symbols_(symbols),
        stage_(stage),
        weights_(weights),
        where_(std::move(where)),
        region_(region) {}

  absl::Status Run();

 private:
  absl::Status VerifyParameters();
  absl::Status VerifyNode(const Node& node);
  absl::Status VerifyStage(const Node& node) const;
  absl::Status VerifyUse(const Value* value, absl::string_view what) const;
  absl::Status VerifyState(const Node& node);
  absl::Status VerifyResultTypes(const Node& node) const;
  absl::Status VerifyRegion(const Node& node) const;
  absl::Status VerifyFunctionResults();
  absl::Status DefineName(const Value* value);
  absl::Status At(const Node& node, const absl::Status& status) const;
  bool InThisFunction(const Value* value) const;

  const Function& function_;
  absl::Span<const Symbol> symbols_;
  Stage stage_;
  const WeightSet* weights_;  // null: none may be named
  std::string where_;
  bool region_;
  absl::flat_hash_set<const Value*> defined_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_set<const Value*> consumed_;
};

absl::Status FunctionVerifier::Run() {
  NINFER_RETURN_IF_ERROR(Annotate(VerifyParameters(), where_));
  for (const auto& node : function_.nodes()) {
    NINFER_RETURN_IF_ERROR(At(*node, VerifyNode(*node)));
    for (int i = 0; i < node->num_results(); ++i) defined_.insert(node->result(i));
  }
  return Annotate(VerifyFunctionResults(), where_);
}

absl::Status FunctionVerifier::At(const Node& node, const absl::Status& status) const {
  if (status.ok()) return status;
  std::string place;
  if (node.line() > 0) {
    place = absl::StrCat("line ", node.line(), ": ");
  } else if (node.num_results() > 0 && !node.result(0)->provenance().empty()) {
    place = absl::StrCat(node.result(0)->provenance(), ": ");
  }
  return Annotate(status, absl::StrCat(where_, ": ", place, PrintNode(function_, node, symbols_)));
}

absl::Status FunctionVerifier::DefineName(const Value* value) {
  if (names_.insert(value->name()).second) return absl::OkStatus();
  return InvalidArgument("expected a name not used above, found %", value->name(), " again");
}

absl::Status FunctionVerifier::VerifyParameters() {
  for (const auto& parameter : function_.parameters()) {
    if (IsNumberName(parameter->name())) {
      return InvalidArgument("expected a parameter's name that is no number, found \"",
                             parameter->name(), "\"");
    }
    NINFER_RETURN_IF_ERROR(DefineName(parameter.get()));
    NINFER_RETURN_IF_ERROR(Annotate(VerifyType(parameter->type(), symbols_),
                                    absl::StrCat("parameter %", parameter->name())));
    defined_.insert(parameter.get());
  }
  return absl::OkStatus();
}

absl::Status FunctionVerifier::VerifyNode(const Node& node) {
  NINFER_RETURN_IF_ERROR(
      CheckSignature(node.info(), static_cast<int>(node.operands().size()), node.attrs()));
  for (size_t i = 0; i < node.operands().size(); ++i) {
    NINFER_RETURN_IF_ERROR(
        VerifyUse(node.operand(static_cast<int>(i)), absl::StrCat("operand ", i + 1)));
  }
  NINFER_RETURN_IF_ERROR(VerifyStage(node));
  NINFER_RETURN_IF_ERROR(VerifyState(node));
  for (int i = 0; i < node.num_results(); ++i) {
    NINFER_RETURN_IF_ERROR(VerifyType(node.result(i)->type(), symbols_));
    if (IsNumberName(node.result(i)->name())) continue;
    NINFER_RETURN_IF_ERROR(DefineName(node.result(i)));
  }
  if (node.info().op_class == OpClass::kRegion) return VerifyRegion(node);
  return VerifyResultTypes(node);
}

absl::Status FunctionVerifier::VerifyStage(const Node& node) const {
  const OpInfo& info = node.info();
  if (region_ && info.op_class == OpClass::kRegion) {
    return InvalidArgument("expected no region inside a region, found ", info.name);
  }
  if (info.stages.find(StageLetter(stage_)) != absl::string_view::npos) return absl::OkStatus();
  return InvalidArgument("expected an op that is legal at stage ", StageName(stage_), ", found ",
                         info.name);
}

bool FunctionVerifier::InThisFunction(const Value* value) const {
  return std::any_of(function_.nodes().begin(), function_.nodes().end(),
                     [value](const auto& node) { return node.get() == value->producer(); });
}

absl::Status FunctionVerifier::VerifyUse(const Value* value, absl::string_view what) const {
  if (value == nullptr) return InvalidArgument(what, ": expected a value, found none");
  if (value->is_weight()) {
    if (weights_ != nullptr && weights_->contains(value)) return absl::OkStatus();
    return InvalidArgument(what, ": expected a ",
                           weights_ == nullptr ? "parameter here" : "weight of the module",
                           ", found @", value->name());
  }
  if (defined_.contains(value)) return absl::OkStatus();
  const bool below = value->producer() != nullptr && InThisFunction(value);
  return InvalidArgument(what, ": expected a value defined above, found ",
                         value->name().empty() ? "one" : absl::StrCat("%", value->name()),
                         below ? " defined below" : " of another function");
}

absl::Status FunctionVerifier::VerifyState(const Node& node) {
  bool consumes = false;
  for (int i = 0; i < node.num_results(); ++i) consumes |= node.result(i)->type().is_kv;
  for (size_t i = 0; i < node.operands().size(); ++i) {
    const Value* operand = node.operand(static_cast<int>(i));
    if (!operand->type().is_kv) continue;
    if (consumed_.contains(operand)) {
      return InvalidArgument("operand ", i + 1,
                             ": expected a KV state not consumed before, found %", operand->name());
    }
    if (consumes) consumed_.insert(operand);
  }
  return absl::OkStatus();
}

absl::Status FunctionVerifier::VerifyResultTypes(const Node& node) const {
  if (node.num_results() != 1) {
    return InvalidArgument("expected 1 result, found ", node.num_results());
  }
  std::vector<Type> operands;
  for (const Value* operand : node.operands()) operands.push_back(operand->type());
  const Type& found = node.result()->type();
  const absl::StatusOr<Type> inferred =
      InferType(node.op(), operands, node.attrs(), &found, symbols_);
  if (!inferred.ok()) return inferred.status();
  if (*inferred != found) {
    return InvalidArgument("result: expected ", TypeToString(*inferred, symbols_), ", found ",
                           TypeToString(found, symbols_));
  }
  return absl::OkStatus();
}

absl::Status FunctionVerifier::VerifyRegion(const Node& node) const {
  if (node.body() == nullptr) return InvalidArgument("expected a body, found none");
  if (node.attr_string("family").empty()) {
    return InvalidArgument("family: expected a name, found \"\"");
  }
  const auto parameters = node.body()->parameters();
  if (parameters.size() != node.operands().size()) {
    return InvalidArgument("expected ", node.operands().size(), " parameters of the body, found ",
                           parameters.size());
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Type& operand = node.operand(static_cast<int>(i))->type();
    if (parameters[i]->type() == operand) continue;
    return InvalidArgument("parameter %", parameters[i]->name(), ": expected ",
                           TypeToString(operand, symbols_), ", found ",
                           TypeToString(parameters[i]->type(), symbols_));
  }
  FunctionVerifier body(*node.body(), symbols_, stage_, nullptr, "in its body", /*region=*/true);
  NINFER_RETURN_IF_ERROR(body.Run());
  const auto& results = node.body()->results();
  if (static_cast<int>(results.size()) != node.num_results()) {
    return InvalidArgument("expected ", results.size(), " results as the body has, found ",
                           node.num_results());
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const Type& found = node.result(static_cast<int>(i))->type();
    if (found == results[i]->type()) continue;
    return InvalidArgument("result ", i + 1, ": expected ",
                           TypeToString(results[i]->type(), symbols_), " as in the body, found ",
                           TypeToString(found, symbols_));
  }
  return absl::OkStatus();
}

absl::Status FunctionVerifier::VerifyFunctionResults() {
  if (function_.results().empty()) return InvalidArgument("return: expected a result, found none");
  for (size_t i = 0; i < function_.results().size(); ++i) {
    const Value* value = function_.results()[i];
    NINFER_RETURN_IF_ERROR(VerifyUse(value, absl::StrCat("return: result ", i + 1)));
    if (value->type().is_kv && !consumed_.insert(value).second) {
      return InvalidArgument("return: result ", i + 1,
                             ": expected a KV state not consumed before, found %", value->name());
    }
  }
  return absl::OkStatus();
}

absl::Status VerifySymbols(const Module& module) {
  absl::flat_hash_set<std::string> names;
  for (const Symbol& symbol : module.symbols()) {
    const std::string where = absl::StrCat("dim ", symbol.name, ": ");
    const bool word = !symbol.name.empty() && !absl::ascii_isdigit(symbol.name[0]) &&
                      std::all_of(symbol.name.begin(), symbol.name.end(),
                                  [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
    if (!word) return InvalidArgument(where, "expected a word, found \"", symbol.name, "\"");
    if (!names.insert(symbol.name).second) {
      return InvalidArgument(where, "expected a name not used above, found it again");
    }
    if (symbol.min < 0 || symbol.min > symbol.max || symbol.max > kMaxBound) {
      return InvalidArgument(where, "expected bounds 0 <= min <= max <= 2^40, found [", symbol.min,
                             ", ", symbol.max, "]");
    }
  }
  return absl::OkStatus();
}

absl::Status VerifyWeight(const Weight& weight, absl::Span<const Symbol> symbols) {
  const Type& type = weight.value->type();
  if (weight.value->name().empty()) return InvalidArgument("expected a name, found \"\"");
  NINFER_RETURN_IF_ERROR(VerifyType(type, symbols));
  const bool is_static = std::all_of(type.shape.begin(), type.shape.end(),
                                     [](const Dim& dim) { return dim.is_static(); });
  if (type.is_kv || !is_static) {
    return InvalidArgument("expected a tensor of static sizes, found ",
                           TypeToString(type, symbols));
  }
  const int64_t elements = static_cast<int64_t>(weight.literal.size());
  if (elements == 0) return absl::OkStatus();
  const Type expected{DType::kF32, {Dim::Static(elements)}};
  if (type == expected) return absl::OkStatus();
  return InvalidArgument("expected the literal's type ", TypeToString(expected, symbols),
                         ", found ", TypeToString(type, symbols));
}

}  // namespace

absl::Status Verify(const Module& module) {
  NINFER_RETURN_IF_ERROR(VerifySymbols(module));
  WeightSet weights;
  for (const Weight& weight : module.weights()) {
    NINFER_RETURN_IF_ERROR(Annotate(VerifyWeight(weight, module.symbols()),
                                    absl::StrCat("weight @", weight.value->name())));
    weights.insert(weight.value.get());
  }
  if (module.functions().empty()) {
    return InvalidArgument("module ", module.name(), ": expected a function, found none");
  }
  absl::flat_hash_set<std::string> names;
  for (const auto& function : module.functions()) {
    const std::string where = absl::StrCat("@", function->name());
    if (!names.insert(function->name()).second) {
      return InvalidArgument(where, ": expected a name not used above, found it again");
    }
    FunctionVerifier verifier(*function, module.symbols(), module.stage(), &weights, where,
                              /*region=*/false);
    NINFER_RETURN_IF_ERROR(verifier.Run());
  }
  return absl::OkStatus();
}

absl::Status VerifyFunction(const Function& function, absl::Span<const Symbol> symbols,
                            Stage stage) {
  FunctionVerifier verifier(function, symbols, stage, nullptr, absl::StrCat("@", function.name()),
                            /*region=*/false);
  return verifier.Run();
}

}  // namespace ninfer::ir
