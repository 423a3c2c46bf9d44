// Folding, once, of what depends on weights alone. What EvaluateRows cannot read in blocks is
// evaluated op by op.
// Tested by tests/eager_constants_test.cc.
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
  const int64_t rows = RowsOf(value);
  const int64_t columns = rows == 0 ? 0 : tensor.elements() / rows;
  const int64_t step = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, columns));
  std::mutex mutex;
  absl::Status first_error;
  context.threads->For((rows + step - 1) / step, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const absl::Status status =
          EvaluateRows(value, module, weights, i * step, std::min(rows, (i + 1) * step),
                       tensor.floats->data() + i * step * columns);
      if (status.ok()) continue;
      std::lock_guard<std::mutex> lock(mutex);
      first_error.Update(status);
    }
  });
  if (!first_error.ok()) return first_error;
  return tensor;
}

// The value [N, K] as [K, N + padding]: sgemm reads it fastest so, and rows whose length is no
// power of two do not fall into the same cache sets.
absl::StatusOr<Slot> ReadTurned(const Context& context, const ir::Module& module,
                                const ir::Value* value, const ir::WeightSource& weights) {
  constexpr int64_t kBlock = 64;
  const int64_t n = value->type().shape[0].offset, k = value->type().shape[1].offset;
  const int64_t ld = (n + 31) / 32 * 32 + 16;  // an odd number of cache lines
  Slot slot{Tensor::Floats({k, ld}, std::vector<float>(k * ld)), n};
  slot.tensor.dtype = value->type().dtype;
  float* out = slot.tensor.floats->data();
  const bool stored_turned = IsMatrixTranspose(value);
  const ir::Value* stored = stored_turned ? value->producer()->operand(0) : value;
  const int64_t rows = stored_turned ? k : n, columns = stored_turned ? n : k;
  std::mutex mutex;
  absl::Status first_error;
  context.threads->For((rows + kBlock - 1) / kBlock, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> block(kBlock * columns);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row0 = i * kBlock, count = std::min(kBlock, rows - row0);
      const absl::Status status =
          EvaluateRows(stored, module, weights, row0, row0 + count, block.data());
      if (!status.ok()) {
        std::lock_guard<std::mutex> lock(mutex);
        first_error.Update(status);
        return;
      }
      for (int64_t c = 0; c < columns && !stored_turned; ++c) {
        for (int64_t r = 0; r < count; ++r) out[c * ld + row0 + r] = block[r * columns + c];
      }
      for (int64_t r = 0; r < count && stored_turned; ++r) {
        std::copy_n(block.data() + r * columns, columns, out + (row0 + r) * ld);
      }
    }
  });
  if (!first_error.ok()) return first_error;
  return slot;
}

absl::StatusOr<Slot> Read(const Context& context, const ir::Module& module,
                          const ir::Function& function, const ir::Value* value,
                          const ir::WeightSource& weights) {
  if (HeldTurned(value, function)) return ReadTurned(context, module, value, weights);
  Slot slot;
  NINFER_ASSIGN_OR_RETURN(slot.tensor, ReadWhole(context, module, value, weights));
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
    NINFER_ASSIGN_OR_RETURN(slots[value], Read(context, module, function, value, weights));
  }
  Evaluator evaluator(context, module.symbols());
  for (const auto& node : function.nodes()) {
    for (int i = 0; i < node->num_results(); ++i) {
      const ir::Value* value = node->result(i);
      if (!needed.contains(value) || !constant.contains(value)) continue;
      Slot slot;
      if (IsBlockwise(value)) {
        NINFER_ASSIGN_OR_RETURN(slot, Read(context, module, function, value, weights));
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
