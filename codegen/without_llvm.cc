// The room in a build without LLVM (NINFER_PORTABLE): targets have names, and no code.
// Tested by tests/portable_test.py.
#include "base/status.h"
#include "codegen/codegen.h"

namespace ninfer::codegen {

absl::Status CheckGenerator() {
  return InvalidArgument("--target: expected cuda, for this build has no LLVM, found a CPU");
}

absl::StatusOr<CodeImage> GenerateCode(const program::Program& program, const Target& target,
                                       const CodegenOptions& options) {
  return CheckGenerator();
}

}  // namespace ninfer::codegen
