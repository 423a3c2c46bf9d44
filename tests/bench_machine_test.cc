// The probes work; how fast they find the machine to be is asserted nowhere.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <cmath>
#include <thread>

#include "base/status.h"
#include "bench/machine.h"

namespace ninfer::bench {
namespace {

TEST(HostTest, RunsOnOneThreadThatIsNotTheCaller) {
  Host host;
  std::thread::id first, second;
  host.Run([&] { first = std::this_thread::get_id(); });
  host.Run([&] { second = std::this_thread::get_id(); });
  EXPECT_EQ(first, second);
  EXPECT_NE(first, std::this_thread::get_id());
}

TEST(HostTest, APoolPinsItsHostAndNotTheCaller) {
  cpu_set_t before, after;
  sched_getaffinity(0, sizeof(before), &before);
  Host host;
  std::unique_ptr<runtime::ThreadPool> pool;
  host.Run([&] { pool = std::make_unique<runtime::ThreadPool>(1); });
  sched_getaffinity(0, sizeof(after), &after);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
  host.Run([&] { pool.reset(); });
}

TEST(MachineTest, BarrierTakesSomeTime) {
  runtime::ThreadPool pool(2);
  const double nanoseconds = BarrierNanoseconds(&pool);
  EXPECT_GT(nanoseconds, 0);
  EXPECT_TRUE(std::isfinite(nanoseconds));
}

TEST(MachineTest, LabelsAreThoseOfTheTypicalTimes) {
  EXPECT_EQ(StateLabel(50), "C");
  EXPECT_EQ(StateLabel(250), "S");
  EXPECT_EQ(StateLabel(120), "other");
  EXPECT_EQ(StateLabel(5000), "other");
  EXPECT_EQ(StateLabel(0), "-");
}

TEST(MachineTest, ReadProbeReadsLessThanItHas) {
  runtime::ThreadPool pool(2);
  absl::StatusOr<ReadProbe> probe = ReadProbe::Create(&pool, 1 << 20);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_GT(probe->PassesPerSecond(1 << 20), 0);
  EXPECT_GT(probe->PassesPerSecond(100), 0);
}

TEST(MachineTest, MatrixPeaksHaveF32AlwaysAndNames) {
  runtime::ThreadPool pool(2);
  const std::vector<MatrixPeak> peaks = MeasureMatrixPeaks(&pool, {}, 0.001);
  ASSERT_EQ(peaks.size(), 1u);
  EXPECT_GT(peaks[0].operations_per_second, 0);
  EXPECT_NE(peaks[0].name.find("f32"), std::string::npos);
  EXPECT_GE(MeasureMatrixPeaks(&pool, {.bf16 = true, .int8 = true}, 0.001).size(), 1u);
}

// Barrier times as a script, two for each measurement.
class Script {
 public:
  explicit Script(std::vector<double> times) : times_(std::move(times)) {}
  double Next() { return times_[std::min(next_++, times_.size() - 1)]; }
  size_t used() const { return next_; }

 private:
  std::vector<double> times_;
  size_t next_ = 0;
};

absl::StatusOr<StateReport> Measure(int repetitions, Script* script, int* measured, int* kept) {
  return MeasureInOneState(
      repetitions, [&] { return script->Next(); },
      [&] {
        ++*measured;
        return absl::OkStatus();
      },
      [&] { ++*kept; });
}

TEST(StateTest, KeepsEveryMeasurementOfOneState) {
  Script script({250, 240, 260, 255});
  int measured = 0, kept = 0;
  const absl::StatusOr<StateReport> report = Measure(2, &script, &measured, &kept);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->label, "S");
  EXPECT_EQ(report->repeats, 0);
  EXPECT_EQ(measured, 2);
  EXPECT_EQ(kept, 2);
}

TEST(StateTest, RepeatsWhatChangedItsLabel) {
  Script script({250, 50, 250, 250, 50, 50, 250, 250});
  int measured = 0, kept = 0;
  const absl::StatusOr<StateReport> report = Measure(2, &script, &measured, &kept);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->label, "S");
  EXPECT_EQ(report->repeats, 2);
  EXPECT_EQ(measured, 4);
  EXPECT_EQ(kept, 2);
}

TEST(StateTest, GivesUpAfterAFewRepeatsAndSaysSo) {
  Script script({250, 50, 250, 50, 250, 50, 250, 50, 250, 50});
  int measured = 0, kept = 0;
  const absl::StatusOr<StateReport> report = Measure(1, &script, &measured, &kept);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->label, "mixed");
  EXPECT_EQ(report->repeats, 3);
  EXPECT_EQ(kept, 1);
}

TEST(StateTest, AFailedMeasurementEndsIt) {
  const absl::StatusOr<StateReport> report = MeasureInOneState(
      3, [] { return 250.0; }, [] { return InvalidArgument("no"); }, [] {});
  EXPECT_EQ(report.status().message(), "no");
}

TEST(StateTest, WhatIsFasterThanItsLimitIsDisturbed) {
  StateReport report;
  report.label = "S";
  EXPECT_EQ(report.Shown(0), "S");
  EXPECT_EQ(report.Shown(1.04), "S");
  EXPECT_EQ(report.Shown(1.06), "disturbed");
}

TEST(StateTest, ARowIsDisturbedWhereManyOfItsRepetitionsWere) {
  StateReport row, quiet, busy;
  quiet.label = busy.label = "S";
  quiet.cpu_wait = {0.001, 0.1};
  busy.cpu_wait = {0.1, 0.1};
  row.Add(quiet);
  EXPECT_EQ(row.Shown(0.9), "S");
  row.Add(busy);
  EXPECT_EQ(row.Shown(0.9), "disturbed");
  for (int i = 0; i < 20; ++i) row.Add(quiet);
  EXPECT_EQ(row.Shown(0.9), "S");
}

TEST(CpuWaitTest, ThreadsThatWantOneCpuWaitForIt) {
  const CpuWait begin = CpuWaitSoFar();
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(sched_getcpu(), &cpus);
  const auto spin = [&] {
    ASSERT_EQ(pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus), 0);
    for (const double end = Seconds() + 0.5; Seconds() < end;) {
    }
  };
  CpuWait found;
  std::thread first(spin);
  std::thread second([&] {
    spin();
    found = CpuWaitSince(begin);  // before it ends: threads that have ended are not counted
  });
  second.join();
  first.join();
  EXPECT_GT(found.waited_seconds, 0.05);
  EXPECT_GT(found.cpu_seconds, 0);
}

}  // namespace
}  // namespace ninfer::bench
