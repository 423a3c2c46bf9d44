// What each family takes; everything else is refused, by the node's text. Checked for every kernel:
// - all: inputs, then outputs; an output has its result's type and no use; a weight is of panels
//   where a linear reads it, of plain rows or panels where an embedding does, of plain rows
//   elsewhere;
// - linear: one linear over a stretch of an input's columns and a panel weight; in the epilogue,
//   elementwise ops and casts of values that are as wide as the result, of [N] weights and of
//   constants; with two segments the result is read through its two halves alone; of a result of
//   one segment the largest column of each panel, max_parts and argmax_parts, which are results;
// - argmax: one argmax over a stretch of an input's columns, or one argmax_of two inputs;
// - rowwise: elementwise ops, casts, reductions, rope, gathers, reshapes that keep the rows and
//   slices of a row's elements, whose columns can be computed together (columns.h); every result
//   has the same rows;
// - kv_append: rowwise ops, then one kv_append, which is the only result;
// - attention: one paged_attention over a stretch of columns, then reshapes and casts;
// - pages: one scratch_pages.
// Not checked here: types and attributes of the nodes, which ir::VerifyFunction checks.
//
// Tested by tests/program_body_test.cc, tests/program_verifier_test.cc.
#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "ir/text.h"
#include "program/body.h"
#include "program/columns.h"
#include "program/scratch.h"

namespace ninfer::program {
namespace {

using ir::Op;
using ir::OpClass;

class BodyChecker {
 public:
  BodyChecker(const Kernel& kernel, absl::Span<const ir::Symbol> symbols)
      : kernel_(kernel), body_(*kernel.body), symbols_(symbols) {}

  absl::Status Check() {
    NINFER_RETURN_IF_ERROR(CheckParameters());
    switch (kernel_.family) {
      case Family::kLinear:
      case Family::kGroupedLinear:
        return CheckLinear();
      case Family::kRouting:
        return CheckRouting();
      case Family::kArgmax:
        return CheckArgmax();
      case Family::kRowwise:
        return CheckRowwise();
      case Family::kKvAppend:
        return CheckKvAppend();
      case Family::kAttention:
        return CheckAttention();
      case Family::kPages:
        if (body_.nodes().size() == 1 && body_.nodes()[0]->op() == Op::kScratchPages) {
          return absl::OkStatus();
        }
        return InvalidArgument("expected one scratch_pages, found ", body_.nodes().size(),
                               " nodes");
    }
    return InvalidArgument("unknown family");
  }

 private:
  std::string Text(const ir::Node& node) const {
    std::string text =
        absl::StrCat("`", node.info().name, "` (", PrintNode(body_, node, symbols_), ")");
    const std::string& provenance = node.num_results() > 0 ? node.result()->provenance() : "";
    return provenance.empty() ? text : absl::StrCat(text, " of ", provenance);
  }
  absl::Status Refuse(const ir::Node& node, absl::string_view expected) const {
    return InvalidArgument("family ", FamilyName(kernel_.family), " expects ", expected, ", found ",
                           Text(node));
  }
  const KernelParam* ParamOf(const ir::Value* value) const {
    const int index = ParameterIndex(body_, value);
    return index < 0 ? nullptr : &kernel_.params[index];
  }
  bool IsWeight(const ir::Value* value) const {
    const KernelParam* param = ParamOf(value);
    return param != nullptr && param->kind == OperandKind::kWeight;
  }
  static bool IsConstant(const ir::Value* value) {
    return value->producer() != nullptr && value->producer()->op() == Op::kConstant;
  }

