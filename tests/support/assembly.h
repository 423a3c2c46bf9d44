// What tests ask of assembly as LLVM prints it, for x86-64 and AArch64.
#ifndef NINFER_TESTS_SUPPORT_ASSEMBLY_H_
#define NINFER_TESTS_SUPPORT_ASSEMBLY_H_

#include <string>
#include <vector>

namespace ninfer {

// The first instruction that the pattern is found in; empty when there is none.
std::string FirstMatch(const std::string& assembly, const char* pattern);

// Instructions that move a vector or a mask to the stack or from it, or compute with one there.
std::vector<std::string> VectorsOnTheStack(const std::string& assembly);

// Calls of what the file does not define.
std::vector<std::string> CallsOut(const std::string& assembly);

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_ASSEMBLY_H_
