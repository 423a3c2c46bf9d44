// What each launch of a compiled step must read, write and multiply at least, counted from the
// plan's launches, operands, types and caches; no model is known by name. Tested by
// tests/bench_launch_cost_test.cc.
#ifndef NINFER_BENCH_LAUNCH_COST_H_
#define NINFER_BENCH_LAUNCH_COST_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/plan.h"

namespace ninfer::bench {

// A step that appends `tokens` tokens to each of `texts` texts of `cached` positions, and wants the
// logits of each text's last one.
struct StepShape {
  int64_t texts = 1, tokens = 1, cached = 0;
};

struct LaunchCost {
  double bytes = 0;       // of weights, cache and buffers, each once
  double operations = 0;  // of products: a product and a sum are two
};

// By launch of the entry `step`, which must be there. Weights of experts count as one row's, the
// fewest that a step can do with. What one launch keeps for itself alone, as the scores that some
// forms of attention store, counts nothing.
absl::StatusOr<std::vector<LaunchCost>> CountLaunches(const plan::Plan& plan,
                                                      const StepShape& shape);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_LAUNCH_COST_H_
