// A step's time is the same for every thread, and each spends it in kernels or waiting: so the mean
// over threads of the time in each kernel, and what is left, explain the whole of it. Tested by
// tests/bench_test.py and tests/bench_roofline_test.cc.
#include "bench/roofline.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "bench/texts.h"
#include "runtime/cpu_executor.h"

namespace ninfer::bench {
namespace {

constexpr double kMicro = 1e6;

// All steps of a work, once.
struct Round {
  double seconds = 0;
  std::vector<LaunchTime> times;  // by launch, summed over the steps
  MachineSpeed speed;
};

struct Test {
  Work work;
  WorkCost cost;
  std::vector<LaunchCost> launches;  // summed over the steps
  StateReport state;
  Round last;
  std::vector<Round> rounds;
};

// The launches are timed while this lives.
class Timing {
 public:
  explicit Timing(runtime::CpuExecutor* executor) : executor_(executor) {
    executor_->TimeLaunches(&times_);
  }
  ~Timing() { executor_->TimeLaunches(nullptr); }
  Timing(const Timing&) = delete;
  Timing& operator=(const Timing&) = delete;
  const runtime::LaunchTimes& times() const { return times_; }

 private:
  runtime::CpuExecutor* executor_;
  runtime::LaunchTimes times_;
};

// Runs on the engine's thread.
absl::Status MeasureOnce(Engine* engine, Texts* texts, SpeedProbe* probe, Test* test) {
  const Work& work = test->work;
  NINFER_RETURN_IF_ERROR(texts->Prepare(work.texts, work.depth, work.end()));
  Round round;
  round.times.resize(test->launches.size());
  {
    const Timing timing(engine->compiled());
    double begin = Seconds();
    NINFER_RETURN_IF_ERROR(Compute(work, texts, [&] {
      round.seconds += Seconds() - begin;
      const std::vector<LaunchTime> times = TimesOf(timing.times());
      for (size_t i = 0; i < times.size(); ++i) {
        round.times[i].kernel += times[i].kernel;
        round.times[i].wait += times[i].wait;
      }
      begin = Seconds();
    }));
  }
  round.speed = probe->Measure(test->cost.bytes / static_cast<double>(test->cost.steps));
  test->last = std::move(round);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Test>> TestsOf(const Engine& engine, const WorkLists& works) {
  const plan::Plan& plan = engine.plan()->plan;
  NINFER_ASSIGN_OR_RETURN(const StepCost cost, CountStep(plan.imported_graph_text));
  std::vector<Test> tests;
  for (const Work& work : works.Works()) {
    Test test;
    test.work = work;
    test.cost = CostOf(work, *engine.executor(), cost);
    for (const StepShape& step : StepsOf(work, engine.executor()->limits().max_tokens)) {
      NINFER_ASSIGN_OR_RETURN(const std::vector<LaunchCost> costs, CountLaunches(plan, step));
      test.launches.resize(costs.size());
      for (size_t i = 0; i < costs.size(); ++i) {
        test.launches[i].bytes += costs[i].bytes;
        test.launches[i].operations += costs[i].operations;
      }
    }
    tests.push_back(std::move(test));
  }
  return tests;
}

// A row's figures beside its name. `of` is the time of which it is a share.
std::vector<Json> RowOf(const KernelLine& line, double predicted, const Json& bound, double of) {
  return {line.name,
          line.family,
          line.launches,
          line.cost.bytes / 1e6,
          line.cost.operations / 1e6,
          predicted * kMicro,
          line.time.kernel * kMicro,
          line.time.kernel > 0 ? Json(100 * predicted / line.time.kernel) : Json(),
          100 * line.time.kernel / of,
          line.time.wait * kMicro,
          bound};
}

void AddRows(const Engine& engine, const Test& test, const Round& round, const MachineSpeed& speed,
             Table* table) {
  // Of one step of a decoding, of all steps of a prompt.
  const double runs = test.work.prefill ? 1 : static_cast<double>(test.cost.steps);
  const double seconds = round.seconds / runs;
  KernelLine all;
  all.name = "all kernels";
  double predicted_of_all = 0;
  for (KernelLine line : LinesOf(engine.plan()->plan, test.launches, round.times)) {
    if (test.work.prefill) line.launches *= test.cost.steps;
    line.cost.bytes /= runs;
    line.cost.operations /= runs;
    line.time.kernel /= runs;
    line.time.wait /= runs;
    const Limit limit = LimitOf(line.cost.bytes, line.cost.operations, speed);
    table->rows.push_back(RowOf(line, limit.seconds, limit.reads ? "read" : "matrix", seconds));
    predicted_of_all += limit.seconds;
    all.launches += line.launches;
    all.cost.bytes += line.cost.bytes;
    all.cost.operations += line.cost.operations;
    all.time.kernel += line.time.kernel;
    all.time.wait += line.time.wait;
  }
  table->rows.push_back(RowOf(all, predicted_of_all, nullptr, seconds));
  const double rest = seconds - all.time.kernel;
  table->rows.push_back({"barriers and rest", nullptr, nullptr, nullptr, nullptr, nullptr,
                         rest * kMicro, nullptr, 100 * rest / seconds, nullptr, nullptr});
  const double bytes = test.cost.bytes / runs, operations = test.cost.operations / runs;
  const Limit limit = LimitOf(bytes, operations, speed);
  table->rows.push_back({test.work.prefill ? "prompt" : "step", nullptr, nullptr, bytes / 1e6,
                         operations / 1e6, limit.seconds * kMicro, seconds * kMicro,
                         100 * limit.seconds / seconds, 100.0, nullptr,
                         limit.reads ? "read" : "matrix"});
}

Table TableOf(const Engine& engine, const std::string& label, const Test& test) {
  const plan::Metadata& metadata = engine.executor()->metadata();
  MachineSpeed speed;
  std::vector<const Round*> rounds;
  for (const Round& round : test.rounds) {
    speed.TakeBest(round.speed);
    rounds.push_back(&round);
  }
  std::sort(rounds.begin(), rounds.end(),
            [](const Round* a, const Round* b) { return a->seconds < b->seconds; });
  const Round& middle = *rounds[(rounds.size() - 1) / 2];
  const Limit limit = LimitOf(test.cost.bytes, test.cost.operations, speed);
  const std::string state = test.state.Shown(limit.seconds / middle.seconds);
  Table table;
  table.title = absl::StrCat(
      label, metadata.random_weights ? ", random weights" : "", ", ", metadata.weights_dtype,
      " weights, activations ", metadata.activations_dtype, ", cache ", metadata.kv_dtype, ", ",
      test.work.name(), ", ", engine.executor()->description(), ", state ", state);
  table.columns = {{"kernel", "kernel"},
                   {"family", "family"},
                   {"launches", "launches"},
                   {"megabytes", "MB", 3},
                   {"megaoperations", "MFLOP", 2},
                   {"predicted_us", "predicted us", 1},
                   {"measured_us", "measured us", 1},
                   {"share_percent", "share %", 1},
                   {"of_step_percent", "of step %", 1},
                   {"wait_us", "wait us", 1},
                   {"bound", "bound"}};
  AddRows(engine, test, middle, speed, &table);
  table.notes = {absl::StrCat(
      test.work.prefill ? "Of the whole prompt" : "Of one step, the mean of all",
      " in the round of middle speed. Predicted: bytes at ", speed.reads(),
      ", operations at the best of ", speed.peaks,
      ", the longer of the two. Measured: in the kernel, the mean of the threads; wait: behind it "
      "until the next one began, which barriers and rest holds.")};
  if (state == kDisturbed) table.notes.push_back(kDisturbedNote);
  return table;
}

}  // namespace

int RowsOfRoofline(const RooflineOptions& options) {
  return options.repetitions * static_cast<int>(options.works.Works().size());
}

std::vector<LaunchTime> TimesOf(const runtime::LaunchTimes& times) {
  const size_t launches = times.threads[0].size();
  const double unit = 1e-9 / static_cast<double>(times.threads.size());
  int64_t end = 0;
  for (const auto& spans : times.threads) {
    if (!spans.empty()) end = std::max(end, spans.back().end);
  }
  std::vector<LaunchTime> result(launches);
  for (const auto& spans : times.threads) {
    for (size_t i = 0; i < launches; ++i) {
      const int64_t next = i + 1 < launches ? spans[i + 1].begin : end;
      result[i].kernel += unit * static_cast<double>(spans[i].end - spans[i].begin);
      result[i].wait += unit * static_cast<double>(next - spans[i].end);
    }
  }
  return result;
}

std::vector<KernelLine> LinesOf(const plan::Plan& plan, const std::vector<LaunchCost>& costs,
                                const std::vector<LaunchTime>& times) {
  std::vector<KernelLine> lines(plan.kernels.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    lines[i].name = plan.kernels[i].name;
    lines[i].family = plan.kernels[i].family;
  }
  for (const plan::Entry& entry : plan.entries) {
    if (entry.name != "step") continue;
    for (size_t i = 0; i < entry.launches.size(); ++i) {
      KernelLine& line = lines[entry.launches[i].kernel];
      ++line.launches;
      line.cost.bytes += costs[i].bytes;
      line.cost.operations += costs[i].operations;
      line.time.kernel += times[i].kernel;
      line.time.wait += times[i].wait;
    }
  }
  lines.erase(std::remove_if(lines.begin(), lines.end(),
                             [](const KernelLine& line) { return line.launches == 0; }),
              lines.end());
  std::stable_sort(lines.begin(), lines.end(), [](const KernelLine& a, const KernelLine& b) {
    return a.time.kernel > b.time.kernel;
  });
  return lines;
}

absl::StatusOr<std::vector<Table>> MeasureRoofline(Engine* engine, const std::string& label,
                                                   const RooflineOptions& options,
                                                   StateProbe* state) {
  NINFER_ASSIGN_OR_RETURN(std::vector<Test> tests, TestsOf(*engine, options.works));
  double most_bytes = 0;
  for (const Test& test : tests) {
    most_bytes = std::max(most_bytes, test.cost.bytes / static_cast<double>(test.cost.steps));
  }
  NINFER_ASSIGN_OR_RETURN(SpeedProbe probe, SpeedProbe::Create(engine, most_bytes));
  Texts texts(engine, static_cast<int64_t>(options.works.TextLengths().size()));
  const std::string& weights = engine->executor()->metadata().weights_dtype;
  for (int round = 0; round < options.repetitions; ++round) {
    for (Test& test : tests) {
      options.progress->Begin(absl::StrCat(weights, " ", test.work.name(), ", round ", round + 1));
      absl::Status status;
      const auto measure = [&]() -> absl::Status {
        engine->Run([&] { status = MeasureOnce(engine, &texts, &probe, &test); });
        return status;
      };
      NINFER_ASSIGN_OR_RETURN(const StateReport report,
                              MeasureInOneState(
                                  1, [&] { return state->Nanoseconds(); }, measure,
                                  [&] { test.rounds.push_back(test.last); }));
      test.state.Add(report);
      options.progress->End(absl::StrFormat(
          "%.3f ms", 1e3 * test.rounds.back().seconds / static_cast<double>(test.cost.steps)));
    }
  }
  std::vector<Table> tables;
  for (const Test& test : tests) tables.push_back(TableOf(*engine, label, test));
  return tables;
}

}  // namespace ninfer::bench
