// A plan that was just made, run on short texts by the executor that users run.
// Tested by tests/compiler_test.cc.
#ifndef NINFER_COMPILER_RUN_PLAN_H_
#define NINFER_COMPILER_RUN_PLAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/compile.h"
#include "runtime/cpu_executor.h"

namespace ninfer::compiler {

// `compiled` outlives the executor and has an image for this CPU.
absl::StatusOr<std::unique_ptr<runtime::CpuExecutor>> ExecutorOf(const Compiled& compiled,
                                                                 int threads);

// Logits [tokens, vocabulary] of one text, in steps of as many tokens as rows are given. `first` >
// 0: so many in one step, then token by token. A plan without a cache takes the whole text, which
// must fit a step, once for every max_rows rows.
absl::StatusOr<std::vector<float>> RunPlan(runtime::Executor& executor,
                                           const std::vector<int32_t>& ids, int64_t first = 0);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_RUN_PLAN_H_
