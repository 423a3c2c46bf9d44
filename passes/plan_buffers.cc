// PlanBuffers: lifetimes become offsets in the arena, as in Pisarchyk and Lee's "Efficient Memory
// Management for Deep Neural Net Inference" (greedy by size); several orders are tried, the
// smallest arena kept.
//
// Time is counted in epochs, the stretches between barriers, since within one epoch launches may
// run at the same time on different threads: a place is free for a new value once a barrier lies
// behind its last reader. For shared buffers only barriers that always stand count. A replica
// belongs to one thread in steps of few rows, whose own order suffices, so there the barriers of
// steps of many rows count, too.
//
// In place: where the last reader of a value reads each element before it writes the same element
// of its one output (a residual added by a linear, elementwise ops), and all other accesses lie
// behind a barrier, the output takes the value's place.
//
// arena_lower_bound is the most bytes that are alive in one epoch: no placement can do with less,
// for these barriers and this reuse in place.
//
// Proves: every read finds its value (program::CheckBuffers and CheckOrder, which share no code).
// Order: last, when barriers are final.
// Tested by tests/program_passes_test.cc (tests/program/passes/plan_buffers.kp),
// tests/program_planner_test.cc.
#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "passes/passes.h"
#include "passes/rewrite.h"
#include "program/body.h"

