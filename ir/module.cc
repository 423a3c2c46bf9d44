// Ownership and editing of the graph. Lists are short (a few thousand nodes), so that finding a
// node is a linear search; passes that touch every node use one sweep and UseCounts(). Tested by
// tests/ir_module_test.cc.
#include "ir/module.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"

namespace ninfer::ir {
namespace {

// Attributes stand in the order of the op's row, so that equal nodes print equally.
void SortAttrs(const OpInfo& info, std::vector<Attr>& attrs) {
  const auto rank = [&info](const Attr& attr) {
    for (size_t i = 0; i < info.attributes.size(); ++i) {
      if (info.attributes[i].name == attr.name) return i;
    }
    return info.attributes.size();
  };
  std::stable_sort(attrs.begin(), attrs.end(),
                   [&](const Attr& a, const Attr& b) { return rank(a) < rank(b); });
}

template <typename T>
const T& GetAttr(const Node& node, absl::string_view name) {
  const AttrValue* value = node.find_attr(name);
  NINFER_CHECK(value != nullptr && std::holds_alternative<T>(*value))
      << "attribute " << std::string(name) << " of " << std::string(node.info().name);
  return std::get<T>(*value);
}

size_t IndexOf(absl::Span<const std::unique_ptr<Node>> nodes, const Node* node) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].get() == node) return i;
  }
  NINFER_CHECK(false) << "the node is not in this function";
  return 0;
}

}  // namespace

// --- Node ----------------------------------------------------------------------------------------

void Node::set_attr(absl::string_view name, AttrValue value) {
  for (Attr& attr : attrs_) {
    if (attr.name != name) continue;
    attr.value = std::move(value);
    return;
  }
  attrs_.push_back({std::string(name), std::move(value)});
  SortAttrs(info(), attrs_);
}

const AttrValue* Node::find_attr(absl::string_view name) const {
  for (const Attr& attr : attrs_) {
    if (attr.name == name) return &attr.value;
  }
  return nullptr;
}

int64_t Node::attr_int(absl::string_view name) const { return GetAttr<int64_t>(*this, name); }
double Node::attr_float(absl::string_view name) const { return GetAttr<double>(*this, name); }
const std::string& Node::attr_string(absl::string_view name) const {
  return GetAttr<std::string>(*this, name);
}
const std::vector<int64_t>& Node::attr_ints(absl::string_view name) const {
  return GetAttr<std::vector<int64_t>>(*this, name);
}
bool Node::attr_bool(absl::string_view name, bool fallback) const {
  return find_attr(name) == nullptr ? fallback : GetAttr<bool>(*this, name);
}

int64_t Node::attr_int_or(absl::string_view name, int64_t fallback) const {
  return find_attr(name) == nullptr ? fallback : attr_int(name);
}
double Node::attr_float_or(absl::string_view name, double fallback) const {
  return find_attr(name) == nullptr ? fallback : attr_float(name);
}

// --- Function ------------------------------------------------------------------------------------

Value* Function::AddParameter(std::string name, Type type) {
  auto value = std::make_unique<Value>();
  value->kind_ = ValueKind::kParameter;
  value->name_ = std::move(name);
  value->type_ = std::move(type);
  parameters_.push_back(std::move(value));
  return parameters_.back().get();
}

Value* Function::FindParameter(absl::string_view name) const {
  for (const auto& parameter : parameters_) {
    if (parameter->name() == name) return parameter.get();
  }
  return nullptr;
}

void Function::RemoveParameter(const Value* value) {
  NINFER_CHECK(CountUses(value) == 0) << "parameter %" << value->name() << " is used";
  const auto it = std::find_if(parameters_.begin(), parameters_.end(),
                               [value](const auto& p) { return p.get() == value; });
  NINFER_CHECK(it != parameters_.end()) << "%" << value->name() << " is no parameter of @" << name_;
  parameters_.erase(it);
}

Node* Function::Insert(Op op, absl::Span<Value* const> operands,
                       absl::Span<const Type> result_types, std::vector<Attr> attrs,
                       const Node* before) {
  auto node = std::make_unique<Node>();
  node->op_ = op;
  node->operands_.assign(operands.begin(), operands.end());
  node->attrs_ = std::move(attrs);
  SortAttrs(node->info(), node->attrs_);
  for (const Type& type : result_types) {
    auto value = std::make_unique<Value>();
    value->type_ = type;
    value->producer_ = node.get();
    node->results_.push_back(std::move(value));
  }
  Node* inserted = node.get();
  const size_t index = before == nullptr ? nodes_.size() : IndexOf(nodes_, before);
  nodes_.insert(nodes_.begin() + index, std::move(node));
  return inserted;
}

