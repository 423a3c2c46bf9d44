// Tells perf and gdb the names of generated code: perf's map file (tools/perf/Documentation/
// jit-interface.txt in the kernel's source) and gdb's JIT interface, which takes an object file in
// memory (gdb's manual, "JIT Compilation Interface"). Tested by tests/runtime_cpu_image_test.cc.
#ifndef NINFER_RUNTIME_CODE_NAMES_H_
#define NINFER_RUNTIME_CODE_NAMES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/debug_lines.h"

namespace ninfer::runtime {

// Appends one line for each name to /tmp/perf-PID.map. A failure is silent: names are a
// convenience.
void WritePerfMap(const void* code, const std::vector<CodeName>& names);

// An ELF object that holds no code, only the names of `bytes` bytes at `code`, and their lines
// where there are any.
std::string MakeSymbolObject(const void* code, uint64_t bytes, const std::vector<CodeName>& names);

// Keeps names known to gdb as long as it lives. Registrations may come from several threads.
class GdbRegistration {
 public:
  GdbRegistration(const void* code, uint64_t bytes, const std::vector<CodeName>& names);
  ~GdbRegistration();
  GdbRegistration(const GdbRegistration&) = delete;
  GdbRegistration& operator=(const GdbRegistration&) = delete;

 private:
  struct Entry;
  std::string object_;
  std::unique_ptr<Entry> entry_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CODE_NAMES_H_
