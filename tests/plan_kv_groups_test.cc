// What texts hold of layers that look back equally far.
#include <gtest/gtest.h>

#include "plan/kv_groups.h"

namespace ninfer::plan {
namespace {

// The pages that rows at positions [begin, begin + count) see or are written to, by trying all.
int64_t PagesOf(int64_t begin, int64_t count, int64_t window, int64_t page_positions) {
  const int64_t first = std::max<int64_t>(0, begin - window + 1) / page_positions;
  return (begin + count - 1) / page_positions - first + 1;
}

TEST(PlanKvGroups, PagesHeldAreThoseOfTheLargestStepWhereverItBegins) {
  for (const int64_t window : {1, 2, 63, 64, 65, 128, 200}) {
    for (const int64_t tokens : {1, 2, 64, 65, 100}) {
      int64_t most = 0;
      for (int64_t begin = 0; begin < 1000; ++begin) {
        for (int64_t count = 1; count <= tokens; ++count) {
          most = std::max(most, PagesOf(begin, count, window, 64));
        }
      }
      const int64_t held = PagesHeld(window, tokens, 64, 1000);
      EXPECT_GE(held, most) << window << " " << tokens;
      EXPECT_LE(held, most + 1) << window << " " << tokens;
    }
  }
  EXPECT_EQ(PagesHeld(4096, 512, 64, 512), 73);
  EXPECT_EQ(PagesHeld(4096, 512, 64, 70), 70);  // a text has no more
  EXPECT_EQ(PagesHeld(0, 512, 64, 512), 512);
}

TEST(PlanKvGroups, LayersAreGroupedByWindow) {
  Plan plan;
  plan.metadata.context_length = 1024;
  plan.symbols = {{"T", 1, 64}, {"G", 1, 16}};
  plan.kv_layers = {{DType::kF32, 1, 2, 64, 256, 100},
                    {DType::kF32, 1, 2, 64, 512, 0},
                    {DType::kF32, 1, 2, 64, 1024, 100}};
  const std::vector<KvGroup> groups = KvGroups(plan);
  ASSERT_EQ(groups.size(), 2);
  EXPECT_EQ(groups[0].window, 0);
  EXPECT_EQ(groups[0].layers, std::vector<int>({1}));
  EXPECT_EQ(groups[0].page_bytes, 512);
  EXPECT_EQ(groups[0].pages_held, 16);
  EXPECT_EQ(groups[1].window, 100);
  EXPECT_EQ(groups[1].layers, std::vector<int>({0, 2}));
  EXPECT_EQ(groups[1].page_bytes, 1280);
  EXPECT_EQ(groups[1].pages_held, 4);
  EXPECT_EQ(groups[1].Bytes(0, 64), 0);
  EXPECT_EQ(groups[1].Bytes(65, 64), 2 * 1280);
  EXPECT_EQ(groups[1].Bytes(1024, 64), 4 * 1280);
  EXPECT_TRUE(KvGroups(Plan()).empty());
}

}  // namespace
}  // namespace ninfer::plan
