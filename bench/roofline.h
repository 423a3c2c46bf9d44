// Every kernel of a compiled step: how often it is launched, what it must read and multiply, how
// long that takes at the machine's limits, and how long it took. Each launch is timed in the
// executor, on each thread, in the steps that users run; what is left of the steps' time is
// barriers and the rest. Tested by tests/bench_test.py and tests/bench_roofline_test.cc.
#ifndef NINFER_BENCH_ROOFLINE_H_
#define NINFER_BENCH_ROOFLINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/engine.h"
#include "bench/launch_cost.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "bench/report.h"
#include "bench/speed.h"
#include "bench/work.h"
#include "plan/plan.h"
#include "runtime/cpu_function.h"

namespace ninfer::bench {

struct RooflineOptions {
  WorkLists works;
  int repetitions = 5;
  Progress* progress = nullptr;  // never null; told of RowsOfRoofline rows
};
int RowsOfRoofline(const RooflineOptions& options);

// One table for each work. `label` names the model in the titles.
absl::StatusOr<std::vector<Table>> MeasureRoofline(Engine* engine, const std::string& label,
                                                   const RooflineOptions& options,
                                                   StateProbe* state);

// What one launch took: seconds in its kernel, the mean of the threads, and seconds behind it in
// which the threads, in the mean, waited for others.
struct LaunchTime {
  double kernel = 0, wait = 0;
};
// Of a run that was timed; one for each launch.
std::vector<LaunchTime> TimesOf(const runtime::LaunchTimes& times);

// The launches of a kernel together.
struct KernelLine {
  std::string name, family;
  int64_t launches = 0;
  LaunchCost cost;
  LaunchTime time;
};
// By time, the longest first. `costs` and `times` by launch of the entry `step`.
std::vector<KernelLine> LinesOf(const plan::Plan& plan, const std::vector<LaunchCost>& costs,
                                const std::vector<LaunchTime>& times);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_ROOFLINE_H_
