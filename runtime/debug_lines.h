// DWARF (version 4) for code in memory: one unit, a function for each kernel, and the line table
// from the plan, so that a debugger shows a kernel's place in the program's text. Tested by
// tests/runtime_cpu_image_test.cc.
#ifndef NINFER_RUNTIME_DEBUG_LINES_H_
#define NINFER_RUNTIME_DEBUG_LINES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace ninfer::runtime {

struct CodeName {
  std::string name;
  uint64_t offset = 0, size = 0;  // from the code's first byte
  std::vector<plan::CodeLine> lines = {};
};

// The file that debuggers look for: what `ninfer-inspect --section=program` prints.
inline constexpr char kProgramFile[] = "program.ir";

// Contents of the sections of the same names, with absolute addresses.
struct DebugSections {
  std::string info, abbrev, line;
};
DebugSections MakeDebugSections(const void* code, uint64_t bytes,
                                const std::vector<CodeName>& names);

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_DEBUG_LINES_H_
