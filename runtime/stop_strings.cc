// Tested by tests/runtime_stop_strings_test.cc.
#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace ninfer::runtime {

StopStrings::StopStrings(const std::vector<std::string>& strings) {
  for (const std::string& string : strings) {
    if (!string.empty()) strings_.push_back(string);
  }
}

std::string StopStrings::Append(absl::string_view text) {
  if (stopped_) return "";
  held_.append(text.data(), text.size());
  size_t first = std::string::npos;
  for (const std::string& string : strings_) first = std::min(first, held_.find(string));
  if (first != std::string::npos) {
    stopped_ = true;
    return std::exchange(held_, "").substr(0, first);
  }
  // The longest end that begins a stop string stays.
  size_t keep = 0;
  for (const std::string& string : strings_) {
    for (size_t length = std::min(string.size() - 1, held_.size()); length > keep; --length) {
      if (absl::EndsWith(held_, absl::string_view(string).substr(0, length))) {
        keep = length;
        break;
      }
    }
  }
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::Finish() { return std::exchange(held_, ""); }

}  // namespace ninfer::runtime
