// Tested by tests/bench_progress_test.cc.
#include "bench/progress.h"

#include "absl/strings/str_cat.h"

namespace ninfer::bench {

void Progress::Begin(absl::string_view row) {
  row_ = std::string(row);
  if (show_) show_(row, static_cast<double>(done_) / rows_);
}

void Progress::End(absl::string_view found) {
  ++done_;
  if (tell_) tell_(absl::StrCat(done_, " of ", rows_, ": ", row_, ": ", found));
}

void Progress::Tell(absl::string_view line) {
  if (show_) show_(line, static_cast<double>(done_) / rows_);
  if (tell_) tell_(line);
}

}  // namespace ninfer::bench
