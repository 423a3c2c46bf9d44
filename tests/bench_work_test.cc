// Works, the steps that they are, and the limit that binds them.
#include <gtest/gtest.h>

#include "bench/speed.h"
#include "bench/work.h"

namespace ninfer::bench {
namespace {

std::vector<std::string> Names(const WorkLists& lists) {
  std::vector<std::string> names;
  for (const Work& work : lists.Works()) names.push_back(work.name());
  return names;
}

TEST(WorkTest, EveryDepthHasItsPromptsAndItsBatches) {
  WorkLists lists;
  lists.prefill = {512};
  lists.decode = {64};
  lists.depths = {0, 2048};
  lists.batches = {1, 8};
  EXPECT_EQ(Names(lists), (std::vector<std::string>{"pp512", "tg64", "tg64 x8", "pp512 @ d2048",
                                                    "tg64 @ d2048", "tg64 x8 @ d2048"}));
}

TEST(WorkTest, OnlyTheFirstTextIsAsLongAsThePrompt) {
  WorkLists lists;
  lists.prefill = {512};
  lists.decode = {64};
  lists.depths = {0, 100};
  lists.batches = {3};
  EXPECT_EQ(lists.TextLengths(), (std::vector<int64_t>{612, 164, 164}));
}

TEST(WorkTest, APromptIsAsManyStepsAsItNeeds) {
  const std::vector<StepShape> steps = StepsOf({true, 20, 5, 1}, 8);
  ASSERT_EQ(steps.size(), 3);
  EXPECT_EQ(steps[1].tokens, 8);
  EXPECT_EQ(steps[1].cached, 13);
  EXPECT_EQ(steps[2].tokens, 4);
  EXPECT_EQ(steps[2].cached, 21);
}

TEST(WorkTest, ADecodingIsAStepForEachTokenOfAllTexts) {
  const std::vector<StepShape> steps = StepsOf({false, 10, 100, 4}, 8);
  ASSERT_EQ(steps.size(), 10);
  EXPECT_EQ(steps[0].texts, 4);
  EXPECT_EQ(steps[0].tokens, 1);
  EXPECT_EQ(steps[0].cached, 105);
}

TEST(SpeedTest, TheSlowerOfReadingAndMultiplyingBinds) {
  MachineSpeed speed;
  speed.bytes_per_second = 100;
  speed.operations_per_second = 1000;
  EXPECT_EQ(LimitOf(50, 100, speed).seconds, 0.5);
  EXPECT_TRUE(LimitOf(50, 100, speed).reads);
  EXPECT_EQ(LimitOf(50, 2000, speed).seconds, 2);
  EXPECT_FALSE(LimitOf(50, 2000, speed).reads);
}

TEST(SpeedTest, TheBestOfEachLimitIsKept) {
  MachineSpeed speed;
  speed.TakeBest({10, 500, "a", "a, b"});
  speed.TakeBest({5, 700, "c", "c, d"});
  speed.TakeBest({20, 600, "e", "e, f"});
  EXPECT_EQ(speed.bytes_per_second, 20);
  EXPECT_EQ(speed.operations_per_second, 700);
  EXPECT_EQ(speed.peak, "c");
  EXPECT_EQ(speed.peaks, "c, d");
}

}  // namespace
}  // namespace ninfer::bench
