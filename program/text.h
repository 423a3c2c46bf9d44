// The program's text form. Parse(Print(p)) prints as Print(p), byte for byte.
// Tested by tests/program_text_test.cc.
#ifndef NINFER_PROGRAM_TEXT_H_
#define NINFER_PROGRAM_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "program/program.h"

namespace ninfer::program {

// Of a program that Verify accepts.
std::string Print(const Program& program);
// Lines, from 1, of the kernels' functions in what Print gives, in their order; node i of a body
// stands i + 1 lines below.
std::vector<int> KernelLines(absl::string_view text);
// `file` names the text in errors: "edited.kp:12: ...". What Verify checks is not checked here.
absl::StatusOr<Program> Parse(absl::string_view text, absl::string_view file);

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_TEXT_H_
