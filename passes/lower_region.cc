// From nodes of @step to regions: an op that fusion left alone becomes a region by itself, so that
// one code path lowers both. A value that is a view of another is never stored: its consumers
// compute it.
// Tested by tests/program_passes_test.cc (tests/program/passes/lower.kp),
// tests/program_planner_test.cc.
#include <numeric>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "ir/text.h"
#include "passes/lower_internal.h"

namespace ninfer::passes::lowering {
namespace {

using ir::Op;
using ir::OpClass;
using program::Family;

absl::optional<Family> FamilyOf(const ir::Node& node) {
  switch (node.info().op_class) {
    case OpClass::kElementwise:
      if (node.op() == Op::kCausalMask) return absl::nullopt;
      return Family::kRowwise;
    case OpClass::kCast:
    case OpClass::kReduce:
    case OpClass::kGather:
      return Family::kRowwise;
    case OpClass::kView:
      if (node.op() != Op::kReshape && node.op() != Op::kSlice) return absl::nullopt;
      return Family::kRowwise;
    case OpClass::kMatmul:
      if (node.op() != Op::kLinear) return absl::nullopt;
      return Family::kLinear;
    case OpClass::kGroupedMatmul:
      return Family::kGroupedLinear;
    case OpClass::kTopK:
      if (node.op() == Op::kTopK) return Family::kRouting;
      if (node.op() != Op::kArgmax) return absl::nullopt;
      return Family::kArgmax;
    case OpClass::kQuantise:  // joins the linear that reads it
      return absl::nullopt;
    case OpClass::kAttention:
      return Family::kAttention;
    case OpClass::kState:
      if (node.op() == Op::kScratchPages) return Family::kPages;
      if (node.op() != Op::kKvAppend) return absl::nullopt;
      return Family::kKvAppend;
    case OpClass::kRegion:
      return program::FamilyFromName(node.attr_string("family"));
  }
  return absl::nullopt;
}

// The op and its place: in the checkpoint or in a file, else as the dump of the graph has it.
std::string Describe(const ir::Node& node, const Step& step) {
  const std::string& provenance = node.result()->provenance();
  std::string text = absl::StrCat("`", node.info().name, "`");
  if (!provenance.empty()) absl::StrAppend(&text, " of ", provenance);
  if (node.line() > 0) absl::StrAppend(&text, " (line ", node.line(), ")");
  if (!provenance.empty() || node.line() > 0) return text;
  return absl::StrCat(text, " (", PrintNode(step.function, node, step.symbols), ")");
}

absl::Status NoFamily(const ir::Node& node, const Step& step) {
  return InvalidArgument("lower: no kernel family takes ", Describe(node, step));
}

// What the value is after its transposes, as far back as these cancel out.
const ir::Value* BehindTransposes(const ir::Value* value) {
  std::vector<int64_t> axes(value->type().rank());
  std::iota(axes.begin(), axes.end(), 0);
  const std::vector<int64_t> in_place = axes;
  for (const ir::Value* at = value; at->producer() != nullptr;) {
    const ir::Node& node = *at->producer();
    if (node.op() != Op::kTranspose) break;
    for (int64_t& axis : axes) axis = node.attr_ints("perm")[axis];
    at = node.operand(0);
    if (axes == in_place) value = at;
  }
  return value;
}

std::unique_ptr<ir::Function> BodyAround(const ir::Node& node, std::vector<Source>& sources) {
  auto body = std::make_unique<ir::Function>("body");
  std::vector<ir::Value*> operands;
  for (const ir::Value* operand : node.operands()) {
    operands.push_back(body->AddParameter(absl::StrCat("p", sources.size()), operand->type()));
    sources.push_back({operand, -1});
  }
  std::vector<ir::Type> types;
  for (int i = 0; i < node.num_results(); ++i) types.push_back(node.result(i)->type());
  ir::Node* copy = body->Insert(node.op(), operands, types, node.attrs());
  for (int i = 0; i < node.num_results(); ++i) body->results().push_back(copy->result(i));
  return body;
}

bool IsPulledIn(const ir::Value* value) {
  const ir::Node* node = value->producer();
  if (node == nullptr) return false;
  if (value->type().rank() == 0 && ir::IsConstant(value)) return true;
  const OpClass op_class = node->info().op_class;
  return (op_class == OpClass::kView || op_class == OpClass::kQuantise) && !ir::IsConstant(value);
}

// The parameter that stands for `value`, which is added when there is none.
ir::Value* ParameterFor(Region& region, const ir::Value* value) {
  for (size_t i = 0; i < region.sources.size(); ++i) {
    if (region.sources[i].value == value) return region.body->parameters()[i].get();
  }
  region.sources.push_back({value, -1});
  return region.body->AddParameter(absl::StrCat("q", region.sources.size()), value->type());
}

void RemoveParameterAt(Region& region, size_t index) {
  region.body->RemoveParameter(region.body->parameters()[index].get());
  region.sources.erase(region.sources.begin() + index);
}

// Parameters in the order of their first use, whatever order they were found in, so that equal
// bodies take equal operands.
void SortParameters(Region& region) {
  std::vector<const ir::Value*> order;
  absl::flat_hash_set<const ir::Value*> seen;
  const auto note = [&](const ir::Value* value) {
    if (value->is_parameter() && seen.insert(value).second) order.push_back(value);
  };
  for (const auto& node : region.body->nodes()) {
    for (const ir::Value* operand : node->operands()) note(operand);
  }
  for (const ir::Value* result : region.body->results()) note(result);

  auto body = std::make_unique<ir::Function>("body");
  absl::flat_hash_map<const ir::Value*, ir::Value*> values;
  std::vector<Source> sources;
  for (const ir::Value* value : order) {
    values[value] = body->AddParameter(value->name(), value->type());
    for (size_t i = 0; i < region.sources.size(); ++i) {
      if (region.body->parameters()[i].get() == value) sources.push_back(region.sources[i]);
    }
  }
  for (const auto& node : region.body->nodes()) {
    std::vector<ir::Value*> operands;
    for (const ir::Value* operand : node->operands()) operands.push_back(values.at(operand));
    const ir::Type types[] = {node->result()->type()};
    values[node->result()] = body->Insert(node->op(), operands, types, node->attrs())->result();
  }
  for (const ir::Value* result : region.body->results()) {
    body->results().push_back(values.at(result));
  }
  region.body = std::move(body);
  region.sources = std::move(sources);
}

}  // namespace

absl::StatusOr<Region> MakeRegion(const ir::Node& node, const Step& step) {
  const absl::optional<Family> family = FamilyOf(node);
  if (!family.has_value()) {
    if (node.op() == Op::kFused) {
      return InvalidArgument("lower: region of ", node.result()->provenance(), ": family \"",
                             node.attr_string("family"), "\" is unknown");
    }
    return NoFamily(node, step);
  }
  Region region;
  region.family = *family;
  region.name = Describe(node, step);
  region.provenance = node.result()->provenance();
  if (node.op() == Op::kFused) {
    absl::flat_hash_map<const ir::Value*, ir::Value*> values;
    region.body = ir::CloneFunction(*node.body(), "body", values);
    for (const ir::Value* operand : node.operands()) region.sources.push_back({operand, -1});
  } else {
    region.body = BodyAround(node, region.sources);
  }
  for (int i = 0; i < node.num_results(); ++i) region.results.push_back(node.result(i));
  return region;
}

absl::Status PullIn(Region& region, const Step& step) {
  ir::Function& body = *region.body;
  for (size_t i = 0; i < region.sources.size();) {
    ir::Value* parameter = body.parameters()[i].get();
    const ir::Value* value = region.sources[i].value;
    if (body.CountUses(parameter) == 0) {
      RemoveParameterAt(region, i);
      continue;
    }
    if (value == nullptr) {
      ++i;
      continue;
    }
    region.sources[i].value = value = BehindTransposes(value);
    ir::Value* first = ParameterFor(region, value);
    if (first != parameter) {  // the value is an operand twice
      body.ReplaceAllUses(parameter, first);
      RemoveParameterAt(region, i);
      continue;
    }
    if (!IsPulledIn(value)) {
      ++i;
      continue;
    }
    const ir::Node& node = *value->producer();
    if (node.op() == Op::kTranspose) return NoFamily(node, step);
    std::vector<ir::Value*> operands;
    for (const ir::Value* operand : node.operands())
      operands.push_back(ParameterFor(region, operand));
    const ir::Node* front = body.nodes().empty() ? nullptr : body.nodes()[0].get();
    const ir::Type types[] = {value->type()};
    ir::Node* copy = body.Insert(node.op(), operands, types, node.attrs(), front);
    body.ReplaceAllUses(parameter, copy->result());
    RemoveParameterAt(region, i);
    i = 0;  // the new parameters may be views too
  }
  SortParameters(region);
  return absl::OkStatus();
}

}  // namespace ninfer::passes::lowering
