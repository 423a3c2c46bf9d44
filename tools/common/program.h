// What every program does around its work: flags, limits of the machine, the exit status. Tested by
// tests/programs_test.py.
#ifndef NINFER_TOOLS_COMMON_PROGRAM_H_
#define NINFER_TOOLS_COMMON_PROGRAM_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <set>
#include <string>

#include "absl/status/status.h"

namespace ninfer::tools {

// Parses the flags, works, and returns the exit status: 0; 2 after one line on standard error; 130
// when interrupted. What was printed and could not be written is a failure, after --help too.
// `may_be_empty` names flags whose empty value means something.
int RunProgram(CLI::App& app, int argc, char** argv, const std::function<absl::Status()>& work,
               const std::set<std::string>& may_be_empty = {});

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_PROGRAM_H_
