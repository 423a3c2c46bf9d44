// Whether a step's arguments lie within an executor's limits. Every executor asks before it
// computes, so that no request can make one read or write outside its memory. Tested by
// tests/runtime_step_check_test.cc.
#ifndef NINFER_RUNTIME_STEP_CHECK_H_
#define NINFER_RUNTIME_STEP_CHECK_H_

#include <vector>

#include "absl/status/status.h"
#include "base/page_table.h"
#include "runtime/executor.h"

namespace ninfer::runtime {

class StepChecker {
 public:
  StepChecker(const ExecutorLimits& limits, int64_t vocab_size);

  // Refuses, naming the argument, what was expected and what was found. Positions must follow on
  // from the cached ones, every page that the step's rows see must be one of the group's, and a
  // page that this step writes must belong to one sequence and one place alone.
  absl::Status Check(const StepInput& input);

 private:
  absl::Status CheckShapes(const StepInput& input) const;
  absl::Status CheckPictures(const StepInput& input) const;
  absl::Status CheckSequences(const StepInput& input) const;
  absl::Status CheckPages(const StepInput& input, size_t group);

  ExecutorLimits limits_;
  int64_t vocab_size_;
  // For each page of each group: how often the step names it, and whether it is written; by step
  // number, so that it need not be cleared.
  struct Holder {
    int64_t step = 0;
    bool written = false;
  };
  std::vector<std::vector<Holder>> holders_;
  int64_t step_ = 0;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_STEP_CHECK_H_
