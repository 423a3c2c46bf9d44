// What the programs show on standard error, and how they end: one line for an error, a bar while
// something takes long (on a terminal only), and a flag that Ctrl-C sets.
#ifndef NINFER_TOOLS_COMMON_TERMINAL_H_
#define NINFER_TOOLS_COMMON_TERMINAL_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ninfer::tools {

inline constexpr int kBadInput = 2;  // exit status

// A bar like "pack weights [#####     ] 52%". Silent where standard error is no terminal.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { Clear(); }
  void Show(absl::string_view phase, double done);
  void Clear();

 private:
  bool terminal_;
  std::string shown_;
};

// "program: message", always one line. Returns the exit status: 2, or 130 when interrupted.
int Fail(absl::string_view program, const absl::Status& status);

// From now on the first Ctrl-C only makes Interrupted() true; a second one ends the process.
void CatchInterrupt();
// From now on no Ctrl-C ends the process.
void CatchEveryInterrupt();
bool Interrupted();
void ForgetInterrupt();

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_TERMINAL_H_
