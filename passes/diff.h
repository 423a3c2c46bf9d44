// A line diff in the unified format, for --print-changed=diff.
// Tested by tests/passes_runner_test.cc.
#ifndef NINFER_PASSES_DIFF_H_
#define NINFER_PASSES_DIFF_H_

#include <string>

#include "absl/strings/string_view.h"

namespace ninfer::passes {

// Empty when the texts are equal.
std::string UnifiedDiff(absl::string_view before, absl::string_view after,
                        absl::string_view before_name, absl::string_view after_name,
                        int context = 3);

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_DIFF_H_
