// Follows which value each byte of the arena holds, and asks at every read. Trusts nothing of the
// planner but the offsets: not lifetimes, not which buffers share a place. The idea is that of
// regalloc2's checker.
//
// Lattice: a byte holds nothing, or the value of one buffer. There is no join, since a step has no
// branches; CheckOrder shows that threads keep the order in which launches are walked here, and
// that replicas and shared memory may be walked alike: thread i's block of replicas is one space,
// the shared arena another.
//
// Transfer, for each launch in order:
// - read of buffer b: every byte of b's range must hold b.
// - write of buffer b: before it, b's range may overlap that of another operand of the launch only
//   in place. Then the other is read, lies at the same offset with the same size and row stride,
//   and the kernel reads each element before it writes it. After it, b's bytes hold b, and a value
//   that lost a byte is found no more.
// - end of the step: the outputs' bytes must hold them.
// Every range must lie inside its block, aligned to 64.
//
// Tested by tests/program_checker_test.cc.
#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/status.h"
#include "program/verifier.h"

namespace ninfer::program {
namespace {

constexpr int kNothing = -1;

// What each byte of one space holds: disjoint ranges by their begin.
class Contents {
 public:
  void Write(int64_t begin, int64_t end, int value) {
    Cut(begin);
    Cut(end);
    ranges_.erase(ranges_.lower_bound(begin), ranges_.lower_bound(end));
    ranges_[begin] = {end, value};
  }
  // The first byte of [begin, end) that does not hold `value`, or `end`; `found` is what it holds.
  int64_t FirstOther(int64_t begin, int64_t end, int value, int* found) const {
    int64_t at = begin;
    *found = kNothing;
    while (at < end) {
      auto it = ranges_.upper_bound(at);
      if (it == ranges_.begin()) return at;
      --it;
      if (it->second.end <= at) return at;
      if (it->second.value != value) {
        *found = it->second.value;
        return at;
      }
      at = it->second.end;
    }
    return end;
  }

 private:
  struct Range {
    int64_t end;
    int value;
  };
  void Cut(int64_t at) {
    auto it = ranges_.lower_bound(at);
    if (it == ranges_.begin()) return;
    --it;
    if (it->second.end <= at) return;
    ranges_[at] = it->second;
    it->second.end = at;
  }
  std::map<int64_t, Range> ranges_;
};

// True when each element of the kernel's single result is computed from the same element of
// `source` and from no other of it: every op on the way works element by element on values of one
// shape.
bool ReadsElementFirst(const Kernel& kernel, const ir::Value* source) {
  const ir::Function& body = *kernel.body;
  if (body.results().size() != 1 || body.results()[0]->type() != source->type()) return false;
  if (kernel.family != Family::kLinear && kernel.family != Family::kRowwise) return false;
  std::vector<const ir::Value*> tainted = {source};  // depends on the source
  const auto is_tainted = [&tainted](const ir::Value* value) {
    return std::find(tainted.begin(), tainted.end(), value) != tainted.end();
  };
  for (const auto& node : body.nodes()) {
    const ir::OpClass op_class = node->info().op_class;
    const bool by_element = op_class == ir::OpClass::kCast ||
                            (op_class == ir::OpClass::kElementwise && node->op() != ir::Op::kRope);
    // A rowwise body that reduces or gathers passes over its row more than once.
    if (kernel.family == Family::kRowwise && !by_element) return false;
    bool depends = false;
    for (const ir::Value* operand : node->operands()) depends |= is_tainted(operand);
    if (!depends) continue;
    if (!by_element || node->result()->type().shape != source->type().shape) return false;
    tainted.push_back(node->result());
  }
  return true;
}

class BufferChecker {
 public:
  explicit BufferChecker(const Program& program) : p_(program) {}

