// How the times of launches become the lines of a table.
#include <gtest/gtest.h>

#include "bench/roofline.h"

namespace ninfer::bench {
namespace {

TEST(RooflineTest, KernelsAndWaitsAreTheWholeTimeOfEveryThread) {
  runtime::LaunchTimes times;
  // Launch 1 is uneven, so that the first thread waits behind it; 2 ends the step, evenly but late.
  times.threads = {{{1000, 1400}, {1400, 1500}, {2000, 2600}},
                   {{1000, 1200}, {1200, 1900}, {2000, 3000}}};
  const std::vector<LaunchTime> found = TimesOf(times);
  ASSERT_EQ(found.size(), 3);
  EXPECT_NEAR(found[0].kernel, 300e-9, 1e-15);
  EXPECT_NEAR(found[0].wait, 0, 1e-15);
  EXPECT_NEAR(found[1].kernel, 400e-9, 1e-15);
  EXPECT_NEAR(found[1].wait, 300e-9, 1e-15);
  EXPECT_NEAR(found[2].kernel, 800e-9, 1e-15);
  EXPECT_NEAR(found[2].wait, 200e-9, 1e-15);
  double all = 0;
  for (const LaunchTime& time : found) all += time.kernel + time.wait;
  EXPECT_NEAR(all, 2000e-9, 1e-15);
}

TEST(RooflineTest, LaunchesOfAKernelAreOneLineAndTheLongestIsFirst) {
  plan::Plan plan;
  plan.kernels = {{"norm", "rowwise"}, {"linear", "linear"}, {"unused", "linear"}};
  plan.entries.resize(2);
  plan.entries[0].name = "other";
  plan.entries[0].launches.resize(9);
  plan.entries[1].name = "step";
  for (uint32_t kernel : {0u, 1u, 0u}) {
    plan.entries[1].launches.emplace_back();
    plan.entries[1].launches.back().kernel = kernel;
  }
  const std::vector<KernelLine> lines =
      LinesOf(plan, {{1, 0}, {100, 50}, {2, 0}}, {{0.25, 0.5}, {4, 0}, {0.5, 0.25}});
  ASSERT_EQ(lines.size(), 2);
  EXPECT_EQ(lines[0].name, "linear");
  EXPECT_EQ(lines[0].launches, 1);
  EXPECT_EQ(lines[0].cost.operations, 50);
  EXPECT_EQ(lines[1].name, "norm");
  EXPECT_EQ(lines[1].family, "rowwise");
  EXPECT_EQ(lines[1].launches, 2);
  EXPECT_EQ(lines[1].cost.bytes, 3);
  EXPECT_EQ(lines[1].time.kernel, 0.75);
  EXPECT_EQ(lines[1].time.wait, 0.75);
}

}  // namespace
}  // namespace ninfer::bench
