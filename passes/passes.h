// Every pass as a function, declared from passes.def. Each is defined in a file of its own, whose
// head says what the pass does, what it proves and where it stands in the order. Tested by
// tests/passes_runner_test.cc.
#ifndef NINFER_PASSES_PASSES_H_
#define NINFER_PASSES_PASSES_H_

#include "absl/status/statusor.h"
#include "ir/module.h"
#include "passes/pass.h"
#include "program/program.h"

namespace ninfer::passes {

#define NINFER_PASS_MODULE(function) \
  absl::StatusOr<int> function(ir::Module& module, const PassOptions& options);
#define NINFER_PASS_LOWER(function) \
  absl::StatusOr<program::Program> function(const ir::Module& module, const PassOptions& options);
#define NINFER_PASS_PROGRAM(function) \
  absl::StatusOr<int> function(program::Program& program, const PassOptions& options);
#define PASS(level, function, ...) NINFER_PASS_##level(function)
#include "passes/passes.def"
#undef NINFER_PASS_MODULE
#undef NINFER_PASS_LOWER
#undef NINFER_PASS_PROGRAM

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_PASSES_H_
