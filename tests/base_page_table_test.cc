// Names of page tables: one for each window, and back.
#include <gtest/gtest.h>

#include "base/page_table.h"

namespace ninfer {
namespace {

TEST(PageTableTest, NamesRoundTrip) {
  EXPECT_EQ(PageTableName(0), "page_table");
  EXPECT_EQ(PageTableName(4096), "page_table.4096");
  for (const int64_t window : {int64_t{0}, int64_t{1}, int64_t{512}, int64_t{1} << 40}) {
    EXPECT_EQ(PageTableWindow(PageTableName(window)), window);
  }
}

TEST(PageTableTest, OtherNamesHaveNoWindow) {
  for (const char* name : {"", "page", "page_table.", "page_table.0", "page_table.-1",
                           "page_table.064", "page_table.+4", "page_table. 4", "page_table4",
                           "page_table.4.4", "page_table.99999999999999999999", "tokens"}) {
    EXPECT_FALSE(PageTableWindow(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace ninfer
