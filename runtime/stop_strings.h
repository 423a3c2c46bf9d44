// Stop strings over text that arrives in pieces. What could be the beginning of a stop string is
// held back until more text decides. Tested by tests/runtime_stop_strings_test.cc.
#ifndef NINFER_RUNTIME_STOP_STRINGS_H_
#define NINFER_RUNTIME_STOP_STRINGS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ninfer::runtime {

class StopStrings {
 public:
  // Empty strings are left out: they would stop everything.
  explicit StopStrings(const std::vector<std::string>& strings);

  // The text that can be shown now: up to the earliest stop string, once one has come.
  std::string Append(absl::string_view text);
  // What was held back, when no more text comes.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> strings_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_STOP_STRINGS_H_
