#include "tools/common/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "text/unicode.h"

namespace ninfer::tools {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// Readable from an interrupt until ForgetInterrupt: a signal that comes just before a wait would
// else not end it.
int interrupt_event = -1;

void OnInterrupt(int) {
  const int error = errno;
  interrupted = true;
  eventfd_write(interrupt_event, 1);
  errno = error;
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressBar::Show(absl::string_view phase, double done) {
  if (!terminal_) return;
  constexpr int kWidth = 30;
  const int filled = std::clamp(static_cast<int>(done * kWidth), 0, kWidth);
  std::string line = absl::StrFormat("%-16s [%s%s] %3d%%", phase, std::string(filled, '#'),
                                     std::string(kWidth - filled, ' '),
                                     std::clamp(static_cast<int>(done * 100), 0, 100));
  if (line == shown_) return;
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  shown_ = std::move(line);
}

void ProgressBar::Clear() {
  if (!shown_.empty()) std::fprintf(stderr, "\r\033[K");
  shown_.clear();
}

void Notices::Line(absl::string_view text) {
  std::lock_guard<std::mutex> lock(mutex_);
  absl::StrAppend(&held_, Printable(text), absl::EndsWith(text, "\n") ? "" : "\n");
  if (released_) Print();
}

void Notices::Release() {
  std::lock_guard<std::mutex> lock(mutex_);
  released_ = true;
  Print();
}

void Notices::Print() {
  if (held_.empty()) return;
  const char* clear = isatty(STDERR_FILENO) ? "\r\033[K" : "";  // the bar's line
  std::fprintf(stderr, "%s%s", clear, held_.c_str());
  held_.clear();
}

absl::Status FlushOutput() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return absl::OkStatus();
  return InvalidArgument("standard output: cannot write");
}

std::string Printable(absl::string_view text) {
  std::string out;
  const std::string whole = RepairUtf8(text);
  for (size_t i = 0; i < whole.size(); ++i) {
    const char c = whole[i];
    // U+0080 to U+009F control terminals too; they are the byte C2 and that of their number.
    const bool high = c == '\xC2' && static_cast<unsigned char>(whole[i + 1]) < 0xA0;
    if (high) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(whole[++i]));
    } else if (c == '\r') {
      out.push_back(' ');
    } else if (c != '\n' && c != '\t' && absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      out.push_back(c);
    }
  }
  return out;
}

int Fail(absl::string_view program, const absl::Status& status) {
  constexpr size_t kLongest = 4000;  // bytes; what is longer quotes a file
  constexpr size_t kEnd = 1000;
  std::string message(status.message());
  if (message.size() > kLongest) {
    message.replace(kLongest - kEnd, message.size() - kLongest, " ... ");
  }
  message = absl::StrReplaceAll(Printable(message), {{"\n", " "}});
  std::fflush(stdout);
  std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(program.size()), program.data(),
               message.c_str());
  return absl::IsCancelled(status) ? 130 : kBadInput;
}

void CatchInterrupt() {
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

void CatchEveryInterrupt() {
  interrupt_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, nullptr);
}

bool Interrupted() { return interrupted; }

void ForgetInterrupt() {
  interrupted = false;
  eventfd_t count = 0;
  eventfd_read(interrupt_event, &count);
}

bool WaitForInput() {
  pollfd files[] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_event, POLLIN, 0}};
  while (poll(files, 2, -1) < 0) {
    if (errno != EINTR) return true;  // the read tells what is wrong
  }
  return files[1].revents == 0;
}

}  // namespace ninfer::tools
