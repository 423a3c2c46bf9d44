// A step's page tables. Layers that look back equally far share a table, for they need the same
// positions: one for those that see every position, and one for each window.
// Tested by tests/base_page_table_test.cc.
#ifndef NINFER_BASE_PAGE_TABLE_H_
#define NINFER_BASE_PAGE_TABLE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace ninfer {

// Pages that hold `positions` positions.
inline int64_t PagesFor(int64_t positions, int64_t page_positions) {
  return (positions + page_positions - 1) / page_positions;
}

// An entry of a table at whose positions no page is held, nor read.
inline constexpr int32_t kNoPage = -1;

// "page_table.4096" for layers whose rows see 4096 positions, their own among them; "page_table"
// for a window of 0, which is none.
std::string PageTableName(int64_t window);
// The window that the name says; nothing where it is no page table's.
absl::optional<int64_t> PageTableWindow(absl::string_view name);

}  // namespace ninfer

#endif  // NINFER_BASE_PAGE_TABLE_H_
