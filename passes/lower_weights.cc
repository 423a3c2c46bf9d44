// Weights of a program: which constant expressions are stored, in which format, under which name.
// Equal expressions are found by numbering values from the leaves up, so that sharing needs no CSE
// pass before and a deep expression needs no recursion. An embedding whose table a linear reads too
// (a tied head) gathers from the linear's panels: the table is stored once.
// Tested by tests/program_passes_test.cc (tests/program/passes/lower.kp),
// tests/program_planner_test.cc.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "ir/text.h"
#include "passes/lower_internal.h"
#include "passes/weight_name.h"

namespace ninfer::passes::lowering {
namespace {

using ir::Op;

// Elements of an expression whose arithmetic the packer does: biases, norm weights and the like.
constexpr int64_t kMaxComputed = 1 << 22;

// What the packer evaluates.
bool IsWeightOp(const ir::Node& node) {
  switch (node.info().op_class) {
    case ir::OpClass::kView:
      return node.op() != Op::kRepeat;
    case ir::OpClass::kCast:
      return true;
    case ir::OpClass::kElementwise:
      return ir::MaxBytes(node.result()->type(), {}) <= kMaxComputed * int64_t{4};
    default:
      return false;
  }
}

struct AttrKey {
  std::string operator()(int64_t value) const { return absl::StrCat(value); }
  std::string operator()(double value) const { return absl::StrFormat("%.17g", value); }
  std::string operator()(bool value) const { return absl::StrCat(value); }
  std::string operator()(const std::string& value) const { return value; }
  std::string operator()(const std::vector<int64_t>& value) const {
    return absl::StrJoin(value, ",");
  }
};

}  // namespace

WeightTable::WeightTable(const ir::Module& module, const ir::Function& step) : module_(module) {
  for (const ir::Weight& weight : module.weights()) {
    Intern(absl::StrCat("@", weight.value->name()), weight.value.get(), {});
  }
  for (const auto& node : step.nodes()) {
    if (node->num_results() != 1) continue;
    std::vector<int> operands;
    for (const ir::Value* operand : node->operands()) {
      const int number = Number(operand);
      if (number >= 0) operands.push_back(number);
    }
    if (operands.size() != node->operands().size()) continue;
    std::string key = absl::StrCat(node->info().name, "(", absl::StrJoin(operands, ","),
                                   "):", TypeToString(node->result()->type(), module.symbols()));
    for (const ir::Attr& attr : node->attrs()) {
      absl::StrAppend(&key, ";", attr.name, "=", std::visit(AttrKey{}, attr.value));
    }
    Intern(std::move(key), node->result(), std::move(operands));
  }
}

int WeightTable::Number(const ir::Value* value) const {
  const auto it = numbers_.find(value);
  return it == numbers_.end() ? -1 : it->second;
}

int WeightTable::Intern(std::string key, const ir::Value* value, std::vector<int> operands) {
  const auto [it, added] = by_key_.emplace(std::move(key), static_cast<int>(expressions_.size()));
  if (added) expressions_.push_back({value, std::move(operands)});
  numbers_[value] = it->second;
  return it->second;
}

void WeightTable::NotePanel(const ir::Value* value) {
  if (Number(value) >= 0) panels_.insert(Number(value));
}

absl::StatusOr<int> WeightTable::Panel(const ir::Value* value, int64_t segments) {
  return Add(value, true, segments);
}

absl::StatusOr<int> WeightTable::Table(const ir::Value* value) {
  return Add(value, panels_.contains(Number(value)), 1);
}

absl::StatusOr<int> WeightTable::Plain(const ir::Value* value) { return Add(value, false, 1); }

std::vector<int> WeightTable::Reachable(const std::vector<int>& numbers) const {
  std::vector<int> pending = numbers;
  absl::flat_hash_set<int> seen(numbers.begin(), numbers.end());
  while (!pending.empty()) {
    const int number = pending.back();
    pending.pop_back();
    for (int operand : expressions_[number].operands) {
      if (seen.insert(operand).second) pending.push_back(operand);
    }
  }
  std::vector<int> sorted(seen.begin(), seen.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

absl::Status WeightTable::CheckExpression(int number) const {
  const ir::Type& type = expressions_[number].value->type();
  const std::string text = TypeToString(type, module_.symbols());
  std::string leaf;
  for (int part : Reachable({number})) {
    const ir::Value* value = expressions_[part].value;
    if (value->is_weight()) {
      if (leaf.empty()) leaf = absl::StrCat("@", value->name());
    } else if (!IsWeightOp(*value->producer())) {
      return InvalidArgument("lower: weight expression of ", leaf,
                             ": expected views, casts and small arithmetic, found `",
                             value->producer()->info().name, "`");
    }
  }
  const bool stored =
      type.dtype == DType::kF32 || type.dtype == DType::kBF16 || type.dtype == DType::kF16;
  bool is_static = type.rank() >= 1 && type.rank() <= 3;
  for (const ir::Dim& dim : type.shape) is_static &= dim.is_static();
  if (!stored || !is_static) {
    return InvalidArgument("lower: weight ", leaf,
                           ": expected f32, bf16 or f16 of rank 1 to 3, found ", text);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> WeightTable::Add(const ir::Value* value, bool panel, int64_t segments) {
  const int number = Number(value);
  NINFER_CHECK(number >= 0) << "a weight that is no constant expression";
  // The format does what quantise says: unpack(pack(w)) is its value.
  const ir::Node* node = value->producer();
  const bool quantised = panel && node != nullptr && node->op() == Op::kQuantise;
  const int source = quantised ? Number(node->operand(0)) : number;
  NINFER_RETURN_IF_ERROR(CheckExpression(source));
  const auto [it, added] =
      index_.emplace(absl::StrCat(number, panel ? " panel " : " plain ", segments),
                     static_cast<int>(weights_.size()));
  if (!added) return it->second;
  const ir::Type& type = value->type();
  program::PackedWeight weight;
  weight.format = panel ? formats::PanelFormat(type.dtype) : formats::PlainFormat(type.dtype);
  if (quantised) {
    const QuantiseScheme* scheme = FindQuantiseScheme(node->attr_string("scheme"));
    const absl::optional<formats::Format> format = formats::PanelFormat(*scheme);
    if (!format) {
      return InvalidArgument("lower: weight ", NameFor(source), ": expected a scheme for weights, ",
                             "found ", scheme->name);
    }
    weight.format = *format;
  }
  const bool experts = type.rank() == 3;
  if (experts && (!panel || segments != type.shape[0].offset)) {
    return InvalidArgument("lower: weight ", NameFor(source), ": expected a matrix, found ",
                           TypeToString(type, module_.symbols()));
  }
  weight.shape.n = experts            ? type.shape[1].offset
                   : type.rank() == 1 ? 1
                                      : type.shape[0].offset / segments;
  weight.shape.k = type.shape.back().offset;
  weight.shape.segments = segments;
  weight.bytes = formats::PackedBytes(weight.format, weight.shape);
  weight.name = NameFor(source);
  weights_.push_back(std::move(weight));
  sources_.push_back(source);
  return it->second;
}

// The tensors it is made of (JoinWeightNames); a slice says its range.
std::string WeightTable::NameFor(int number) {
  std::vector<absl::string_view> names;
  const ir::Node* outer = expressions_[number].value->producer();
  for (int part : Reachable({number})) {
    const ir::Value* value = expressions_[part].value;
    if (value->is_weight()) names.push_back(value->name());
  }
  std::string base = JoinWeightNames(names);
  if (outer != nullptr && outer->op() == Op::kSlice) {
    absl::StrAppend(&base, "/", outer->attr_int("begin"), "-", outer->attr_int("end"));
  }
  std::string name = base;
  for (int i = 2; !names_.insert(name).second; ++i) name = absl::StrCat(base, "/", i);
  return name;
}

void WeightTable::Finish(program::Program& program) {
  auto module = std::make_unique<ir::Module>(module_.name());
  module->set_stage(module_.stage());
  ir::Function* function = module->AddFunction("weights");
  absl::flat_hash_map<int, ir::Value*> made;
  for (int number : Reachable(sources_)) {
    const ir::Value* value = expressions_[number].value;
    if (value->is_weight()) {
      const std::vector<float>& literal = module_.WeightOf(value).literal;
      ir::Value* copy = literal.empty() ? module->AddWeight(value->name(), value->type())
                                        : module->AddLiteral(value->name(), literal);
      copy->set_provenance(value->provenance());
      made[number] = copy;
      continue;
    }
    std::vector<ir::Value*> operands;
    for (int operand : expressions_[number].operands) operands.push_back(made.at(operand));
    const ir::Type types[] = {value->type()};
    made[number] =
        function->Insert(value->producer()->op(), operands, types, value->producer()->attrs())
            ->result();
  }
  for (size_t i = 0; i < weights_.size(); ++i) {
    weights_[i].source = made.at(sources_[i]);
    function->results().push_back(made.at(sources_[i]));
  }
  program.weights_module = std::move(module);
  program.weights = std::move(weights_);
}

}  // namespace ninfer::passes::lowering
