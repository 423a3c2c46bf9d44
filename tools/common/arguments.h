// Arguments of the command line before and after CLI11: what it would take amiss is put in order
// or refused, and its complaints become "--flag: expected X, found Y". Tested by
// tests/programs_test.py.
#ifndef NINFER_TOOLS_COMMON_ARGUMENTS_H_
#define NINFER_TOOLS_COMMON_ARGUMENTS_H_

#include <CLI/CLI.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ninfer::tools {

// The arguments, without the program's name, each flag's value apart where CLI11 would not find it:
// "--flag=" has an empty value there and takes the next argument in its place, "-f=x" has "=x".
// Refuses a flag without its value, and an empty one unless the flag is in `may_be_empty`.
absl::StatusOr<std::vector<std::string>> SplitValues(const CLI::App& app, int argc,
                                                     const char* const* argv,
                                                     const std::set<std::string>& may_be_empty);

// What CLI11 complained of, in this project's words. Unknown arguments are named in their order.
absl::Status Explain(const CLI::App& app, const CLI::ParseError& error);

// Checks of a flag's value: a whole number from `least` to `most`, one of these words.
CLI::Validator Between(int64_t least, int64_t most);
CLI::Validator OneOf(const std::vector<std::string>& words);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_ARGUMENTS_H_
