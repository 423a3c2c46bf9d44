// LayOutWeights: where each packed weight lies in the plan's weights section. Panels lie in the
// order in which launches stream them, so that a decode step reads memory from front to back and
// hardware prefetchers see one stream; what is only gathered from (embedding tables) lies behind,
// out of the way. Offsets are multiples of 64 bytes. The formats are chosen by lowering, which
// knows the readers.
//
// Proves: unpack(pack(w)) == w, whatever the offset (tests/formats_test.cc); no two weights overlap
// (the verifier).
// Order: behind lower, which makes the weights.
// Tested by tests/program_passes_test.cc (tests/program/passes/layout.kp),
// tests/program_planner_test.cc.
#include <algorithm>
#include <limits>
#include <numeric>

#include "passes/passes.h"
#include "passes/rewrite.h"
#include "program/body.h"

namespace ninfer::passes {
namespace {

using program::OperandKind;
using program::Program;

constexpr int64_t kAlignment = 64;

bool IsGatheredOnly(const program::Kernel& kernel, const ir::Value* parameter) {
  bool gathered = false;
  for (const auto& node : kernel.body->nodes()) {
    for (const ir::Value* operand : node->operands()) {
      if (operand != parameter) continue;
      if (node->op() != ir::Op::kEmbedding) return false;
      gathered = true;
    }
  }
  return gathered;
}

// The first launch that reads each weight whole; the largest number when all gather.
std::vector<size_t> FirstStreams(const Program& program) {
  std::vector<size_t> first(program.weights.size(), std::numeric_limits<size_t>::max());
  for (size_t l = 0; l < program.launches.size(); ++l) {
    const program::Launch& launch = program.launches[l];
    const program::Kernel& kernel = program.kernels[launch.kernel];
    for (size_t i = 0; i < launch.operands.size(); ++i) {
      if (launch.operands[i].kind != OperandKind::kWeight) continue;
      size_t& at = first[launch.operands[i].index];
      if (at > l && !IsGatheredOnly(kernel, kernel.body->parameters()[i].get())) at = l;
    }
  }
  return first;
}

// Offsets of the weights in this order; returns the section's size.
int64_t Place(const std::vector<program::PackedWeight>& weights, const std::vector<int>& order,
              std::vector<int64_t>& offsets) {
  int64_t end = 0;
  for (int index : order) {
    offsets[index] = end;
    end += (weights[index].bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  return end;
}

}  // namespace

absl::StatusOr<int> LayOutWeights(Program& program, const PassOptions& options) {
  const std::vector<size_t> first = FirstStreams(program);
  std::vector<int> order(program.weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return first[a] < first[b]; });

  std::vector<int64_t> offsets(order.size());
  const int64_t bytes = Place(program.weights, order, offsets);
  bool settled = program.weight_bytes == bytes;
  for (size_t i = 0; i < offsets.size(); ++i) settled &= program.weights[i].offset == offsets[i];
  if (settled) return 0;

  // A weight that may not be moved lies behind the others, where it is in no one's way.
  Rewrites rewrites(options);
  std::vector<int> left;
  std::vector<int> allowed;
  for (int index : order) {
    if (left.empty() && rewrites.Next()) {
      allowed.push_back(index);
    } else {
      left.push_back(index);
    }
  }
  if (rewrites.made() == 0) return 0;
  std::sort(left.begin(), left.end());
  allowed.insert(allowed.end(), left.begin(), left.end());
  program.weight_bytes = Place(program.weights, allowed, offsets);
  for (size_t i = 0; i < offsets.size(); ++i) program.weights[i].offset = offsets[i];
  return rewrites.made();
}

}  // namespace ninfer::passes
