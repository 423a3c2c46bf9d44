// Folding, once, of what depends on weights alone. What EvaluateRows cannot read in blocks is
// evaluated op by op.
// Tested by tests/eager_constants_test.cc.
#include "eager/constants.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "eager/streamed_constant.h"
#include "ir/text.h"

namespace ninfer::eager {
namespace {

using Values = absl::flat_hash_set<const ir::Value*>;

constexpr int64_t kBlockElements = 1 << 14;  // read at a time of what is stored turned

// How a value is used, as far as its layout is concerned.
struct Uses {
  bool linear = false;
  bool other = false;  // than by linears and embeddings
};

void CollectUses(const ir::Value* value, const ir::Function& function, Uses& uses) {
  for (const ir::Value* result : function.results()) uses.other |= result == value;
  for (const auto& node : function.nodes()) {
    for (size_t i = 0; i < node->operands().size(); ++i) {
      if (node->operands()[i] != value) continue;
      if (node->body() != nullptr) {
        CollectUses(node->body()->parameters()[i].get(), *node->body(), uses);
      } else if (node->op() == ir::Op::kLinear && i == 1) {
        uses.linear = true;
      } else if (node->op() != ir::Op::kEmbedding || i != 1) {
        uses.other = true;
      }
    }
  }
}

bool HeldTurned(const ir::Value* value, const ir::Function& function) {
  Uses uses;
  CollectUses(value, function, uses);
  return value->type().rank() == 2 && uses.linear && !uses.other;
}

// A constant expression, read from the weights it is made of.
class Expression : public StreamedConstant {
 public:
  Expression(const ir::Value* value, bool turned, const ConstantSource& source)
      : StreamedConstant(value->type(), turned, source.memory), value_(value), source_(source) {
    if (shape().size() > 1) columns_ = shape().back();
    for (size_t i = 1; i + 1 < shape().size(); ++i) rows_each_ *= shape()[i];
  }

  absl::Status ReadRows(int64_t row0, int64_t row1, float* out) const override {
    return EvaluateBlock(value_, *source_.module, *source_.weights,
                         {row0 * rows_each_, row1 * rows_each_, 0, columns_}, out);
  }

  // What is stored turned is not turned twice.
  absl::Status ReadTurned(int64_t row0, int64_t row1, int64_t ld, float* out) const override {
    if (value_->producer() == nullptr || !TurnsMatrix(*value_->producer())) {
      return StreamedConstant::ReadTurned(row0, row1, ld, out);
    }
    const int64_t count = row1 - row0;
    const int64_t step = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, count));
    const Tensor block = memory()->Floats({std::min(step, columns_), count});
    for (int64_t k = 0; k < columns_; k += step) {
      const int64_t end = std::min(k + step, columns_);
      NINFER_RETURN_IF_ERROR(EvaluateBlock(value_->producer()->operand(0), *source_.module,
                                           *source_.weights, {k, end, row0, row1},
                                           block.floats->data()));
      for (int64_t i = k; i < end; ++i) {
        std::copy_n(block.floats->data() + (i - k) * count, count, out + i * ld);
      }
    }
    return absl::OkStatus();
  }

 private:
  const ir::Value* value_;
  ConstantSource source_;
  int64_t columns_ = 1;
  int64_t rows_each_ = 1;  // rows of a block that the first dimension counts as one
};

// That the weights of an expression are there and fit, which reading nothing of them shows.
absl::Status CheckWeights(const ir::Value* value, const ConstantSource& source, Values& seen) {
  if (!seen.insert(value).second) return absl::OkStatus();
  if (value->is_weight()) {
    return EvaluateBlock(value, *source.module, *source.weights, {0, 0, 0, 0}, nullptr);
  }
  for (const ir::Value* operand : value->producer()->operands()) {
    NINFER_RETURN_IF_ERROR(CheckWeights(operand, source, seen));
  }
  return absl::OkStatus();
}

absl::StatusOr<Slot> Read(const Context& context, const ir::Function& function,
                          const ir::Value* value, const ConstantSource& source) {
  const bool turned = HeldTurned(value, function);
  auto constant = std::make_shared<const Expression>(value, turned, source);
  Slot slot;
  if (source.copies == WeightCopies::kStreamed) {
    Values seen;
    NINFER_RETURN_IF_ERROR(CheckWeights(value, source, seen));
    slot.streamed = std::move(constant);
  } else if (turned) {
    NINFER_ASSIGN_OR_RETURN(slot.tensor, ReadWholeTurned(context, *constant));
    slot.turned_rows = constant->shape()[0];
  } else {
    NINFER_ASSIGN_OR_RETURN(slot.tensor, ReadWhole(context, *constant));
  }
  return slot;
}

// Constant values that must be evaluated: those that other nodes or the results use, and the
// operands of those among them that cannot be read in blocks.
Values Needed(const ir::Function& function, const Values& constant) {
  const auto is_constant = [&](const ir::Value* v) {
    return v->is_weight() || constant.contains(v);
  };
  Values needed;
  for (const ir::Value* result : function.results()) {
    if (is_constant(result)) needed.insert(result);
  }
  for (size_t i = function.nodes().size(); i-- > 0;) {
    const ir::Node& node = *function.nodes()[i];
    const bool computed = node.num_results() == 0 || !constant.contains(node.result(0));
    const bool opened =
        !computed && needed.contains(node.result(0)) && !IsBlockwise(node.result(0));
    for (const ir::Value* operand : node.operands()) {
      if ((computed || opened) && is_constant(operand)) needed.insert(operand);
    }
  }
  return needed;
}

}  // namespace

Values ConstantResults(const ir::Function& function) {
  Values constant;
  for (const auto& node : function.nodes()) {  // definitions stand before uses
    if (node->body() != nullptr) continue;
    const bool all = std::all_of(
        node->operands().begin(), node->operands().end(),
        [&constant](const ir::Value* v) { return v->is_weight() || constant.contains(v); });
    for (int i = 0; all && i < node->num_results(); ++i) constant.insert(node->result(i));
  }
  return constant;
}

absl::StatusOr<Slots> FoldConstants(const Context& context, const ir::Function& function,
                                    const ConstantSource& source) {
  const Values constant = ConstantResults(function);
  const Values needed = Needed(function, constant);
  Slots slots;
  for (const ir::Weight& weight : source.module->weights()) {
    const ir::Value* value = weight.value.get();
    if (!needed.contains(value)) continue;
    if (!IsBlockwise(value)) {
      return InvalidArgument("@", value->name(), ": expected floats, found ",
                             DTypeName(value->type().dtype));
    }
    NINFER_ASSIGN_OR_RETURN(slots[value], Read(context, function, value, source));
  }
  Evaluator evaluator(context, source.module->symbols());
  for (const auto& node : function.nodes()) {
    for (int i = 0; i < node->num_results(); ++i) {
      const ir::Value* value = node->result(i);
      if (!needed.contains(value) || !constant.contains(value)) continue;
      Slot slot;
      if (IsBlockwise(value)) {
        NINFER_ASSIGN_OR_RETURN(slot, Read(context, function, value, source));
      } else {
        std::vector<Slot> operands;
        for (const ir::Value* operand : node->operands()) operands.push_back(slots.at(operand));
        absl::StatusOr<Slot> result = evaluator.Evaluate(*node, operands);
        if (!result.ok()) {
          return Annotate(result.status(), ir::PrintNode(*node, source.module->symbols()));
        }
        slot = *std::move(result);
      }
      slots[value] = std::move(slot);
    }
  }
  return slots;
}

}  // namespace ninfer::eager
