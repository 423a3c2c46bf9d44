// Views, rows and aliasing of kernel bodies.
// Tested by tests/program_body_test.cc.
#include "program/body.h"

#include "absl/algorithm/container.h"
#include "base/status.h"
#include "program/scratch.h"

namespace ninfer::program {
namespace {

bool StaticColumns(const ir::Type& type) {
  for (int i = 1; i < type.rank(); ++i) {
    if (!type.shape[i].is_static()) return false;
  }
  return type.rank() >= 1;
}

bool IsView(const ir::Node* node) {
  return node != nullptr && node->info().op_class == ir::OpClass::kView;
}

// True when `value` is `source`, or computed from it by views alone.
bool IsViewOf(const ir::Value* value, const ir::Value* source) {
  while (value != source && IsView(value->producer())) value = value->producer()->operand(0);
  return value == source;
}

}  // namespace

bool IsPointwise(const ir::Node& node) {
  return (node.info().op_class == ir::OpClass::kElementwise && node.op() != ir::Op::kRope &&
          node.op() != ir::Op::kCausalMask) ||
         node.info().op_class == ir::OpClass::kCast;
}

absl::optional<ColumnRange> ResolveColumns(const ir::Value* value) {
  if (!StaticColumns(value->type())) return absl::nullopt;
  ColumnRange range{value, 0, Columns(value->type())};
  while (IsView(range.root->producer())) {
    const ir::Node& node = *range.root->producer();
    const ir::Type& source = node.operand(0)->type();
    if (!StaticColumns(source) || source.shape[0] != range.root->type().shape[0]) {
      return absl::nullopt;
    }
    if (node.op() == ir::Op::kSlice) {
      const int axis = static_cast<int>(node.attr_int("axis"));
      int64_t outer = 1, inner = 1;
      for (int i = 1; i < source.rank(); ++i) {
        if (i < axis) outer *= source.shape[i].offset;
        if (i > axis) inner *= source.shape[i].offset;
      }
      if (axis < 1 || outer != 1) return absl::nullopt;
      range.offset += node.attr_int("begin") * inner;
    } else if (node.op() != ir::Op::kReshape) {
      return absl::nullopt;
    }
    range.root = node.operand(0);
  }
  return range;
}

const ir::Node* FindNode(const ir::Function& body, ir::Op op) {
  for (const auto& node : body.nodes()) {
    if (node->op() == op) return node.get();
  }
  return nullptr;
}

const ir::Node* LinearOf(const ir::Function& body) {
  const ir::Node* linear = FindNode(body, ir::Op::kLinear);
  return linear != nullptr ? linear : FindNode(body, ir::Op::kGroupedLinear);
}

const ir::Node* InputQuantiser(const ir::Node& linear) {
  const ir::Node* node = linear.operand(0)->producer();
  return node != nullptr && node->op() == ir::Op::kQuantise ? node : nullptr;
}

const ir::Value* LinearInput(const ir::Node& linear) {
  const ir::Node* quantiser = InputQuantiser(linear);
  return quantiser != nullptr ? quantiser->operand(0) : linear.operand(0);
}

bool IsParts(const ir::Node& node) {
  return node.op() == ir::Op::kMaxParts || node.op() == ir::Op::kArgmaxParts;
}

int ParameterIndex(const ir::Function& body, const ir::Value* value) {
  const auto parameters = body.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].get() == value) return static_cast<int>(i);
  }
  return -1;
}

int NumOutputs(const Kernel& kernel) {
  int outputs = 0;
  for (const ir::Value* result : kernel.body->results()) outputs += result->type().is_kv ? 0 : 1;
  const ir::Node* attention = FindNode(*kernel.body, ir::Op::kPagedAttention);
  if (attention != nullptr && attention->attr_string("form") == "naive") ++outputs;
  return outputs;
}

Units UnitsOf(const Kernel& kernel) {
  Units units;
  switch (kernel.family) {
    case Family::kLinear: {
      const ir::Node* linear = FindNode(*kernel.body, ir::Op::kLinear);
      const int index = ParameterIndex(*kernel.body, linear->operand(1));
      const int64_t columns =
          linear->result()->type().shape.back().offset / kernel.params[index].segments;
      units.factor = (columns + formats::kPanelColumns - 1) / formats::kPanelColumns;
      return units;
    }
    case Family::kGroupedLinear:
      units.factor = (LinearOf(*kernel.body)->result()->type().shape.back().offset +
                      formats::kPanelColumns - 1) /
                     formats::kPanelColumns;
      return units;
    case Family::kRouting:
    case Family::kArgmax:
    case Family::kRowwise:
      units.symbol = kernel.body->results()[0]->type().shape[0].symbol;
      return units;
    case Family::kKvAppend:
    case Family::kAttention: {
      const ir::Node* append = FindNode(*kernel.body, ir::Op::kKvAppend);
      const ir::Value* rows = append != nullptr
                                  ? append->operand(1)
                                  : FindNode(*kernel.body, ir::Op::kPagedAttention)->operand(0);
      units.factor = kernel.kv.heads * kAttentionParts;
      units.symbol = rows->type().shape[0].symbol;
      units.block = kAttentionTokens;
      return units;
    }
    case Family::kPages:
      return units;
  }
  return units;
}

KvLayout KvOf(const ir::Function& body) {
  for (const auto& parameter : body.parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv || type.rank() != 2) continue;
    return {type.dtype, type.shape[0].offset, type.shape[1].offset};
  }
  return {};
}

int64_t BufferLd(const ir::Type& type) {
  if (type.rank() < 2) return 1;
  return StaticColumns(type) ? LeadingDimension(Columns(type)) : 0;
}

int64_t BufferBytes(const ir::Type& type, absl::Span<const ir::Symbol> symbols) {
  const int64_t ld = BufferLd(type);
  if (ld == 0 || type.rank() == 0) return ir::MaxBytes(type, symbols);
  return ir::MaxBytes({type.dtype, {type.shape[0], ir::Dim::Static(ld)}}, symbols);
}

bool ReadsRowByRow(const Kernel& kernel, int index) {
  if (kernel.family != Family::kRowwise) return false;
  const ir::Value* parameter = kernel.body->parameters()[index].get();
  for (const auto& node : kernel.body->nodes()) {
    for (size_t i = 0; i < node->operands().size(); ++i) {
      if (!IsViewOf(node->operand(static_cast<int>(i)), parameter)) continue;
      const bool gathers = node->info().op_class == ir::OpClass::kGather && i == 0 &&
                           node->op() == ir::Op::kGatherRows;
      if (gathers) return false;
    }
  }
  return true;
}

bool MayOverwrite(const Kernel& kernel, int index) {
  if (kernel.family != Family::kRowwise && kernel.family != Family::kLinear) return false;
  if (kernel.body->results().size() != 1) return false;
  const ir::Value* parameter = kernel.body->parameters()[index].get();
  const ir::Type& result = kernel.body->results()[0]->type();
  if (parameter->type() != result) return false;
  for (const auto& node : kernel.body->nodes()) {
    const bool uses = absl::c_linear_search(node->operands(), parameter);
    if (kernel.family == Family::kRowwise && !IsPointwise(*node)) return false;
    if (!uses) continue;
    // The linear's own input, and a slice of this buffer, are read at other places.
    if (!IsPointwise(*node) || node->result()->type().shape != result.shape) return false;
  }
  return true;
}

}  // namespace ninfer::program
