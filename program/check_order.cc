// Checks, launch by launch, that no two threads touch the same bytes at the same time unless both
// read. Trusts nothing but the launch list: not lifetimes, not the schedule's reasons. Shares no
// code with the passes.
//
// For each kind of step (few rows or many, of which a sequence has several or none) and each
// stretch of launches without a barrier of that kind, every two accesses by different launches of
// the stretch are compared, one of them writing. An access is a byte range: of the arena when
// offsets are assigned, else of the buffer as an island of its own; or a layer's KV pool. Two
// overlapping accesses are allowed in three cases:
// - replicas: few rows, and both ranges lie in the threads' own blocks, where the own order of a
//   thread suffices;
// - own rows: both launches are dealt with the same units, both accesses touch row u in unit u
//   alone, and row u lies at the same bytes for both, so that one thread does both, in order;
// - own heads: both launches are kv_append or attention, dealt with the same units, and no sequence
//   has several rows, so that the position a row appends is seen by that row alone, head by head.
// Besides, a launch that every thread repeats in steps of few rows may write replicas only, and a
// dealt launch may write no replica. Steps of many rows deal every launch, and replica 0 is shared
// memory like any other.
// Not checked: which value a read finds (CheckBuffers).
//
// Tested by tests/program_checker_test.cc.
#include <algorithm>

#include "base/file.h"
#include "base/status.h"
#include "program/verifier.h"

namespace ninfer::program {
namespace {

struct Touch {
  size_t launch = 0;
  std::string name;  // of the buffer or state
  int space = 0;     // 0 arena, 1 replicas, then one for each KV layer, or for each unplaced buffer
  int64_t begin = 0, end = 0;
  bool write = false;
  bool in_replica = false;
  bool own_rows = false;
  bool own_heads = false;
  int64_t row_bytes = 0;
};

// The value is used by ops that look at the same row of it alone.
bool TouchesOwnRow(const ir::Function& body, const ir::Value* value, int depth = 0) {
  for (const auto& node : body.nodes()) {
    const ir::OpClass op_class = node->info().op_class;
    for (size_t i = 0; i < node->operands().size(); ++i) {
      if (node->operands()[i] != value) continue;
      if (op_class == ir::OpClass::kMatmul || op_class == ir::OpClass::kGroupedMatmul ||
          op_class == ir::OpClass::kQuantise || op_class == ir::OpClass::kAttention ||
          op_class == ir::OpClass::kState || (node->op() == ir::Op::kGatherRows && i == 0)) {
        return false;
      }
      // Through a view, too, another row of the value could reach one of these.
      if (op_class == ir::OpClass::kView &&
          (depth > 64 || !TouchesOwnRow(body, node->result(), depth + 1))) {
        return false;
      }
    }
  }
  return true;
}

class OrderChecker {
 public:
  explicit OrderChecker(const Program& program) : p_(program) {}

  absl::Status Check() const {
    for (size_t l = 0; l < p_.launches.size(); ++l) NINFER_RETURN_IF_ERROR(CheckReplicas(l));
    for (const StepKind& step : kStepKinds) NINFER_RETURN_IF_ERROR(CheckSteps(step));
    return absl::OkStatus();
  }

 private:
  absl::Status CheckReplicas(size_t index) const;
  absl::Status CheckSteps(StepKind step) const;
  std::vector<Touch> TouchesOf(size_t index) const;
  absl::Status CheckPair(const Touch& a, const Touch& b, StepKind step) const;

