// Schedule: which launches every thread repeats for itself, in what order launches run, and before
// which of them the threads must meet.
//
// A step of few rows is short: a barrier costs as much as a norm. So a cheap rowwise launch is run
// whole by every thread into a replica of its own, and what reads it need not wait. In a step of
// many rows the same launch is dealt, and the barrier stands (Barrier::kMany).
//
// Order: a launch's phase is the number of barriers that must lie before it in a step of few rows,
// one of each sequence, the longest path of conflicts; launches are sorted by phase and keep their
// order within one. Then a barrier stands before a launch that conflicts with one behind the last
// barrier, and nowhere else: taken greedily this is the fewest for that order, and the phases make
// the order the best there is for such steps.
//
// Two launches conflict when they touch the same value and one writes it; not when both touch it
// row by row, dealing the same rows to the same threads, not in a thread's own replica, and not
// when they append to a cache and attend to it, dealing the same heads of the same rows to the same
// threads, while no sequence has several rows.
//
// Proves: every pair of conflicting accesses is ordered (program::CheckOrder, which shares no
// code).
// Order: behind lower; before plan-buffers, since barriers decide how long a buffer's place is
// taken.
// Tested by tests/program_passes_test.cc (tests/program/passes/schedule.kp),
// tests/program_planner_test.cc.
#include <algorithm>
#include <map>

#include "passes/passes.h"
#include "passes/rewrite.h"
#include "program/body.h"
#include "program/scratch.h"

namespace ninfer::passes {
namespace {

using ir::Op;
using program::Barrier;
using program::Family;
using program::Kernel;
using program::Launch;
using program::OperandKind;
using program::Program;

constexpr int64_t kMostReplicatedCost = 16384;

// --- replicas ------------------------------------------------------------------------------------

// Rough cost of one element; a simple operation on a value in the nearest cache costs 1.
int64_t ElementCost(const Kernel& kernel, const ir::Node& node) {
  switch (node.info().op_class) {
    case ir::OpClass::kView:
      return 0;
    case ir::OpClass::kReduce:
      return 4;
    case ir::OpClass::kElementwise: {
      // Constants, functions of one value (most of them transcendental), arithmetic of two,
      // rotations.
      constexpr int64_t kByOperands[] = {0, 8, 1, 3};
      return kByOperands[std::min<size_t>(node.operands().size(), 3)];
    }
    case ir::OpClass::kGather: {
      if (node.op() != Op::kEmbedding) return 1;
      // A row of a panelled table is one element from each of many cache lines.
      const int table = program::ParameterIndex(*kernel.body, node.operand(1));
      const bool panel = table >= 0 && formats::InfoOf(kernel.params[table].format).is_panel;
      return panel ? 32 : 1;
    }
    default:
      return 1;
  }
}

bool ShouldReplicate(const Program& program, const Launch& launch) {
  const Kernel& kernel = program.kernels[launch.kernel];
  if (kernel.family != Family::kRowwise) return false;
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    if (kernel.params[i].written && program.buffers[launch.operands[i].index].is_output)
      return false;
  }
  int64_t cost = 0;
  for (const auto& node : kernel.body->nodes()) {
    cost += ElementCost(kernel, *node) * program::Columns(node->result()->type());
  }
  return cost <= kMostReplicatedCost;
}

void Replicate(Program& program, Launch& launch) {
  launch.replicated = true;
  const Kernel& kernel = program.kernels[launch.kernel];
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    if (kernel.params[i].written) program.buffers[launch.operands[i].index].replicated = true;
  }
}

// --- conflicts -----------------------------------------------------------------------------------

struct Access {
  size_t launch = 0;
  bool writes = false;
  bool by_rows = false;  // unit u touches row u alone
};

// A buffer, or a layer's KV pool.
using Resource = std::pair<OperandKind, int>;

class Conflicts {
 public:
  Conflicts(const Program& program, program::StepKind step) : p_(program), step_(step) {}

  // Earlier accesses that must stay before the launch's, with whether a barrier must lie between.
  template <typename Visit>
  void ForEach(size_t index, const Visit& visit) const {
    for (const auto& [resource, access] : AccessesOf(index)) {
      const auto it = seen_.find(resource);
      if (it == seen_.end()) continue;
      for (const Access& before : it->second) {
        if (before.writes || access.writes)
          visit(before.launch, NeedBarrier(resource, before, access));
      }
    }
  }

  void Note(size_t index) {
    for (const auto& [resource, access] : AccessesOf(index)) seen_[resource].push_back(access);
  }
  void Forget() { seen_.clear(); }

