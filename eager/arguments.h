// The arguments of a step as tensors: absent ones derived, all of them checked against the symbols.
// Tested by tests/eager_test.cc.
#ifndef NINFER_EAGER_ARGUMENTS_H_
#define NINFER_EAGER_ARGUMENTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "eager/eager.h"
#include "ir/module.h"

namespace ninfer::eager {

struct NamedType {
  std::string name;
  ir::Type type;
};

struct Step {
  std::vector<Tensor> arguments;  // in the order of the names
  std::vector<int64_t> dims;      // by symbol; -1 where no argument tells
};

// Absent arguments: seq_bounds is one sequence of all tokens; cached_lens is each sequence's first
// position, else 0; positions go on from cached_lens; the page table gives each of S sequences the
// next `pages` / S pages in order, and serves where window tables are absent; rows are all rows;
// rope_len is the length of the text after the step.
absl::StatusOr<Step> ResolveStep(const StepArguments& arguments, absl::Span<const NamedType> names,
                                 absl::Span<const ir::Symbol> symbols, int64_t pages);

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_ARGUMENTS_H_