Node* Function::InsertFused(absl::string_view family, absl::Span<Value* const> operands,
                            std::unique_ptr<Function> body, const Node* before) {
  std::vector<Type> types;
  for (const Value* result : body->results()) types.push_back(result->type());
  Node* node =
      Insert(Op::kFused, operands, types, {{"family", AttrValue(std::string(family))}}, before);
  node->body_ = std::move(body);
  return node;
}

int Function::ReplaceAllUses(const Value* from, Value* to) {
  int replaced = 0;
  for (const auto& node : nodes_) {
    for (Value*& operand : node->operands_) {
      if (operand != from) continue;
      operand = to;
      ++replaced;
    }
  }
  for (Value*& result : results_) {
    if (result != from) continue;
    result = to;
    ++replaced;
  }
  return replaced;
}

void Function::Erase(const Node* node) {
  for (const auto& result : node->results_) {
    NINFER_CHECK(CountUses(result.get()) == 0)
        << "a result of " << std::string(node->info().name) << " is used";
  }
  nodes_.erase(nodes_.begin() + IndexOf(nodes_, node));
}

void Function::MoveBefore(const Node* node, const Node* before) {
  if (node == before) return;
  const size_t from = IndexOf(nodes_, node);
  const size_t to = IndexOf(nodes_, before);
  if (from < to) {
    std::rotate(nodes_.begin() + from, nodes_.begin() + from + 1, nodes_.begin() + to);
  } else {
    std::rotate(nodes_.begin() + to, nodes_.begin() + from, nodes_.begin() + from + 1);
  }
}

int Function::RemoveDeadNodes() {
  absl::flat_hash_map<const Value*, int> uses = UseCounts();
  int removed = 0;
  // Backwards, so that a node's users are gone before the node is looked at.
  for (size_t i = nodes_.size(); i-- > 0;) {
    const Node& node = *nodes_[i];
    const bool used = std::any_of(node.results_.begin(), node.results_.end(), [&](const auto& r) {
      const auto it = uses.find(r.get());
      return it != uses.end() && it->second > 0;
    });
    if (used) continue;
    for (const Value* operand : node.operands_) --uses[operand];
    nodes_[i].reset();
    ++removed;
  }
  nodes_.erase(std::remove(nodes_.begin(), nodes_.end(), nullptr), nodes_.end());
  return removed;
}

int Function::CountUses(const Value* value) const {
  int uses = 0;
  for (const auto& node : nodes_) {
    uses += std::count(node->operands_.begin(), node->operands_.end(), value);
  }
  return uses + std::count(results_.begin(), results_.end(), value);
}

absl::flat_hash_map<const Value*, int> Function::UseCounts() const {
  absl::flat_hash_map<const Value*, int> uses;
  for (const auto& node : nodes_) {
    for (const Value* operand : node->operands_) ++uses[operand];
  }
  for (const Value* result : results_) ++uses[result];
  return uses;
}

// --- Module --------------------------------------------------------------------------------------

int Module::AddSymbol(std::string name, int64_t min, int64_t max) {
  NINFER_CHECK(FindSymbol(name) < 0) << "dimension " << name << " is declared twice";
  symbols_.push_back({std::move(name), min, max});
  return static_cast<int>(symbols_.size()) - 1;
}