  absl::Status CheckParameters() const;
  absl::Status CheckWeightUses() const;
  absl::Status CheckLinear();
  absl::Status CheckQuantised(const ir::Node& linear) const;
  absl::Status CheckSegments(const ir::Node& linear, int64_t segments);
  absl::Status CheckEpilogue(const ir::Node& linear, const ir::Type& result);
  absl::Status CheckParts(const ir::Node& linear, const ir::Node& parts) const;
  absl::Status CheckRouting() const;
  absl::Status CheckArgmax() const;
  absl::Status CheckStepRows(const ir::Node& node, const ir::Type& type) const;
  absl::Status CheckRowwise() const;
  absl::Status CheckRowNode(const ir::Node& node, const ir::Dim& rows) const;
  absl::Status CheckColumns(const ir::Value* value) const;
  absl::Status CheckKvAppend() const;
  absl::Status CheckAttention() const;

  const Kernel& kernel_;
  const ir::Function& body_;
  absl::Span<const ir::Symbol> symbols_;
};

absl::Status BodyChecker::CheckParameters() const {
  const auto parameters = body_.parameters();
  if (parameters.size() != kernel_.params.size()) {
    return InvalidArgument("expected ", parameters.size(), " parameters as in the body, found ",
                           kernel_.params.size());
  }
  const int outputs = NumOutputs(kernel_);
  const int inputs = static_cast<int>(parameters.size()) - outputs;
  if (inputs < 0) return InvalidArgument("expected a parameter for each result");
  const auto uses = body_.UseCounts();
  std::vector<const ir::Value*> results;
  for (const ir::Value* result : body_.results()) {
    if (!result->type().is_kv) results.push_back(result);
  }
  for (int i = 0; i < outputs; ++i) {
    const ir::Value* output = parameters[inputs + i].get();
    const KernelParam& param = kernel_.params[inputs + i];
    if (uses.contains(output)) {
      return InvalidArgument("output %", output->name(), ": expected no use in the body");
    }
    if (param.kind != OperandKind::kBuffer || !param.written) {
      return InvalidArgument("output %", output->name(), ": expected a buffer that is written");
    }
    if (i < static_cast<int>(results.size()) && output->type() != results[i]->type()) {
      return InvalidArgument("output %", output->name(), ": expected the result's type ",
                             TypeToString(results[i]->type(), symbols_), ", found ",
                             TypeToString(output->type(), symbols_));
    }
  }
  for (int i = 0; i < inputs; ++i) {
    const bool appended = kernel_.family == Family::kKvAppend && parameters[i]->type().is_kv;
    if (kernel_.params[i].written != appended) {
      return InvalidArgument("input %", parameters[i]->name(), ": expected to be ",
                             appended ? "written" : "read only");
    }
    const bool kv = parameters[i]->type().is_kv;
    const OperandKind kind = kernel_.params[i].kind;
    if (kv ? (kind != OperandKind::kKv && kind != OperandKind::kBuffer)
           : kind == OperandKind::kKv) {
      return InvalidArgument("input %", parameters[i]->name(), ": a KV pool is one of kv<..>");
    }
  }
  return CheckWeightUses();
}

absl::Status BodyChecker::CheckWeightUses() const {
  for (const auto& node : body_.nodes()) {
    for (size_t i = 0; i < node->operands().size(); ++i) {
      const ir::Value* operand = node->operand(static_cast<int>(i));
      if (!IsWeight(operand)) continue;
      const bool panel = formats::InfoOf(ParamOf(operand)->format).is_panel;
      const bool linear = i == 1 && (node->op() == Op::kLinear || node->op() == Op::kGroupedLinear);
      const bool table = node->op() == Op::kEmbedding && i == 1;
      if (!linear && ParamOf(operand)->segments != 1) {
        return Refuse(*node, absl::StrCat("one segment in %", operand->name()));
      }
      if (panel ? !linear && !table : linear) {
        return Refuse(*node,
                      absl::StrCat(panel ? "plain rows" : "panels", " for %", operand->name()));
      }
    }
  }
  return absl::OkStatus();
}

// --- linear --------------------------------------------------------------------------------------

absl::Status BodyChecker::CheckLinear() {
  const bool grouped = kernel_.family == Family::kGroupedLinear;
  const absl::string_view family = FamilyName(kernel_.family);
  const ir::Node* linear = FindNode(body_, grouped ? Op::kGroupedLinear : Op::kLinear);
  if (linear == nullptr) {
    return InvalidArgument("family ", family, " expects a ", family, ", found none");
  }
  const absl::optional<ColumnRange> x = ResolveColumns(LinearInput(*linear));
  const int rank = linear->operand(0)->type().rank();
  if (!x.has_value() || ParamOf(x->root) == nullptr || (rank != 2 && !(grouped && rank == 3))) {
    return Refuse(*linear, "rows of an input, or a stretch of columns of it");
  }
  if (!IsWeight(linear->operand(1))) return Refuse(*linear, "a weight as second operand");
  NINFER_RETURN_IF_ERROR(CheckQuantised(*linear));
  const int64_t segments = ParamOf(linear->operand(1))->segments;
  if (!grouped) {
    NINFER_RETURN_IF_ERROR(CheckSegments(*linear, segments));
  } else if (segments != linear->operand(1)->type().shape[0].offset ||
             ParamOf(linear->operand(2)) == nullptr) {
    return Refuse(*linear, "a segment for each expert, and an input's numbers of experts");
  }
  if (body_.results().empty()) {
    return InvalidArgument("family ", family, " expects a result, found none");
  }
  for (const ir::Value* result : body_.results()) {
    const bool parts = result->producer() != nullptr && IsParts(*result->producer());
    if (!parts && result->type().shape != body_.results()[0]->type().shape) {
      return InvalidArgument("family linear expects results of one shape, found ",
                             TypeToString(body_.results()[0]->type(), symbols_), " and ",
                             TypeToString(result->type(), symbols_));
    }
  }
  return CheckEpilogue(*linear, body_.results()[0]->type());
}

// Integers are multiplied by weights of integers, block by block.
absl::Status BodyChecker::CheckQuantised(const ir::Node& linear) const {
  const QuantiseScheme* weights = formats::InfoOf(ParamOf(linear.operand(1))->format).scheme;
  const ir::Node* quantiser = InputQuantiser(linear);
  if (quantiser == nullptr) return absl::OkStatus();
  if (weights == nullptr) return Refuse(linear, "a quantised weight beside a quantised input");
  const QuantiseScheme* input = FindQuantiseScheme(quantiser->attr_string("scheme"));
  const bool groups = input->group == kQuantisedGroup || input->group == 0;
  if (input->scale != DType::kF32 || !groups) {
    return Refuse(*quantiser, "a scheme with scales of f32, of groups of 32 or of whole rows");
  }
  return absl::OkStatus();
}

absl::Status BodyChecker::CheckSegments(const ir::Node& linear, int64_t segments) {
  const ir::Value* y = linear.result();
  if (segments == 1) return absl::OkStatus();
  const int64_t width = y->type().shape.back().offset;
  if (segments != 2 || width % 2 != 0) return Refuse(linear, "one or two segments of equal width");
  if (absl::c_linear_search(body_.results(), y))
    return Refuse(linear, "its halves to be read apart");
  for (const auto& node : body_.nodes()) {
    if (!absl::c_linear_search(node->operands(), y)) continue;
    const bool half = node->op() == Op::kSlice && node->attr_int("axis") == y->type().rank() - 1 &&
                      node->attr_int("begin") % (width / 2) == 0 &&
                      node->attr_int("end") - node->attr_int("begin") == width / 2;
    if (!half) return Refuse(*node, "slices that halve the linear's result");
  }
  return absl::OkStatus();
}

absl::Status BodyChecker::CheckEpilogue(const ir::Node& linear, const ir::Type& result) {
  bool behind = false;  // views before the linear belong to its input or to another
  for (const auto& node : body_.nodes()) {
    if (node.get() == &linear) {
      behind = true;
      continue;
    }
    if (node->op() == Op::kConstant || node.get() == InputQuantiser(linear)) continue;
    if (IsParts(*node)) {
      NINFER_RETURN_IF_ERROR(CheckParts(linear, *node));
      continue;
    }
    if (node->info().op_class == OpClass::kView) {
      const absl::optional<ColumnRange> range = ResolveColumns(node->result());
      const bool of_input = range.has_value() && ParamOf(range->root) != nullptr;
      const bool of_segment = range.has_value() && range->root == linear.result() && behind &&
                              linear.op() == Op::kLinear &&
                              ParamOf(linear.operand(1))->segments == 2;
      if (!of_input && !of_segment) return Refuse(*node, "views of inputs alone");
      continue;
    }
    if (!IsPointwise(*node)) return Refuse(*node, "elementwise ops and casts after the linear");
    if (node->result()->type().shape != result.shape) {
      return Refuse(*node, absl::StrCat("the result's shape ", TypeToString(result, symbols_)));
    }
    for (const ir::Value* operand : node->operands()) {
      const bool wide = operand->type().shape == result.shape;
      const bool row = IsWeight(operand) && operand->type().rank() == 1 &&
                       operand->type().shape[0] == result.shape.back();
      const bool parts = operand->producer() != nullptr && IsParts(*operand->producer());
      if ((!wide && !row && !IsConstant(operand)) || parts) {
        return Refuse(*node, "operands as wide as the result, [N] weights and constants");
      }
    }
  }
  return absl::OkStatus();
}

// Of what is stored, panel by panel.
absl::Status BodyChecker::CheckParts(const ir::Node& linear, const ir::Node& parts) const {
  const bool stored = absl::c_linear_search(body_.results(), parts.operand(0)) &&
                      parts.operand(0) != parts.result() &&
                      parts.operand(0)->type().shape == linear.result()->type().shape;
  const bool one = linear.op() == Op::kLinear && ParamOf(linear.operand(1))->segments == 1;
  if (!stored || !one || parts.attr_int("columns") != formats::kPanelColumns) {
    return Refuse(parts, "the largest of each panel of a result in f32");
  }
  const ir::Node* values = FindNode(body_, Op::kMaxParts);
  const ir::Node* ids = FindNode(body_, Op::kArgmaxParts);
  const bool both = values != nullptr && ids != nullptr && values->operand(0) == ids->operand(0);
  const bool result = absl::c_count(body_.results(), parts.result()) == 1;
  if (!both || !result || body_.results()[0] == parts.result() ||
      (&parts != values && &parts != ids)) {
    return Refuse(parts, "max_parts and argmax_parts of one result, as results behind it");
  }
  return absl::OkStatus();
}

// --- rowwise and kv_append -----------------------------------------------------------------------

absl::Status BodyChecker::CheckRowNode(const ir::Node& node, const ir::Dim& rows) const {
  const OpClass op_class = node.info().op_class;
  const bool known = (op_class == OpClass::kElementwise && node.op() != Op::kCausalMask) ||
                     op_class == OpClass::kCast || op_class == OpClass::kReduce ||
                     op_class == OpClass::kGather || node.op() == Op::kReshape ||
                     node.op() == Op::kSlice;
  if (!known)
    return Refuse(node, "elementwise ops, casts, norms, softmax, gathers and views of rows");
  if (node.op() == Op::kConstant) return absl::OkStatus();
  const ir::Type& type = node.result()->type();
  if (node.op() == Op::kReshape || node.op() == Op::kSlice) {
    const bool keeps_rows = node.operand(0)->type().rank() > 0 && type.rank() > 0 &&
                            node.operand(0)->type().shape[0] == type.shape[0] &&
                            (node.op() == Op::kReshape || node.attr_int("axis") > 0);
    if (!keeps_rows) return Refuse(node, "views that keep the rows");
    if (ParamOf(node.operand(0)) != nullptr) return absl::OkStatus();  // perhaps a gather's source
  }
  if (node.op() == Op::kEmbedding && !IsWeight(node.operand(1))) {
    return Refuse(node, "a weight as table");
  }
  if (node.op() == Op::kGatherRows) {
    const absl::optional<ColumnRange> source = ResolveColumns(node.operand(0));
    if (!source.has_value() || ParamOf(source->root) == nullptr) {
      return Refuse(node, "rows of an input");
    }
  }
  if (type.rank() < 1 || type.shape[0] != rows) {
    return Refuse(node, absl::StrCat("rows ", DimToString(rows, symbols_)));
  }
  for (int i = 1; i < type.rank(); ++i) {
    if (!type.shape[i].is_static()) return Refuse(node, "static dimensions after the rows");
  }
  return absl::OkStatus();
}

absl::Status BodyChecker::CheckRouting() const {
  const ir::Node* top = FindNode(body_, Op::kTopK);
  if (top == nullptr || body_.results().size() != 1 || body_.results()[0] != top->result()) {
    return InvalidArgument("family routing expects one top_k as its only result");
  }
  const absl::optional<ColumnRange> x = ResolveColumns(top->operand(0));
  if (!x.has_value() || ParamOf(x->root) == nullptr || !IsFloat(x->root->type().dtype)) {
    return Refuse(*top, "rows of an input, or a stretch of columns of it");
  }
  for (const auto& node : body_.nodes()) {
    const bool view = node->op() == Op::kReshape || node->op() == Op::kSlice;
    if (node.get() != top && !view) return Refuse(*node, "views before the top_k");
  }
  return CheckStepRows(*top, top->result()->type());
}

absl::Status BodyChecker::CheckArgmax() const {
  const ir::Node* of = FindNode(body_, Op::kArgmaxOf);
  const ir::Node* node = of != nullptr ? of : FindNode(body_, Op::kArgmax);
  if (node == nullptr || body_.results().size() != 1 || body_.results()[0] != node->result()) {
    return InvalidArgument("family argmax expects one argmax or argmax_of as its only result");
  }
  for (const auto& other : body_.nodes()) {
    const bool view = other->op() == Op::kReshape || other->op() == Op::kSlice;
    if (other.get() != node && (!view || of != nullptr)) {
      return Refuse(*other, "views before the argmax");
    }
  }
  for (const ir::Value* operand : node->operands()) {
    const absl::optional<ColumnRange> x = ResolveColumns(operand);
    const bool input = x.has_value() && ParamOf(x->root) != nullptr &&
                       ParamOf(x->root)->kind == OperandKind::kBuffer;
    if (!input) return Refuse(*node, "rows of an input, or a stretch of columns of it");
  }
  return CheckStepRows(*node, node->result()->type());
}

// Work units are counted by a dimension of the step.
absl::Status BodyChecker::CheckStepRows(const ir::Node& node, const ir::Type& type) const {
  const ir::Dim& rows = type.shape[0];
  if (!rows.is_static() && rows.offset == 0) return absl::OkStatus();
  return Refuse(node, "rows that are a dimension of the step");
}

absl::Status BodyChecker::CheckColumns(const ir::Value* value) const {
  const auto none = [](const ir::Value*) { return false; };
  ColumnRefusal refusal;
  if (PeriodOf(value, none, none, &refusal)) return absl::OkStatus();
  return Refuse(*refusal.node, refusal.expected);
}

absl::Status BodyChecker::CheckRowwise() const {
  if (body_.results().empty())
    return InvalidArgument("family rowwise expects a result, found none");
  for (const ir::Value* result : body_.results()) {
    const ir::Type& type = result->type();
    if (type.is_kv || type.rank() < 1 || type.shape[0] != body_.results()[0]->type().shape[0]) {
      return InvalidArgument("family rowwise expects results of the same rows, found ",
                             TypeToString(body_.results()[0]->type(), symbols_), " and ",
                             TypeToString(type, symbols_));
    }
    if (!IsFloat(type.dtype)) {
      return InvalidArgument("family rowwise expects results of floats, found ",
                             TypeToString(type, symbols_));
    }
  }
  const ir::Dim& rows = body_.results()[0]->type().shape[0];
  if (rows.is_static() || rows.offset != 0) {
    return InvalidArgument("family rowwise expects rows that are a dimension of the step, found ",
                           TypeToString(body_.results()[0]->type(), symbols_));
  }
  for (const auto& node : body_.nodes()) NINFER_RETURN_IF_ERROR(CheckRowNode(*node, rows));
  for (const ir::Value* result : body_.results()) NINFER_RETURN_IF_ERROR(CheckColumns(result));
  return absl::OkStatus();
}

absl::Status BodyChecker::CheckKvAppend() const {
  if (body_.nodes().empty() || body_.nodes().back()->op() != Op::kKvAppend ||
      body_.results().size() != 1 || body_.results()[0]->producer() != body_.nodes().back().get()) {
    return InvalidArgument("family kv_append expects one kv_append, last, as its only result");
  }
  const ir::Node& append = *body_.nodes().back();
  if (ParamOf(append.operand(0)) == nullptr) return Refuse(append, "a KV pool that is an input");
  NINFER_RETURN_IF_ERROR(CheckStepRows(append, append.operand(1)->type()));
  for (const auto& node : body_.nodes()) {
    if (node.get() == &append) continue;
    NINFER_RETURN_IF_ERROR(CheckRowNode(*node, append.operand(1)->type().shape[0]));
  }
  NINFER_RETURN_IF_ERROR(CheckColumns(append.operand(1)));
  return CheckColumns(append.operand(2));
}

// --- attention -----------------------------------------------------------------------------------

absl::Status BodyChecker::CheckAttention() const {
  const ir::Node* attention = FindNode(body_, Op::kPagedAttention);
  if (attention == nullptr || body_.results().size() != 1) {
    return InvalidArgument("family attention expects one paged_attention and one result");
  }
  const absl::optional<ColumnRange> q = ResolveColumns(attention->operand(0));
  if (!q.has_value() || ParamOf(q->root) == nullptr) {
    return Refuse(*attention, "queries that are columns of an input");
  }
  NINFER_RETURN_IF_ERROR(CheckStepRows(*attention, attention->operand(0)->type()));
  for (size_t i = 1; i < attention->operands().size(); ++i) {
    if (ParamOf(attention->operand(i)) == nullptr) return Refuse(*attention, "inputs as operands");
  }
  if (attention->attr_string("form") == "naive") {
    const ir::Type& queries = attention->operand(0)->type();
    const ir::Type& scores = body_.parameters().back()->type();
    const bool fits = !scores.is_kv && scores.dtype == DType::kF32 && scores.rank() == 3 &&
                      scores.shape[0] == queries.shape[0] && scores.shape[1] == queries.shape[1] &&
                      scores.shape[2].is_static() &&
                      scores.shape[2].offset % KvLayout::kPagePositions == 0;
    if (!fits) {
      return Refuse(*attention, "a last parameter for scores, f32[rows,heads,whole pages]");
    }
  }
  bool behind = false;
  for (const auto& node : body_.nodes()) {
    if (node.get() == attention) {
      behind = true;
      continue;
    }
    const bool view = node->op() == Op::kReshape || node->op() == Op::kSlice;
    const bool after = node->op() == Op::kReshape || node->info().op_class == OpClass::kCast;
    if (behind ? !after : !view) return Refuse(*node, "a view before, reshapes and casts after");
    if (behind && node->operand(0)->type().shape[0] != node->result()->type().shape[0]) {
      return Refuse(*node, "views that keep the rows");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckBody(const Kernel& kernel, absl::Span<const ir::Symbol> symbols) {
  return BodyChecker(kernel, symbols).Check();
}

}  // namespace ninfer::program