namespace ninfer::passes {
namespace {

using program::Buffer;
using program::Kernel;
using program::Launch;
using program::OperandKind;
using program::Program;

constexpr int64_t kAlignment = 64;
constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

// Buffers that share one place, one after the other.
struct Group {
  std::vector<int> buffers;
  int64_t first = 0, last = 0;  // epochs, inclusive
  int64_t bytes = 0;
  int64_t offset = -1;
};

int64_t RoundUp(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool Overlap(const Group& a, const Group& b) { return a.first <= b.last && b.first <= a.last; }

class Planner {
 public:
  explicit Planner(const Program& program) : p_(program) {
    FindEpochs();
    FindLifetimes();
  }

  int64_t first_launch(int buffer) const { return first_[buffer]; }
  int64_t last_launch(int buffer) const { return last_[buffer]; }
  // Offsets of the replicated, or shared, buffers among `planned`; the others lie apart behind
  // them.
  int64_t Plan(bool replicated, const std::vector<bool>& planned, std::vector<int64_t>& offsets,
               int64_t& lower_bound) const;

 private:
  void FindEpochs();
  void FindLifetimes();
  int64_t EpochOf(int buffer, int64_t launch) const {
    return p_.buffers[buffer].replicated ? many_[launch] : few_[launch];
  }
  std::vector<Group> MakeGroups(bool replicated, const std::vector<bool>& planned) const;
  // The buffer whose place `buffer` takes over at its first launch, or -1.
  int PredecessorOf(int buffer, const std::vector<bool>& planned) const;
  bool EndsAt(int buffer, int64_t launch) const;

  const Program& p_;
  std::vector<int64_t> few_, many_;    // epoch of each launch by kind of step
  std::vector<int64_t> first_, last_;  // launches of each buffer
  std::vector<std::vector<int64_t>> accesses_;
};

void Planner::FindEpochs() {
  int64_t few = 0, many = 0;
  for (const Launch& launch : p_.launches) {
    few += program::Stands(launch.barrier, {.few = true}) ? 1 : 0;
    many += program::Stands(launch.barrier, {.few = false}) ? 1 : 0;
    few_.push_back(few);
    many_.push_back(many);
  }
}

void Planner::FindLifetimes() {
  accesses_.resize(p_.buffers.size());
  for (size_t l = 0; l < p_.launches.size(); ++l) {
    for (const program::Operand& operand : p_.launches[l].operands) {
      if (operand.kind != OperandKind::kBuffer) continue;
      accesses_[operand.index].push_back(static_cast<int64_t>(l));
    }
  }
  for (size_t b = 0; b < p_.buffers.size(); ++b) {
    first_.push_back(accesses_[b].empty() ? 0 : accesses_[b].front());
    last_.push_back(accesses_[b].empty() ? 0 : accesses_[b].back());
    if (p_.buffers[b].is_output) last_.back() = static_cast<int64_t>(p_.launches.size()) - 1;
  }
}

// True when all accesses but this launch's lie behind a barrier.
bool Planner::EndsAt(int buffer, int64_t launch) const {
  if (p_.buffers[buffer].is_output || accesses_[buffer].back() != launch) return false;
  return std::all_of(accesses_[buffer].begin(), accesses_[buffer].end(), [&](int64_t access) {
    return access == launch || EpochOf(buffer, access) < EpochOf(buffer, launch);
  });
}

int Planner::PredecessorOf(int buffer, const std::vector<bool>& planned) const {
  if (accesses_[buffer].empty()) return -1;
  const Launch& launch = p_.launches[first_[buffer]];
  const Kernel& kernel = p_.kernels[launch.kernel];
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    const program::Operand& operand = launch.operands[i];
    if (operand.kind != OperandKind::kBuffer || kernel.params[i].written) continue;
    const Buffer& source = p_.buffers[operand.index];
    const bool alike = planned[operand.index] && source.ld == p_.buffers[buffer].ld &&
                       source.bytes == p_.buffers[buffer].bytes &&
                       source.replicated == p_.buffers[buffer].replicated;
    const bool once = std::count(launch.operands.begin(), launch.operands.end(), operand) == 1;
    if (alike && once && program::MayOverwrite(kernel, static_cast<int>(i)) &&
        EndsAt(operand.index, first_[buffer])) {
      return operand.index;
    }
  }
  return -1;
}

std::vector<Group> Planner::MakeGroups(bool replicated, const std::vector<bool>& planned) const {
  std::vector<Group> groups;
  std::vector<int> group_of(p_.buffers.size(), -1);
  std::vector<int> order;
  for (size_t b = 0; b < p_.buffers.size(); ++b) {
    if (p_.buffers[b].replicated == replicated && planned[b]) order.push_back(static_cast<int>(b));
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return first_[a] < first_[b]; });
  std::vector<bool> taken(p_.buffers.size(), false);
  for (int buffer : order) {
    const int64_t last = p_.buffers[buffer].is_output ? kForever : EpochOf(buffer, last_[buffer]);
    const int before = PredecessorOf(buffer, planned);
    if (before >= 0 && !taken[before]) {
      taken[before] = true;
      group_of[buffer] = group_of[before];
      Group& group = groups[group_of[buffer]];
      group.buffers.push_back(buffer);
      group.last = std::max(group.last, last);
      continue;
    }
    group_of[buffer] = static_cast<int>(groups.size());
    groups.push_back(
        {{buffer}, EpochOf(buffer, first_[buffer]), last, RoundUp(p_.buffers[buffer].bytes), -1});
  }
  return groups;
}

// Places groups in this order, each in the smallest (or the first) gap that holds it among those
// alive at the same time. Returns the end of the last.
int64_t PlaceGroups(std::vector<Group>& groups, const std::vector<size_t>& order, bool best_fit) {
  std::vector<const Group*> placed;  // by offset
  int64_t end = 0;
  for (size_t index : order) {
    Group& group = groups[index];
    int64_t at = -1, smallest = kForever, free_from = 0;
    for (const Group* other : placed) {
      if (!Overlap(group, *other)) continue;
      const int64_t gap = other->offset - free_from;
      if (gap >= group.bytes && gap < smallest && (best_fit || at < 0)) {
        at = free_from;
        smallest = gap;
      }
      free_from = std::max(free_from, other->offset + other->bytes);
    }
    group.offset = at >= 0 ? at : free_from;
    end = std::max(end, group.offset + group.bytes);
    const auto place =
        std::upper_bound(placed.begin(), placed.end(), &group,
                         [](const Group* a, const Group* b) { return a->offset < b->offset; });
    placed.insert(place, &group);
  }
  return end;
}

int64_t MostAlive(const std::vector<Group>& groups) {
  int64_t most = 0;
  for (const Group& at : groups) {  // the most are alive where some group begins
    int64_t bytes = 0;
    for (const Group& group : groups) {
      if (group.first <= at.first && at.first <= group.last) bytes += group.bytes;
    }
    most = std::max(most, bytes);
  }
  return most;
}

int64_t PlaceBest(std::vector<Group>& groups) {
  const auto length = [](const Group& g) { return g.last - g.first; };
  using Less = bool (*)(const Group&, const Group&, int64_t, int64_t);
  const Less orders[] = {
      [](const Group& a, const Group& b, int64_t, int64_t) { return a.bytes > b.bytes; },
      [](const Group& a, const Group& b, int64_t, int64_t) { return a.first < b.first; },
      [](const Group&, const Group&, int64_t la, int64_t lb) { return la > lb; },
  };
  std::vector<Group> best;
  int64_t best_end = kForever;
  for (const Less less : orders) {
    for (const bool best_fit : {true, false}) {
      std::vector<size_t> order(groups.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return less(groups[a], groups[b], length(groups[a]), length(groups[b]));
      });
      std::vector<Group> tried = groups;
      const int64_t end = PlaceGroups(tried, order, best_fit);
      if (end >= best_end) continue;
      best_end = end;
      best = std::move(tried);
    }
  }
  groups = std::move(best);
  return groups.empty() ? 0 : best_end;
}