int Module::FindSymbol(absl::string_view name) const {
  for (size_t i = 0; i < symbols_.size(); ++i) {
    if (symbols_[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

Value* Module::AddWeight(std::string name, Type type) {
  const auto [it, added] = weight_index_.emplace(name, static_cast<int>(weights_.size()));
  NINFER_CHECK(added) << "weight @" << name << " is declared twice";
  auto value = std::make_unique<Value>();
  value->kind_ = ValueKind::kWeight;
  value->name_ = std::move(name);
  value->type_ = std::move(type);
  weights_.push_back({std::move(value), {}});
  return weights_.back().value.get();
}

Value* Module::AddLiteral(std::string name, std::vector<float> elements) {
  Type type{DType::kF32, {Dim::Static(static_cast<int64_t>(elements.size()))}};
  Value* value = AddWeight(std::move(name), std::move(type));
  weights_.back().literal = std::move(elements);
  return value;
}

Value* Module::FindWeight(absl::string_view name) const {
  const auto it = weight_index_.find(name);
  return it == weight_index_.end() ? nullptr : weights_[it->second].value.get();
}

const Weight& Module::WeightOf(const Value* value) const {
  const auto it = weight_index_.find(value->name());
  NINFER_CHECK(it != weight_index_.end() && weights_[it->second].value.get() == value)
      << "@" << value->name() << " is no weight of this module";
  return weights_[it->second];
}

int Module::RemoveUnusedWeights() {
  absl::flat_hash_set<const Value*> used;
  for (const auto& function : functions_) {
    for (const auto& [value, count] : function->UseCounts()) used.insert(value);
  }
  const size_t before = weights_.size();
  weights_.erase(
      std::remove_if(weights_.begin(), weights_.end(),
                     [&used](const Weight& weight) { return !used.contains(weight.value.get()); }),
      weights_.end());
  weight_index_.clear();
  for (size_t i = 0; i < weights_.size(); ++i) {
    weight_index_.emplace(weights_[i].value->name(), static_cast<int>(i));
  }
  return static_cast<int>(before - weights_.size());
}

Function* Module::AddFunction(std::string name) {
  return AddFunction(std::make_unique<Function>(std::move(name)));
}

Function* Module::AddFunction(std::unique_ptr<Function> function) {
  NINFER_CHECK(FindFunction(function->name()) == nullptr)
      << "function @" << function->name() << " is defined twice";
  functions_.push_back(std::move(function));
  return functions_.back().get();
}

Function* Module::FindFunction(absl::string_view name) const {
  for (const auto& function : functions_) {
    if (function->name() == name) return function.get();
  }
  return nullptr;
}

Function* Module::entry() const {
  Function* step = FindFunction("step");
  if (step != nullptr || functions_.size() != 1) return step;
  return functions_[0].get();
}

Module Module::Clone() const {
  Module copy(name_);
  copy.stage_ = stage_;
  copy.symbols_ = symbols_;
  absl::flat_hash_map<const Value*, Value*> weights;
  for (const Weight& weight : weights_) {
    Value* value = copy.AddWeight(weight.value->name(), weight.value->type());
    value->set_provenance(weight.value->provenance());
    copy.weights_.back().literal = weight.literal;
    weights.emplace(weight.value.get(), value);
  }
  for (const auto& function : functions_) {
    absl::flat_hash_map<const Value*, Value*> values = weights;
    copy.functions_.push_back(CloneFunction(*function, function->name(), values));
  }
  return copy;
}

// --- free functions ------------------------------------------------------------------------------

bool IsConstant(const Value* value) {
  // With a list of its own instead of recursion, each value once: a graph may be deep, and a value
  // may be reached along exponentially many paths.
  std::vector<const Value*> pending = {value};
  absl::flat_hash_set<const Value*> seen = {value};
  while (!pending.empty()) {
    const Value* next = pending.back();
    pending.pop_back();
    if (next->is_parameter()) return false;
    if (next->producer() == nullptr) continue;
    for (const Value* operand : next->producer()->operands()) {
      if (seen.insert(operand).second) pending.push_back(operand);
    }
  }
  return true;
}

std::unique_ptr<Function> CloneFunction(const Function& function, std::string name,
                                        absl::flat_hash_map<const Value*, Value*>& values) {
  auto copy = std::make_unique<Function>(std::move(name));
  const auto mapped = [&values](Value* value) {
    const auto it = values.find(value);
    return it == values.end() ? value : it->second;
  };
  for (const auto& parameter : function.parameters()) {
    Value* value = copy->AddParameter(parameter->name(), parameter->type());
    value->set_provenance(parameter->provenance());
    values[parameter.get()] = value;
  }
  for (const auto& node : function.nodes()) {
    std::vector<Value*> operands;
    for (Value* operand : node->operands()) operands.push_back(mapped(operand));
    std::vector<Type> types;
    for (int i = 0; i < node->num_results(); ++i) types.push_back(node->result(i)->type());
    Node* made = copy->Insert(node->op(), operands, types, node->attrs());
    if (node->body() != nullptr) {
      absl::flat_hash_map<const Value*, Value*> inner;
      made->set_body(CloneFunction(*node->body(), node->body()->name(), inner));
    }
    made->set_line(node->line());
    for (int i = 0; i < node->num_results(); ++i) {
      made->result(i)->set_name(node->result(i)->name());
      made->result(i)->set_provenance(node->result(i)->provenance());
      values[node->result(i)] = made->result(i);
    }
  }
  for (Value* result : function.results()) copy->results().push_back(mapped(result));
  return copy;
}

}  // namespace ninfer::ir