 private:
  std::vector<std::pair<Resource, Access>> AccessesOf(size_t index) const {
    std::vector<std::pair<Resource, Access>> accesses;
    const Launch& launch = p_.launches[index];
    const Kernel& kernel = p_.kernels[launch.kernel];
    for (size_t i = 0; i < launch.operands.size(); ++i) {
      const program::Operand& operand = launch.operands[i];
      if (operand.kind != OperandKind::kBuffer && operand.kind != OperandKind::kKv) continue;
      const bool writes = kernel.params[i].written;
      const bool by_rows = writes ? kernel.family == Family::kRowwise
                                  : program::ReadsRowByRow(kernel, static_cast<int>(i));
      accesses.push_back({{operand.kind, operand.index}, {index, writes, by_rows}});
    }
    return accesses;
  }

  bool NeedBarrier(const Resource& resource, const Access& a, const Access& b) const {
    const Launch& first = p_.launches[a.launch];
    const Launch& second = p_.launches[b.launch];
    const bool same_units = p_.kernels[first.kernel].units == p_.kernels[second.kernel].units;
    // Attention and what appends to the cache alone touch it.
    if (resource.first == OperandKind::kKv) return step_.prefill || !same_units;
    if (step_.few && p_.buffers[resource.second].replicated) return false;
    const bool dealt = !step_.few || (!first.replicated && !second.replicated);
    return !(dealt && same_units && a.by_rows && b.by_rows);
  }

  const Program& p_;
  const program::StepKind step_;
  std::map<Resource, std::vector<Access>> seen_;
};

// --- order and barriers --------------------------------------------------------------------------

// The launches by phase; empty when they stand so already.
std::vector<size_t> PhaseOrder(const Program& program) {
  Conflicts conflicts(program, {.few = true});
  std::vector<int> phases(program.launches.size(), 0);
  std::vector<size_t> order;
  for (size_t i = 0; i < phases.size(); ++i) {
    conflicts.ForEach(i, [&](size_t before, bool barrier) {
      phases[i] = std::max(phases[i], phases[before] + (barrier ? 1 : 0));
    });
    conflicts.Note(i);
    order.push_back(i);
  }
  if (std::is_sorted(phases.begin(), phases.end())) return {};
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return phases[a] < phases[b]; });
  return order;
}

void Reorder(Program& program, const std::vector<size_t>& order) {
  std::vector<Launch> launches;
  for (size_t index : order) launches.push_back(std::move(program.launches[index]));
  program.launches = std::move(launches);
}

// Launches before which threads must meet in one kind of step, given where they meet anyway.
std::vector<bool> Meetings(const Program& program, program::StepKind step,
                           const std::vector<bool>& given) {
  Conflicts conflicts(program, step);
  std::vector<bool> meets(program.launches.size(), false);
  for (size_t i = 0; i < meets.size(); ++i) {
    meets[i] = given[i];
    if (!meets[i]) {
      conflicts.ForEach(i, [&](size_t, bool barrier) {
        if (barrier) meets[i] = true;
      });
    }
    if (meets[i]) conflicts.Forget();
    conflicts.Note(i);
  }
  return meets;
}

}  // namespace

absl::StatusOr<int> Schedule(Program& program, const PassOptions& options) {
  Rewrites rewrites(options);
  for (Launch& launch : program.launches) {
    if (launch.replicated || !ShouldReplicate(program, launch)) continue;
    if (!rewrites.Next()) return rewrites.made();
    Replicate(program, launch);
  }
  const std::vector<size_t> order = PhaseOrder(program);
  if (!order.empty()) {
    if (!rewrites.Next()) return rewrites.made();
    Reorder(program, order);
  }
  const std::vector<bool> always =
      Meetings(program, {.few = true}, std::vector<bool>(program.launches.size(), false));
  const std::vector<bool> many = Meetings(program, {.few = false}, always);
  const std::vector<bool> prefill = Meetings(program, {.few = true, .prefill = true}, always);
  for (size_t i = 0; i < program.launches.size(); ++i) {
    // What a prefill of many rows needs, a prefill or a step of many rows needs.
    const Barrier barrier = always[i]               ? Barrier::kAlways
                            : many[i] && prefill[i] ? Barrier::kManyOrPrefill
                            : many[i]               ? Barrier::kMany
                            : prefill[i]            ? Barrier::kPrefill
                                                    : Barrier::kNone;
    if (program.launches[i].barrier == barrier) continue;
    if (!rewrites.Next()) return rewrites.made();
    program.launches[i].barrier = barrier;
  }
  for (Kernel& kernel : program.kernels) {
    const int64_t bytes = program::ScratchBytes(kernel, program.symbols);
    if (kernel.scratch_bytes == bytes) continue;
    if (!rewrites.Next()) return rewrites.made();
    kernel.scratch_bytes = bytes;
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
