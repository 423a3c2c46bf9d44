// One kernel to one object file, and many objects to one image.
// Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_COMPILE_H_
#define NINFER_CODEGEN_COMPILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "codegen/codegen.h"

namespace ninfer::codegen {

struct KernelObject {
  std::string symbol;
  std::string object;  // ELF bytes
  int64_t stack_bytes = 0;
  int64_t llvm_instructions = 0;
  std::vector<CodeLine> lines;
};

// Emits, optimises and compiles one kernel; dumps its LLVM IR and assembly where the options ask.
// `first_line` is that of the kernel's function in the program's text, 0 for no line table.
absl::StatusOr<KernelObject> CompileKernel(const program::Program& program,
                                           const program::Kernel& kernel, const Target& target,
                                           int first_line, const CodegenOptions& options);

// Lays the objects out in one executable and one read-only segment and resolves what is between
// them.
absl::Status LinkObjects(const std::vector<KernelObject>& objects, CodeImage* image);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_COMPILE_H_
