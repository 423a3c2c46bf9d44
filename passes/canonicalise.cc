// Canonicalise: gives equal things one form. Views of views become one view, elements that change
// nothing (x + 0, x * 1, a transpose back and forth, a cast to the same type) go, and constants
// stand on the right of operators whose sides may be swapped, so that later patterns need one case
// each.
//
// Proves: equal under eager, bit by bit (but for the sign of a zero).
// Order: first of all, so that every pattern after it meets canonical forms. Nothing depends on a
// second run: later passes make canonical forms themselves.
//
// Tested by tests/passes_golden_test.cc (tests/passes/canonicalise.ir), tests/passes_fuzz_test.cc.
#include <numeric>
#include <vector>

#include "base/status.h"
#include "ir/builder.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

// What should stand in place of a node's result: an existing value, or a node still to be made.
struct Replacement {
  Value* value = nullptr;
  Op op = Op::kReshape;
  std::vector<Value*> operands;
  std::vector<ir::Attr> attrs;
  const ir::Type* declared = nullptr;
};

bool Existing(Value* value, const Node& node, Replacement* to) {
  if (value->type() != node.result()->type()) return false;
  to->value = value;
  return true;
}

bool OfReshape(const Node& node, Replacement* to) {
  Value* x = node.operand(0);
  if (Existing(x, node, to)) return true;
  const Node* inner = ProducerIf(x, Op::kReshape);
  if (inner == nullptr) return false;
  if (Existing(inner->operand(0), node, to)) return true;
  *to = {nullptr, Op::kReshape, {inner->operand(0)}, {}, &node.result()->type()};
  return true;
}

bool OfTranspose(const Node& node, Replacement* to) {
  std::vector<int64_t> perm = node.attr_ints("perm");
  std::vector<int64_t> identity(perm.size());
  std::iota(identity.begin(), identity.end(), 0);
  if (perm == identity) return Existing(node.operand(0), node, to);
  const Node* inner = ProducerIf(node.operand(0), Op::kTranspose);
  if (inner == nullptr) return false;
  for (int64_t& axis : perm) axis = inner->attr_ints("perm")[axis];
  if (perm == identity) return Existing(inner->operand(0), node, to);
  *to = {nullptr, Op::kTranspose, {inner->operand(0)}, {{"perm", perm}}, nullptr};
  return true;
}

bool OfSlice(const Node& node, Replacement* to) {
  if (Existing(node.operand(0), node, to)) return true;  // the whole
  const int64_t axis = node.attr_int("axis"), begin = node.attr_int("begin");
  const int64_t end = node.attr_int("end");
  if (const Node* inner = ProducerIf(node.operand(0), Op::kSlice);
      inner != nullptr && inner->attr_int("axis") == axis) {
    const int64_t offset = inner->attr_int("begin");
    *to = {nullptr,
           Op::kSlice,
           {inner->operand(0)},
           {{"axis", axis}, {"begin", offset + begin}, {"end", offset + end}},
           nullptr};
    return true;
  }
  const Node* concat = ProducerIf(node.operand(0), Op::kConcat);
  if (concat == nullptr || concat->attr_int("axis") != axis) return false;
  int64_t start = 0;  // a slice that is just one of the parts
  for (Value* part : concat->operands()) {
    const ir::Dim& size = part->type().shape[axis];
    if (!size.is_static()) return false;
    if (start == begin && start + size.offset == end) return Existing(part, node, to);
    start += size.offset;
  }
  return false;
}

bool OfCast(const Node& node, Replacement* to) {
  Value* x = node.operand(0);
  if (Existing(x, node, to)) return true;
  const Node* inner = ProducerIf(x, Op::kCast);
  if (inner == nullptr) return false;
  // f32 holds every bf16 and f16, so that a cast to f32 and on is one cast.
  const DType from = inner->operand(0)->type().dtype;
  if (x->type().dtype != DType::kF32 || (from != DType::kBF16 && from != DType::kF16)) return false;
  if (Existing(inner->operand(0), node, to)) return true;
  *to = {nullptr, Op::kCast, {inner->operand(0)}, {}, &node.result()->type()};
  return true;
}

// x + 0, x - 0, x * 1, x / 1; and a constant on the left of + and * moves to the right.
bool OfArithmetic(const Node& node, Replacement* to) {
  const bool commutes = node.op() == Op::kAdd || node.op() == Op::kMul;
  const double neutral = node.op() == Op::kAdd || node.op() == Op::kSub ? 0 : 1;
  if (ScalarConstant(node.operand(1)) == neutral) return Existing(node.operand(0), node, to);
  if (!commutes || !ScalarConstant(node.operand(0)) || ScalarConstant(node.operand(1))) {
    return false;
  }
  *to = {nullptr, node.op(), {node.operand(1), node.operand(0)}, {}, nullptr};
  return true;
}

bool Simplify(const Node& node, Replacement* to) {
  if (node.op() == Op::kReshape) return OfReshape(node, to);
  if (node.op() == Op::kTranspose) return OfTranspose(node, to);
  if (node.op() == Op::kSlice) return OfSlice(node, to);
  if (node.op() == Op::kCast) return OfCast(node, to);
  if (node.op() == Op::kAdd || node.op() == Op::kSub || node.op() == Op::kMul ||
      node.op() == Op::kDiv) {
    return OfArithmetic(node, to);
  }
  if (node.op() == Op::kConcat && node.operands().size() == 1) {
    return Existing(node.operand(0), node, to);
  }
  if (node.op() == Op::kRepeat && node.attr_int("times") == 1) {
    return Existing(node.operand(0), node, to);
  }
  if (node.op() == Op::kNeg) {
    const Node* inner = ProducerIf(node.operand(0), Op::kNeg);
    return inner != nullptr && Existing(inner->operand(0), node, to);
  }
  return false;
}

absl::Status Apply(ir::Module& module, ir::Function& function, Node& node, const Replacement& to) {
  Value* value = to.value;
  if (value == nullptr) {
    ir::Builder builder(&module, &function, &node);
    builder.set_provenance(node.result()->provenance());
    value = builder.Make(to.op, to.operands, to.attrs, to.declared);
    NINFER_RETURN_IF_ERROR(builder.status());
  }
  function.ReplaceAllUses(node.result(), value);
  function.Erase(&node);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> Canonicalise(ir::Module& module, const PassOptions& options) {
  Rewrites rewrites(options);
  for (const auto& function : module.functions()) {
    // In program order, so that a node's operands are canonical before the node is looked at. A new
    // node stands in the old one's place and is looked at again.
    for (size_t i = 0; i < function->nodes().size();) {
      Node& node = *function->nodes()[i];
      Replacement to;
      if (!Simplify(node, &to)) {
        ++i;
        continue;
      }
      if (!rewrites.Next()) return rewrites.made();
      NINFER_RETURN_IF_ERROR(Apply(module, *function, node, to));
    }
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
