#include "tools/common/program.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <vector>

#include "base/machine.h"
#include "base/status.h"
#include "base/version.h"
#include "tools/common/arguments.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {

namespace {

std::string* bus_error_line = nullptr;
std::atomic<bool> at_bus_error{false};

// Model files and plans are mapped: what somebody cuts short while it is read cannot be an error of
// a read.
void EndAtBusError(int) {
  while (at_bus_error.exchange(true)) pause();  // another thread says so
  (void)!write(STDERR_FILENO, bus_error_line->data(), bus_error_line->size());
  _exit(kBadInput);
}

// True when the program should go on; else what was asked for is printed or `status` says why not.
bool Parse(CLI::App& app, std::vector<std::string> arguments, absl::Status* status) {
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants it
  try {
    app.parse(std::move(arguments));
    return true;
  } catch (const CLI::Success& help) {
    app.exit(help);
  } catch (const CLI::ParseError& error) {
    *status = Explain(app, error);
  }
  return false;
}

}  // namespace

int RunProgram(CLI::App& app, int argc, char** argv, const std::function<absl::Status()>& work,
               const std::set<std::string>& may_be_empty) {
  EndWhenOutOfMemory();
  app.set_version_flag("--version", absl::StrCat(app.get_name(), " ", kVersion));
  bus_error_line = new std::string(absl::StrCat(
      app.get_name(), ": a file was cut short, or became unreadable, while it was in use\n"));
  std::signal(SIGBUS, EndAtBusError);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error like a full disk's
  absl::StatusOr<std::vector<std::string>> arguments = SplitValues(app, argc, argv, may_be_empty);
  absl::Status status = arguments.status();
  if (status.ok() && Parse(app, *std::move(arguments), &status)) status = work();
  status.Update(FlushOutput());
  return status.ok() ? 0 : Fail(app.get_name(), status);
}

}  // namespace ninfer::tools
