// Running the project's programs as a user does, through the shell.
#ifndef NINFER_TESTS_RUN_PROGRAM_H_
#define NINFER_TESTS_RUN_PROGRAM_H_

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "tests/support/model_folder.h"

namespace ninfer::testing {

struct ProgramRun {
  int status = -1;  // exit status; -1 when a signal ended it
  std::string out, err;

  // One line and no more.
  bool OneLine() const {
    return std::count(err.begin(), err.end(), '\n') == 1 && absl::EndsWith(err, "\n");
  }
};

inline std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// A command line of the shell; `folder` receives its output for a moment.
inline ProgramRun RunShell(const std::string& command) {
  TemporaryFolder folder;
  const std::string out = folder.File("out"), err = folder.File("err");
  const int status =
      std::system(absl::StrCat("{ ", command, "\n} >", out, " 2>", err, " </dev/null").c_str());
  ProgramRun run;
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  run.out = ReadFile(out).value_or("");
  run.err = ReadFile(err).value_or("");
  return run;
}

// The command line of one of the programs in bin/.
inline std::string CommandOf(const std::string& program, const std::vector<std::string>& flags) {
  std::string command = Quoted(absl::StrCat(NINFER_BINARY_DIR, "/bin/", program));
  for (const std::string& flag : flags) absl::StrAppend(&command, " ", Quoted(flag));
  return command;
}

inline ProgramRun RunProgram(const std::string& program, const std::vector<std::string>& flags) {
  return RunShell(CommandOf(program, flags));
}

}  // namespace ninfer::testing

#endif  // NINFER_TESTS_RUN_PROGRAM_H_