  const Program& p_;
};

absl::Status OrderChecker::CheckReplicas(size_t index) const {
  const Launch& launch = p_.launches[index];
  const Kernel& kernel = p_.kernels[launch.kernel];
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    if (!kernel.params[i].written) continue;
    const bool replica = launch.operands[i].kind == OperandKind::kBuffer &&
                         p_.buffers[launch.operands[i].index].replicated;
    if (replica != launch.replicated) {
      return InvalidArgument("launch ", index, " ", kernel.name, ": expected to write ",
                             launch.replicated ? "replicas alone" : "no replica",
                             ", found operand ", i);
    }
  }
  return absl::OkStatus();
}

std::vector<Touch> OrderChecker::TouchesOf(size_t index) const {
  const Launch& launch = p_.launches[index];
  const Kernel& kernel = p_.kernels[launch.kernel];
  std::vector<Touch> touches;
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    const Operand& operand = launch.operands[i];
    Touch touch;
    touch.launch = index;
    touch.write = kernel.params[i].written;
    if (operand.kind == OperandKind::kKv) {
      touch.name = p_.kv[operand.index].name;
      touch.space = 2 + operand.index;
      touch.end = 1;
      touch.own_heads = kernel.family == Family::kKvAppend || kernel.family == Family::kAttention;
    } else if (operand.kind == OperandKind::kBuffer) {
      const Buffer& buffer = p_.buffers[operand.index];
      const bool placed = buffer.offset >= 0;
      touch.name = buffer.name;
      touch.space =
          placed ? (buffer.replicated ? 1 : 0) : 2 + static_cast<int>(p_.kv.size()) + operand.index;
      touch.begin = placed ? buffer.offset : 0;
      touch.end = touch.begin + buffer.bytes;
      touch.in_replica = buffer.replicated;
      touch.row_bytes = buffer.ld * DTypeSize(buffer.type.dtype);
      touch.own_rows =
          kernel.family == Family::kRowwise && buffer.ld > 0 && !buffer.kv.has_value() &&
          (touch.write || TouchesOwnRow(*kernel.body, kernel.body->parameters()[i].get()));
    } else {
      continue;
    }
    touches.push_back(std::move(touch));
  }
  return touches;
}

absl::Status OrderChecker::CheckPair(const Touch& a, const Touch& b, StepKind step) const {
  if (!a.write && !b.write) return absl::OkStatus();
  if (a.space != b.space || a.begin >= b.end || b.begin >= a.end) return absl::OkStatus();
  if (step.few && a.in_replica && b.in_replica) return absl::OkStatus();
  const Launch& first = p_.launches[a.launch];
  const Launch& second = p_.launches[b.launch];
  const bool dealt = !step.few || (!first.replicated && !second.replicated);
  const Units& units = p_.kernels[first.kernel].units;
  const bool same_thread = dealt && a.own_rows && b.own_rows && units.factor == 1 &&
                           units.block == 1 && units.symbol >= 0 &&
                           units == p_.kernels[second.kernel].units && a.begin == b.begin &&
                           a.row_bytes == b.row_bytes;
  const bool same_head = dealt && !step.prefill && a.own_heads && b.own_heads &&
                         units == p_.kernels[second.kernel].units;
  if (same_thread || same_head) return absl::OkStatus();
  return InvalidArgument("launch ", b.launch, " ", p_.kernels[second.kernel].name,
                         ": expected a barrier behind launch ", a.launch, " in steps of ",
                         step.few ? "few" : "many", " rows",
                         step.prefill ? ", several of a sequence" : "", ", since it ",
                         b.write ? "writes" : "reads", " %", b.name, " where that ",
                         a.write ? "writes" : "reads", " %", a.name, ", found none");
}

absl::Status OrderChecker::CheckSteps(StepKind step) const {
  std::vector<Touch> stretch;
  for (size_t l = 0; l < p_.launches.size(); ++l) {
    if (Stands(p_.launches[l].barrier, step)) stretch.clear();
    std::vector<Touch> touches = TouchesOf(l);
    for (const Touch& touch : touches) {
      for (const Touch& before : stretch) NINFER_RETURN_IF_ERROR(CheckPair(before, touch, step));
    }
    stretch.insert(stretch.end(), touches.begin(), touches.end());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOrder(const Program& program) { return OrderChecker(program).Check(); }

}  // namespace ninfer::program
