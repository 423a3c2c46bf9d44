// Products are told by the op table's class and their shapes: what a product costs is its result's
// elements times the length of the sums; dimensions that are symbols say whether it is paid for
// each row or for each pair. Tested by tests/bench_count_test.cc.
#include "bench/count.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "ir/text.h"

namespace ninfer::bench {
namespace {

bool IsProduct(const ir::Node& node) {
  const ir::OpClass op_class = node.info().op_class;
  return op_class == ir::OpClass::kMatmul || op_class == ir::OpClass::kGroupedMatmul;
}

// The products that nothing but arithmetic on single rows separates from the logits.
absl::flat_hash_set<const ir::Node*> Heads(const ir::Function& step) {
  absl::flat_hash_set<const ir::Node*> heads;
  for (const ir::Value* value : step.results()) {
    while (value != nullptr && value->producer() != nullptr) {
      const ir::Node* node = value->producer();
      if (IsProduct(*node)) {
        heads.insert(node);
        break;
      }
      const ir::Value* next = nullptr;
      int inputs = 0;
      for (const ir::Value* operand : node->operands()) {
        if (ir::IsConstant(operand)) continue;
        next = operand;
        ++inputs;
      }
      value = inputs == 1 ? next : nullptr;
    }
  }
  return heads;
}

// Through views of one operand, to the value whose heads are not yet repeated.
const ir::Value* BehindRepeat(const ir::Value* value) {
  const ir::Node* node = value->producer();
  return node != nullptr && node->op() == ir::Op::kRepeat ? node->operand(0) : value;
}

}  // namespace

double StepCost::Prefill(int64_t rows, int64_t depth) const {
  const double n = static_cast<double>(rows);
  const double pairs = n * static_cast<double>(depth) + n * (n + 1) / 2;
  return n * per_row + pairs * per_pair + head;
}

absl::StatusOr<StepCost> CountStep(const ir::Module& imported) {
  const ir::Function* step = imported.FindFunction("step");
  if (step == nullptr) return InvalidArgument("graph: expected a function @step, found none");
  const absl::flat_hash_set<const ir::Node*> heads = Heads(*step);
  StepCost cost;
  for (const auto& node : step->nodes()) {
    if (!IsProduct(*node) || ir::IsConstant(node->result())) continue;
    ir::Type type = node->result()->type();
    type.shape.push_back(node->operand(0)->type().shape.back());  // the dimension summed over
    double operations = 2;
    int symbols = 0;
    for (const ir::Dim& dim : type.shape) {
      if (dim.is_static()) {
        operations *= static_cast<double>(dim.offset);
      } else {
        ++symbols;
      }
    }
    if (symbols > 2) {
      return InvalidArgument("graph: ", ir::PrintNode(*node, imported.symbols()),
                             ": expected a product over rows or pairs of rows");
    }
    if (symbols == 2) {
      cost.per_pair += operations;
    } else {
      (heads.contains(node.get()) ? cost.head : cost.per_row) += operations;
    }
    const ir::Type& left = node->operand(0)->type();
    if (symbols == 2 && !cost.attention.has_value() && left.rank() == 3) {
      const ir::Type& keys = BehindRepeat(node->operand(1))->type();
      cost.attention =
          AttentionShape{left.shape[0].offset, keys.shape[0].offset, left.shape[2].offset};
    }
  }
  return cost;
}

absl::StatusOr<StepCost> CountStep(const std::string& imported_graph_text) {
  NINFER_ASSIGN_OR_RETURN(const ir::Module module,
                          ir::Parse(imported_graph_text, "the plan's imported graph"));
  return CountStep(module);
}

}  // namespace ninfer::bench
