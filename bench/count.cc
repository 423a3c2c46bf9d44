// Products are told by the op table's class and their shapes: what a product costs is its result's
// elements times the length of the sums; dimensions that are symbols say whether it is paid for
// each row or for each pair. Tested by tests/bench_count_test.cc.
#include "bench/count.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
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

// The value whose heads are not yet repeated for the query heads that share them.
const ir::Value* BehindRepeat(const ir::Value* value) {
  const ir::Node* node = value->producer();
  return node != nullptr && node->op() == ir::Op::kRepeat ? node->operand(0) : value;
}

bool IsOfPairs(const ir::Value* value) {
  const auto& shape = value->type().shape;
  return std::count_if(shape.begin(), shape.end(),
                       [](const ir::Dim& dim) { return !dim.is_static(); }) == 2;
}

// The window of each product over pairs: that of the mask which its scores go through, or which
// its probabilities have gone through.
absl::flat_hash_map<const ir::Node*, int64_t> Windows(const ir::Function& step) {
  absl::flat_hash_map<const ir::Value*, int64_t> before, behind;
  absl::flat_hash_map<const ir::Node*, int64_t> windows;
  for (auto node = step.nodes().rbegin(); node != step.nodes().rend(); ++node) {
    const ir::Node& user = **node;
    const auto found = before.find(user.result());
    if (user.op() == ir::Op::kCausalMask) {
      before[user.operand(0)] = user.attr_int_or("window", 0);
    } else if (found != before.end() && IsProduct(user)) {
      windows[&user] = found->second;
    } else if (found != before.end()) {
      const int64_t window = found->second;
      for (const ir::Value* operand : user.operands()) {
        if (IsOfPairs(operand)) before[operand] = window;
      }
    }
  }
  for (const auto& node : step.nodes()) {
    for (const ir::Value* operand : node->operands()) {
      const auto found = behind.find(operand);
      if (found == behind.end()) continue;
      if (IsProduct(*node)) {
        windows[node.get()] = found->second;
      } else if (IsOfPairs(node->result())) {
        const int64_t window = found->second;
        behind[node->result()] = window;
      }
      break;
    }
    if (node->op() == ir::Op::kCausalMask) {
      behind[node->result()] = node->attr_int_or("window", 0);
    }
  }
  return windows;
}

void AddPairs(int64_t window, double operations, std::vector<StepCost::Pair>* pairs) {
  auto at = std::find_if(pairs->begin(), pairs->end(),
                         [&](const StepCost::Pair& pair) { return pair.window >= window; });
  if (at == pairs->end() || at->window != window) at = pairs->insert(at, StepCost::Pair{window, 0});
  at->operations += operations;
}

}  // namespace

double PairsSeen(int64_t rows, int64_t depth, int64_t window) {
  const auto triangle = [](int64_t n) {
    return static_cast<double>(n) * (static_cast<double>(n) + 1) / 2;
  };
  if (window == 0) return triangle(depth + rows) - triangle(depth);
  // Rows at the text's first positions see fewer than the window has.
  const int64_t growing = std::clamp<int64_t>(window - depth, 0, rows);
  return triangle(depth + growing) - triangle(depth) +
         static_cast<double>(rows - growing) * static_cast<double>(window);
}

double StepCost::Prefill(int64_t rows, int64_t depth) const {
  double operations = static_cast<double>(rows) * per_row + head;
  for (const Pair& pair : pairs) {
    operations += PairsSeen(rows, depth, pair.window) * pair.operations;
  }
  return operations;
}

double StepCost::Decode(int64_t texts, int64_t depth) const {
  return static_cast<double>(texts) * Prefill(1, depth);
}

absl::StatusOr<StepCost> CountStep(const ir::Module& imported) {
  const ir::Function* step = imported.FindFunction("step");
  if (step == nullptr) return InvalidArgument("graph: expected a function @step, found none");
  const absl::flat_hash_set<const ir::Node*> heads = Heads(*step);
  const absl::flat_hash_map<const ir::Node*, int64_t> windows = Windows(*step);
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
      const auto window = windows.find(node.get());
      AddPairs(window == windows.end() ? 0 : window->second, operations, &cost.pairs);
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