int64_t Planner::Plan(bool replicated, const std::vector<bool>& planned,
                      std::vector<int64_t>& offsets, int64_t& lower_bound) const {
  std::vector<Group> groups = MakeGroups(replicated, planned);
  lower_bound += MostAlive(groups);
  int64_t end = PlaceBest(groups);
  for (const Group& group : groups) {
    for (int buffer : group.buffers) offsets[buffer] = group.offset;
  }
  for (size_t b = 0; b < p_.buffers.size(); ++b) {
    if (p_.buffers[b].replicated != replicated || planned[b]) continue;
    offsets[b] = end;
    end += RoundUp(p_.buffers[b].bytes);
  }
  return end;
}

}  // namespace

absl::StatusOr<int> PlanBuffers(Program& program, const PassOptions& options) {
  const Planner planner(program);
  const size_t count = program.buffers.size();
  std::vector<int64_t> offsets(count, -1);
  int64_t lower_bound = 0;
  const auto plan = [&](const std::vector<bool>& planned) {
    lower_bound = 0;
    const int64_t arena = planner.Plan(false, planned, offsets, lower_bound);
    return std::make_pair(arena, planner.Plan(true, planned, offsets, lower_bound));
  };
  auto [arena, replica] = plan(std::vector<bool>(count, true));
  bool settled = program.arena_bytes == arena && program.replica_bytes == replica;
  for (size_t b = 0; b < count; ++b) settled &= program.buffers[b].offset == offsets[b];
  if (settled) return 0;

  // A buffer that may not be planned keeps a place of its own.
  Rewrites rewrites(options);
  std::vector<bool> planned(count, false);
  for (size_t b = 0; b < count && rewrites.Next(); ++b) planned[b] = true;
  if (rewrites.made() == 0) return 0;
  std::tie(arena, replica) = plan(planned);
  program.arena_bytes = arena;
  program.replica_bytes = replica;
  program.arena_lower_bound = lower_bound;
  for (size_t b = 0; b < count; ++b) {
    Buffer& buffer = program.buffers[b];
    buffer.offset = offsets[b];
    buffer.first_launch = planner.first_launch(static_cast<int>(b));
    buffer.last_launch = planner.last_launch(static_cast<int>(b));
  }
  return rewrites.made();
}

}  // namespace ninfer::passes