  absl::Status Check() {
    for (const Buffer& buffer : p_.buffers) {
      const int64_t size = buffer.replicated ? p_.replica_bytes : p_.arena_bytes;
      const bool inside = buffer.offset >= 0 && buffer.bytes >= 0 && size >= 0 &&
                          InBounds(buffer.offset, buffer.bytes, size);
      if (!inside || buffer.offset % 64 != 0) {
        return InvalidArgument("buffer %", buffer.name, ": expected ", buffer.bytes,
                               " aligned bytes inside ", size, ", found offset ", buffer.offset);
      }
    }
    for (size_t l = 0; l < p_.launches.size(); ++l) NINFER_RETURN_IF_ERROR(Step(l));
    if (p_.argmax >= 0) NINFER_RETURN_IF_ERROR(Find(p_.argmax, "the end of the step"));
    return Find(p_.output, "the end of the step");
  }

 private:
  absl::Status Step(size_t index);
  absl::Status Find(int buffer, const std::string& reader);
  absl::Status CheckInPlace(size_t index, size_t output, size_t other) const;
  Contents& SpaceOf(const Buffer& buffer) { return buffer.replicated ? replica_ : arena_; }
  std::string Describe(size_t index) const {
    return absl::StrCat("launch ", index, " ", p_.kernels[p_.launches[index].kernel].name);
  }

  const Program& p_;
  Contents arena_, replica_;
};

absl::Status BufferChecker::Find(int index, const std::string& reader) {
  const Buffer& buffer = p_.buffers[index];
  int found = kNothing;
  const int64_t end = buffer.offset + buffer.bytes;
  const int64_t at = SpaceOf(buffer).FirstOther(buffer.offset, end, index, &found);
  if (at == end) return absl::OkStatus();
  return InvalidArgument(reader, ": expected %", buffer.name, " at byte ", at,
                         buffer.replicated ? " of the replica" : " of the arena", ", found ",
                         found == kNothing ? "nothing" : absl::StrCat("%", p_.buffers[found].name));
}

absl::Status BufferChecker::CheckInPlace(size_t index, size_t output, size_t other) const {
  const Launch& launch = p_.launches[index];
  const Kernel& kernel = p_.kernels[launch.kernel];
  const Buffer& to = p_.buffers[launch.operands[output].index];
  const Buffer& from = p_.buffers[launch.operands[other].index];
  if (to.replicated != from.replicated || to.offset >= from.offset + from.bytes ||
      from.offset >= to.offset + to.bytes) {
    return absl::OkStatus();
  }
  const bool same_place = to.offset == from.offset && to.bytes == from.bytes && to.ld == from.ld &&
                          to.type.dtype == from.type.dtype;
  if (same_place && !kernel.params[other].written &&
      ReadsElementFirst(kernel, kernel.body->parameters()[other].get())) {
    return absl::OkStatus();
  }
  return InvalidArgument(Describe(index), ": expected %", to.name, " apart from %", from.name,
                         ", found both at bytes ", to.offset, " and ", from.offset);
}

absl::Status BufferChecker::Step(size_t index) {
  const Launch& launch = p_.launches[index];
  const Kernel& kernel = p_.kernels[launch.kernel];
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    if (launch.operands[i].kind != OperandKind::kBuffer || kernel.params[i].written) continue;
    NINFER_RETURN_IF_ERROR(Find(launch.operands[i].index, Describe(index)));
  }
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    if (launch.operands[i].kind != OperandKind::kBuffer || !kernel.params[i].written) continue;
    for (size_t other = 0; other < launch.operands.size(); ++other) {
      if (other == i || launch.operands[other].kind != OperandKind::kBuffer) continue;
      NINFER_RETURN_IF_ERROR(CheckInPlace(index, i, other));
    }
  }
  for (size_t i = 0; i < launch.operands.size(); ++i) {
    if (launch.operands[i].kind != OperandKind::kBuffer || !kernel.params[i].written) continue;
    const Buffer& buffer = p_.buffers[launch.operands[i].index];
    SpaceOf(buffer).Write(buffer.offset, buffer.offset + buffer.bytes, launch.operands[i].index);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckBuffers(const Program& program) { return BufferChecker(program).Check(); }

}  // namespace ninfer::program
