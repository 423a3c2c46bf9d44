// Pages are taken once, cleared when taken, and given back; what does not fit takes nothing. Pages
// behind a window go back by themselves.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "runtime/kv_pages.h"
#include "tests/fake_executor.h"

namespace ninfer::runtime {
namespace {

TEST(KvPages, PagesAreTakenAsPositionsNeedThem) {
  FakeExecutor executor;
  KvPages pages(&executor);
  HeldPages a, b;
  EXPECT_EQ(pages.free_pages(0), 8);
  ASSERT_TRUE(pages.Reserve(0, 1, &a).ok());
  EXPECT_EQ(a[0].size(), 1);
  ASSERT_TRUE(pages.Reserve(1, 64, &a).ok());
  EXPECT_EQ(a[0].size(), 1);
  ASSERT_TRUE(pages.Reserve(64, 65, &a).ok());
  ASSERT_TRUE(pages.Reserve(0, 130, &b).ok());
  EXPECT_EQ(pages.free_pages(0), 3);
  std::set<int32_t> all(a[0].begin(), a[0].end());
  all.insert(b[0].begin(), b[0].end());
  EXPECT_EQ(all.size(), 5);
  EXPECT_EQ(executor.cleared(), std::vector<int32_t>({0, 1, 2, 3, 4}));
  pages.Release(&a);
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(pages.free_pages(0), 5);
}

TEST(KvPages, ReleasedPagesAreClearedAgainWhenTaken) {
  FakeExecutor executor;
  KvPages pages(&executor);
  HeldPages a;
  ASSERT_TRUE(pages.Reserve(0, 64, &a).ok());
  pages.Release(&a);
  ASSERT_TRUE(pages.Reserve(0, 64, &a).ok());
  EXPECT_EQ(executor.cleared(), std::vector<int32_t>({0, 0}));
}

TEST(KvPages, WhatDoesNotFitTakesNothing) {
  FakeExecutor executor;
  executor.AddWindow(10, 8, 3);
  KvPages pages(&executor);
  HeldPages a, b;
  for (int64_t end = 16; end <= 256; end += 16) ASSERT_TRUE(pages.Reserve(end - 16, end, &a).ok());
  EXPECT_EQ(pages.Reserve(256, 257, &a).message(),
            "cache: expected at most 4 pages for a sequence, found 5");
  ASSERT_TRUE(pages.Reserve(0, 16, &b).ok());
  ASSERT_TRUE(pages.Reserve(16, 128, &b).ok());
  const int64_t free = pages.free_pages(1);
  HeldPages c;
  const absl::Status status = pages.Reserve(0, 200, &c);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(status.message(), "cache: expected 4 free pages, found 2");
  EXPECT_TRUE(c.empty());
  EXPECT_EQ(pages.free_pages(1), free);
}

TEST(KvPages, AGroupWithAWindowHoldsNoMorePagesThanItsLargestStepNeeds) {
  FakeExecutor executor;
  executor.mutable_limits()->pages_per_sequence = 40;
  executor.mutable_limits()->kv_groups = {{0, 40, 40}};
  executor.AddWindow(100, 4, 3);  // steps of 16: at most 115 positions
  KvPages pages(&executor);
  HeldPages held;
  for (int64_t begin = 0; begin + 16 <= 40 * 64; begin += 16) {
    ASSERT_TRUE(pages.Reserve(begin, begin + 16, &held).ok()) << begin;
    const std::vector<int32_t>& table = held[1];
    EXPECT_LE(4 - pages.free_pages(1), 3);
    std::set<int32_t> seen;
    for (int64_t p = std::max<int64_t>(0, begin - 99); p < begin + 16; ++p) {
      ASSERT_NE(table[p / 64], kNoPage) << begin << " " << p;
      seen.insert(table[p / 64]);
    }
    const auto taken = [](int32_t page) { return page != kNoPage; };
    EXPECT_EQ(std::count_if(table.begin(), table.end(), taken), 4 - pages.free_pages(1));
    EXPECT_EQ(held[0].size(), (begin + 16 + 63) / 64);
  }
  pages.Release(&held);
  EXPECT_EQ(pages.free_pages(0), 40);
  EXPECT_EQ(pages.free_pages(1), 4);
}

TEST(KvPages, ATextGoesBackAsFarAsItsWindowIsHeld) {
  FakeExecutor executor;
  executor.mutable_limits()->pages_per_sequence = 40;
  executor.mutable_limits()->kv_groups = {{0, 40, 40}};
  executor.AddWindow(70, 8, 3);
  KvPages pages(&executor);
  HeldPages held;
  for (int64_t begin = 0; begin < 400; begin += 16) {
    ASSERT_TRUE(pages.Reserve(begin, begin + 16, &held).ok());
  }
  // 400 positions are pages 0 to 6, of which the window holds 4, 5 and 6, from position 256 on.
  EXPECT_EQ(held[1][3], kNoPage);
  EXPECT_NE(held[1][4], kNoPage);
  EXPECT_TRUE(pages.Holds(400, held));
  EXPECT_TRUE(pages.Holds(256 + 69, held));  // sees 256
  EXPECT_FALSE(pages.Holds(256 + 68, held));
  EXPECT_FALSE(pages.Holds(1, held));
  EXPECT_TRUE(pages.Holds(0, held));

  pages.Truncate(330, &held);
  EXPECT_EQ(held[0].size(), 6);
  EXPECT_EQ(held[1].size(), 6);
  EXPECT_EQ(pages.free_pages(0), 34);
  EXPECT_EQ(pages.free_pages(1), 6);
  EXPECT_TRUE(pages.Holds(330, held));
  ASSERT_TRUE(pages.Reserve(330, 346, &held).ok());
  EXPECT_NE(held[1][4], kNoPage);
}

TEST(KvPages, AShortPoolTakesBackWhatASequenceCanDoWithout) {
  FakeExecutor executor;
  executor.mutable_limits()->pages_per_sequence = 40;
  executor.mutable_limits()->kv_groups = {{0, 40, 40}};
  executor.AddWindow(10, 4, 3);
  KvPages pages(&executor);
  HeldPages a, b;
  for (int64_t begin = 0; begin < 192; begin += 16) {
    ASSERT_TRUE(pages.Reserve(begin, begin + 16, &a).ok());
  }
  EXPECT_EQ(pages.free_pages(1), 1);
  ASSERT_TRUE(pages.Reserve(0, 64, &b).ok());
  EXPECT_EQ(pages.free_pages(1), 0);
  ASSERT_TRUE(pages.Reserve(64, 80, &b).ok() == false);  // its only page is in the window
  ASSERT_TRUE(pages.Reserve(192, 208, &a).ok());         // pages 0 and 1 are behind
  EXPECT_EQ(a[1][0], kNoPage);
  EXPECT_NE(a[1][1], kNoPage);
  EXPECT_NE(a[1][3], kNoPage);
}

TEST(KvPages, TheStepsTableHasGroupsThenSequences) {
  ExecutorLimits limits;
  limits.pages_per_sequence = 3;
  limits.kv_groups = {{0, 8, 3}, {10, 8, 2}};
  const HeldPages a = {{4, 5}, {kNoPage, 6}}, b = {{1, 2, 3}, {kNoPage, 0, 7}};
  EXPECT_EQ(PageTable(limits, {&a, &b}),
            std::vector<int32_t>({4, 5, -1, 1, 2, 3, -1, 6, -1, -1, 0, 7}));
}

TEST(KvPages, WindowsHaveAsManyPagesAsTheTextsOrAllSequencesNeed) {
  plan::KvGroup all, window;
  all.pages_held = 100;
  window.window = 64;
  window.pages_held = 7;
  const plan::KvGroup groups[] = {all, window};
  const auto pages = [&](int64_t total) {
    const std::vector<KvGroupLimits> limits = KvLimitsOf(groups, total, 3);
    return std::make_pair(limits[0].total_pages, limits[1].total_pages);
  };
  EXPECT_EQ(pages(0), std::make_pair(int64_t{100}, int64_t{7}));
  EXPECT_EQ(pages(10), std::make_pair(int64_t{10}, int64_t{10}));
  EXPECT_EQ(pages(300), std::make_pair(int64_t{300}, int64_t{21}));
}

}  // namespace
}  // namespace ninfer::runtime
