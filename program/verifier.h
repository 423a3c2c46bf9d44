// Checks a program: bodies, operand types against parameters, formats, orders. After the schedule
// and plan-buffers passes two more checkers, which share no code with those passes, follow what the
// launch list really does. Tested by tests/program_verifier_test.cc, tests/program_checker_test.cc.
#ifndef NINFER_PROGRAM_VERIFIER_H_
#define NINFER_PROGRAM_VERIFIER_H_

#include "absl/status/status.h"
#include "program/program.h"

namespace ninfer::program {

absl::Status Verify(const Program& program);

// In every kind of step (StepKind) two launches that access the same bytes, one of them writing,
// are separated by a barrier, unless each thread touches nothing but its own replica, its own rows,
// or its own heads of the cache.
absl::Status CheckOrder(const Program& program);

// Follows which value each byte range of the arena holds; every read must find the value that the
// launch names, whole, and within the arena. Does not look at lifetimes or at the planner's notes.
absl::Status CheckBuffers(const Program& program);

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_VERIFIER_H_
