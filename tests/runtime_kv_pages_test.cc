// Pages are taken once, cleared when taken, and given back; what does not fit takes nothing.
#include <gtest/gtest.h>

#include <set>

#include "runtime/kv_pages.h"
#include "tests/fake_executor.h"

namespace ninfer::runtime {
namespace {

TEST(KvPages, PagesAreTakenAsPositionsNeedThem) {
  FakeExecutor executor;
  KvPages pages(&executor);
  std::vector<int32_t> a, b;
  EXPECT_EQ(pages.free_pages(), 8);
  ASSERT_TRUE(pages.Reserve(1, &a).ok());
  EXPECT_EQ(a.size(), 1);
  ASSERT_TRUE(pages.Reserve(64, &a).ok());
  EXPECT_EQ(a.size(), 1);
  ASSERT_TRUE(pages.Reserve(65, &a).ok());
  ASSERT_TRUE(pages.Reserve(130, &b).ok());
  EXPECT_EQ(pages.free_pages(), 3);
  std::set<int32_t> all(a.begin(), a.end());
  all.insert(b.begin(), b.end());
  EXPECT_EQ(all.size(), 5);
  EXPECT_EQ(executor.cleared(), std::vector<int32_t>({0, 1, 2, 3, 4}));
  pages.Release(&a);
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(pages.free_pages(), 5);
}

TEST(KvPages, ReleasedPagesAreClearedAgainWhenTaken) {
  FakeExecutor executor;
  KvPages pages(&executor);
  std::vector<int32_t> a;
  ASSERT_TRUE(pages.Reserve(64, &a).ok());
  pages.Release(&a);
  ASSERT_TRUE(pages.Reserve(64, &a).ok());
  EXPECT_EQ(executor.cleared(), std::vector<int32_t>({0, 0}));
}

TEST(KvPages, WhatDoesNotFitTakesNothing) {
  FakeExecutor executor;
  KvPages pages(&executor);
  std::vector<int32_t> a, b;
  ASSERT_TRUE(pages.Reserve(256, &a).ok());
  EXPECT_EQ(pages.Reserve(257, &a).message(),
            "cache: expected at most 4 pages for a sequence, found 5");
  ASSERT_TRUE(pages.Reserve(128, &b).ok());
  std::vector<int32_t> c;
  const absl::Status status = pages.Reserve(200, &c);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(status.message(), "cache: expected 4 free pages, found 2");
  EXPECT_TRUE(c.empty());
}

}  // namespace
}  // namespace ninfer::runtime
