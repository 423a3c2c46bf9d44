// Tells how far a run of the benchmark is: the row that is being measured, and what it came to.
// Tested by tests/bench_progress_test.cc.
#ifndef NINFER_BENCH_PROGRESS_H_
#define NINFER_BENCH_PROGRESS_H_

#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace ninfer::bench {

class Progress {
 public:
  // `show` is called with each row and the part of all rows before it, from 0 to 1; `tell` with
  // each row's line, such as "3 of 36: f32 eager with cache: 63.4 tok/s". Either may be empty.
  Progress(int rows, std::function<void(absl::string_view row, double done)> show,
           std::function<void(absl::string_view line)> tell)
      : rows_(rows), show_(std::move(show)), tell_(std::move(tell)) {}

  void Begin(absl::string_view row);
  void End(absl::string_view found);
  void Tell(absl::string_view line);      // something that is no row
  void Skip(int rows) { done_ += rows; }  // that turn out not to be there

 private:
  int rows_, done_ = 0;
  std::string row_;
  std::function<void(absl::string_view row, double done)> show_;
  std::function<void(absl::string_view line)> tell_;
};

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_PROGRESS_H_
