// Any text as a kernel program: refused with its place, or it prints, reads back and prints the
// same. What verifies goes through both checkers, which refuse or accept it, and is copied.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "program/scratch.h"
#include "program/text.h"
#include "program/verifier.h"

namespace {

void Require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ninfer::program;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto program = Parse(text, "fuzz.kp");
  if (!program.ok()) {
    Require(absl::StartsWith(program.status().message(), "fuzz.kp:"),
            std::string(program.status().message()));
    return 0;
  }
  if (!Verify(*program).ok()) return 0;
  const std::string printed = Print(*program);
  const auto again = Parse(printed, "again.kp");
  Require(again.ok(), std::string(again.status().message()));
  Require(Print(*again) == printed, "printing what was printed gives another text");
  Require(Print(Clone(*program)) == printed, "a copy prints another text");
  CheckOrder(*program).IgnoreError();
  CheckBuffers(*program).IgnoreError();
  for (const Kernel& kernel : program->kernels) {
    Require(ScratchBytes(kernel, program->symbols) >= 0, "scratch of less than nothing");
  }
  return 0;
}
