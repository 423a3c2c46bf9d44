// A plan that was just made, run on short texts by the executor that users run.
// Tested by tests/compiler_test.cc.
#ifndef NINFER_COMPILER_RUN_PLAN_H_
#define NINFER_COMPILER_RUN_PLAN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "compiler/compile.h"
#include "cuda/driver/driver.h"
#include "runtime/executor.h"

namespace ninfer::compiler {

// What runs the plan here: this CPU where it has code for it, else the first card for which it has.
struct Runner {
  const plan::CodeImage* cpu = nullptr;
  absl::optional<cuda::Card> card;
  std::string none;          // why neither does; empty where one does
  std::string name() const;  // "zen4", "sm_90"
};
Runner FindRunner(const plan::Plan& plan);

// `compiled` outlives the executor and has a runner.
absl::StatusOr<std::unique_ptr<runtime::Executor>> ExecutorOf(const Compiled& compiled,
                                                              const Runner& runner, int threads);

// Logits [tokens, vocabulary] of one text, in steps of as many tokens as rows are given. `first` >
// 0: so many in one step, then token by token. A plan without a cache takes the whole text, which
// must fit a step, once for every max_rows rows.
absl::StatusOr<std::vector<float>> RunPlan(runtime::Executor& executor,
                                           const std::vector<int32_t>& ids, int64_t first = 0);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_RUN_PLAN_H_
