#include "base/page_table.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace ninfer {
namespace {

constexpr absl::string_view kName = "page_table";

}  // namespace

std::string PageTableName(int64_t window) {
  return window > 0 ? absl::StrCat(kName, ".", window) : std::string(kName);
}

absl::optional<int64_t> PageTableWindow(absl::string_view name) {
  int64_t window = 0;
  absl::string_view number = name;
  if (absl::ConsumePrefix(&number, absl::StrCat(kName, ".")) &&
      !absl::SimpleAtoi(number, &window)) {
    return absl::nullopt;
  }
  if (name != PageTableName(window)) return absl::nullopt;  // one way to write each
  return window;
}

}  // namespace ninfer
