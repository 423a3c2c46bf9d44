// The arg-max of a linear's result: the linear's kernel keeps the largest of each panel's columns,
// and a kernel of its own finds the largest of these. Of any other value one kernel goes through
// whole rows.
// Tested by tests/argmax_test.cc.
#include "passes/lower_internal.h"
#include "program/body.h"

namespace ninfer::passes::lowering {

using ir::Op;

namespace {

// Which result of the region `value` is, where the region's kernel can find its parts; else -1.
int ResultWithParts(const Region& region, const ir::Value* value) {
  if (region.family != program::Family::kLinear) return -1;
  const ir::Node* linear = program::LinearOf(*region.body);
  if (program::FindNode(*region.body, Op::kMaxParts) != nullptr) return -1;  // another's
  if (linear == nullptr || SegmentsOf(*region.body, *linear) != 1) return -1;
  for (size_t i = 0; i < region.results.size(); ++i) {
    const ir::Value* inside = region.body->results()[i];
    const bool whole = inside->type().shape == linear->result()->type().shape &&
                       inside->type().dtype == DType::kF32;
    if (region.results[i] == value && whole) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

absl::optional<ArgmaxParts> PartsOf(Region& head, const ir::Value* value) {
  const int index = ResultWithParts(head, value);
  if (index < 0) return absl::nullopt;
  ir::Value* logits = head.body->results()[index];
  const ir::Type& type = logits->type();
  const int64_t columns = formats::kPanelColumns;
  const ir::Dim parts = ir::Dim::Static((type.shape[1].offset - 1) / columns + 1);
  ArgmaxParts made;
  made.values = {DType::kF32, {type.shape[0], parts}};
  made.ids = {DType::kI32, {type.shape[0], parts}};
  for (const auto& [op, of] :
       {std::pair(Op::kMaxParts, made.values), std::pair(Op::kArgmaxParts, made.ids)}) {
    const ir::Type types[] = {of};
    ir::Node* node = head.body->Insert(op, {logits}, types, {{"columns", columns}});
    head.body->results().push_back(node->result());
    head.results.push_back(nullptr);
  }
  return made;
}

void TakeParts(const ArgmaxParts& parts, Region& region) {
  const ir::Type types[] = {region.body->results()[0]->type()};
  region.body = std::make_unique<ir::Function>("body");
  ir::Value* values = region.body->AddParameter("x0", parts.values);
  ir::Value* ids = region.body->AddParameter("x1", parts.ids);
  ir::Node* node = region.body->Insert(Op::kArgmaxOf, {values, ids}, types, {});
  region.body->results().push_back(node->result());
  region.sources = {{nullptr, parts.values_buffer}, {nullptr, parts.ids_buffer}};
}

}  // namespace ninfer::passes::lowering
