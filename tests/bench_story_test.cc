// What the 2x2 says of ids; the runs themselves are in tests/bench_test.py.
#include <gtest/gtest.h>

#include "bench/story.h"

namespace ninfer::bench {
namespace {

TEST(CompareIdsTest, EqualIdsAreEqual) {
  EXPECT_EQ(CompareIds({"a", "b"}, {{1, 2}, {1, 2}}), "equal");
}

TEST(CompareIdsTest, ShowsTheFirstDifference) {
  EXPECT_EQ(CompareIds({"a", "b", "c"}, {{1, 2, 3}, {1, 2, 3}, {1, 5, 6}}),
            "they differ first at new token 2: 2 (a) and 5 (c)");
}

TEST(CompareIdsTest, ShowsADifferenceInNumber) {
  EXPECT_EQ(CompareIds({"a", "b"}, {{1, 2}, {1}}), "they differ in number: 2 (a) and 1 (b)");
}

}  // namespace
}  // namespace ninfer::bench
