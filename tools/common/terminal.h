// What the programs show on standard error, and how they end: one line for an error, a bar while
// something takes long (on a terminal only), and a flag that Ctrl-C sets. Tested by
// tests/programs_test.py.
#ifndef NINFER_TOOLS_COMMON_TERMINAL_H_
#define NINFER_TOOLS_COMMON_TERMINAL_H_

#include <mutex>
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
  bool terminal() const { return terminal_; }

 private:
  bool terminal_;
  std::string shown_;
};

// Lines of information for standard error, held back until Release(): so the error of a run that
// fails is its only line. Callable from several threads.
class Notices {
 public:
  void Line(absl::string_view text);
  // Prints what was held; from now on lines appear at once.
  void Release();

 private:
  void Print();  // under the mutex

  std::mutex mutex_;
  bool released_ = false;
  std::string held_;
};

// An error where standard output did not take all that was printed, as on a full disk.
absl::Status FlushOutput();

// Text that may quote a file, fit for a terminal: UTF-8, control characters as \x1b.
std::string Printable(absl::string_view text);

// "program: message", always one line that a terminal can take. Returns the exit status: 2, or 130
// when interrupted.
int Fail(absl::string_view program, const absl::Status& status);

// From now on the first Ctrl-C only makes Interrupted() true; a second one ends the process.
void CatchInterrupt();
// From now on no Ctrl-C ends the process.
void CatchEveryInterrupt();
bool Interrupted();
void ForgetInterrupt();
// Waits until standard input can be read (true) or an interrupt comes (false).
bool WaitForInput();

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_TERMINAL_H_
