// Whether a step's arguments lie within an executor's limits. Every executor asks before it
// computes, so that no request can make one read or write outside its memory. Tested by
// tests/runtime_step_check_test.cc.
#ifndef NINFER_RUNTIME_STEP_CHECK_H_
#define NINFER_RUNTIME_STEP_CHECK_H_

#include <vector>

#include "absl/status/status.h"
#include "runtime/executor.h"

namespace ninfer::runtime {

class StepChecker {
 public:
  StepChecker(const ExecutorLimits& limits, int64_t vocab_size)
      : limits_(limits), vocab_size_(vocab_size), holder_(limits.total_pages) {}

  // Refuses, naming the argument, what was expected and what was found. Positions must follow on
  // from the cached ones, and a page that this step writes must belong to one sequence and one
  // place alone.
  absl::Status Check(const StepInput& input);

 private:
  absl::Status CheckShapes(const StepInput& input) const;
  absl::Status CheckSequences(const StepInput& input) const;
  absl::Status CheckPages(const StepInput& input);

  ExecutorLimits limits_;
  int64_t vocab_size_;
  // For each page: how often the step names it, and whether it is written; by step number, so that
  // it need not be cleared.
  struct Holder {
    int64_t step = 0;
    bool written = false;
  };
  std::vector<Holder> holder_;
  int64_t step_ = 0;
};

// Pages that hold `positions` positions.
inline int64_t PagesFor(int64_t positions, int64_t page_positions) {
  return (positions + page_positions - 1) / page_positions;
}

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_STEP_CHECK_H_
