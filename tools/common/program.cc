#include "tools/common/program.h"

#include <csignal>

#include "base/machine.h"
#include "base/status.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {

int RunProgram(CLI::App& app, int argc, char** argv, const std::function<absl::Status()>& work) {
  EndWhenOutOfMemory();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error like a full disk's
  absl::Status status;
  bool parsed = false;
  try {
    app.parse(argc, argv);
    parsed = true;
  } catch (const CLI::Success& help) {
    app.exit(help);
  } catch (const CLI::ParseError& error) {
    status = InvalidArgument(error.what());
  }
  if (parsed) status = work();
  status.Update(FlushOutput());
  return status.ok() ? 0 : Fail(app.get_name(), status);
}

}  // namespace ninfer::tools
