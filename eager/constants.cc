// Folding, once, of what depends on weights alone. What EvaluateRows cannot read in blocks is
// evaluated op by op.
// Tested by tests/eager_test.cc.
#include "eager/constants.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "ir/text.h"

namespace ninfer::eager {
namespace {

using Values = absl::flat_hash_set<const ir::Value*>;

constexpr int64_t kBlockElements = 1 << 18;  // read at a time

// Results of nodes that depend on weights and constants alone; definitions stand before uses.
Values ConstantResults(const ir::Function& function) {
  Values constant;
  for (const auto& node : function.nodes()) {
    if (node->body() != nullptr) continue;
    const bool all = std::all_of(
        node->operands().begin(), node->operands().end(),
        [&constant](const ir::Value* v) { return v->is_weight() || constant.contains(v); });
    for (int i = 0; all && i < node->num_results(); ++i) constant.insert(node->result(i));
  }
  return constant;
}

bool OnlyLinearWeight(const ir::Value* value, const ir::Function& function) {
  for (const ir::Value* result : function.results()) {
    if (result == value) return false;
  }
  for (const auto& node : function.nodes()) {
    for (size_t i = 0; i < node->operands().size(); ++i) {
      if (node->operands()[i] != value) continue;
      const bool linear = node->op() == ir::Op::kLinear && i == 1;
      const bool inside = node->body() != nullptr &&
                          OnlyLinearWeight(node->body()->parameters()[i].get(), *node->body());
      if (!linear && !inside) return false;
    }
  }
  return true;
}

bool IsMatrixTranspose(const ir::Value* value) {
  return value->producer() != nullptr && value->producer()->op() == ir::Op::kTranspose &&
         value->producer()->attr_ints("perm") == std::vector<int64_t>{1, 0};
}

absl::StatusOr<Tensor> ReadWhole(const Context& context, const ir::Module& module,
                                 const ir::Value* value, const ir::WeightSource& weights) {
  Tensor tensor;
  tensor.dtype = value->type().dtype;
  for (const ir::Dim& dim : value->type().shape) tensor.shape.push_back(dim.offset);
  tensor.floats = std::make_shared<std::vector<float>>(tensor.elements());
  const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
  const int64_t columns = rows == 0 ? 0 : tensor.elements() / rows;
  const int64_t step = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, columns));
  std::mutex mutex;
  absl::Status first_error;
  context.threads->For((rows + step - 1) / step, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const absl::Status status =
          EvaluateRows(value, module, weights, i * step, std::min(rows, (i + 1) * step),
                       tensor.floats->data() + i * step * columns);
      std::lock_guard<std::mutex> lock(mutex);
      first_error.Update(status);
    }
  });
  if (!first_error.ok()) return first_error;
  return tensor;
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

absl::StatusOr<Slots> FoldConstants(const Context& context, const ir::Module& module,
                                    const ir::Function& function, const ir::WeightSource& weights) {
  const Values constant = ConstantResults(function);
  const Values needed = Needed(function, constant);
  Slots slots;
  for (const ir::Weight& weight : module.weights()) {
    const ir::Value* value = weight.value.get();
    if (!needed.contains(value)) continue;
    if (!IsBlockwise(value)) {
      return InvalidArgument("@", value->name(), ": expected floats, found ",
                             DTypeName(value->type().dtype));
    }
    NINFER_ASSIGN_OR_RETURN(slots[value].tensor, ReadWhole(context, module, value, weights));
  }
  Evaluator evaluator(context, module.symbols());
  for (const auto& node : function.nodes()) {
    for (int i = 0; i < node->num_results(); ++i) {
      const ir::Value* value = node->result(i);
      if (!needed.contains(value) || !constant.contains(value)) continue;
      Slot slot;
      if (IsBlockwise(value)) {
        slot.transposed = IsMatrixTranspose(value) && OnlyLinearWeight(value, function);
        const ir::Value* stored = slot.transposed ? node->operand(0) : value;
        NINFER_ASSIGN_OR_RETURN(slot.tensor, ReadWhole(context, module, stored, weights));
      } else {
        std::vector<Slot> operands;
        for (const ir::Value* operand : node->operands()) operands.push_back(slots.at(operand));
        absl::StatusOr<Slot> result = evaluator.Evaluate(*node, operands);
        if (!result.ok()) {
          return Annotate(result.status(), ir::PrintNode(*node, module.symbols()));
        }
        slot = *std::move(result);
      }
      slots[value] = std::move(slot);
    }
  }
  return slots;
}

}  // namespace ninfer::eager
