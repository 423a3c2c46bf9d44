// What is measured: so many tokens of a prompt, or one by one of one text or of several at a time,
// behind cached positions; and what it costs at least. Tested by tests/bench_work_test.cc.
#ifndef NINFER_BENCH_WORK_H_
#define NINFER_BENCH_WORK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/count.h"
#include "bench/launch_cost.h"
#include "bench/texts.h"
#include "runtime/executor.h"

namespace ninfer::bench {

struct Work {
  bool prefill = true;
  int64_t tokens = 0;  // of each text
  int64_t depth = 0;   // positions that each text has cached
  int64_t texts = 1;   // at a time; 1 of a prompt

  std::string name() const;  // "pp512", "tg64", "tg64 x8 @ d2048"
  int64_t end() const { return depth + tokens; }
  int64_t all_tokens() const { return texts * tokens; }
};

// Each depth's prompts and decodings, in this order.
struct WorkLists {
  std::vector<int64_t> prefill, decode, depths = {0}, batches = {1};
  std::vector<Work> Works() const;
  // The lengths of the texts that the cache must hold at once: the first is the longest.
  std::vector<int64_t> TextLengths() const;
};

// Refuses works that the executor, opened for them, cannot do, naming the flags; and caches that
// would not fit the memory which is free.
absl::Status CheckRoom(const runtime::Executor& executor, const WorkLists& lists);

// The shapes of the steps that it takes, in order. A decoding is as many steps of its middle.
std::vector<StepShape> StepsOf(const Work& work, int64_t max_tokens);

// What the work costs at least, over all its steps.
struct WorkCost {
  int64_t steps = 0;
  double bytes = 0;       // the plan's weights once in each step, and the cache of every text
  double operations = 0;  // of the imported graph's products
};
WorkCost CostOf(const Work& work, const runtime::Executor& executor, const StepCost& cost);

// Computes it on texts that were prepared for it, and calls back after each step.
absl::Status Compute(const Work& work, Texts* texts, absl::FunctionRef<void()> after_step);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_WORK_H_
