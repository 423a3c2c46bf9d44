// What the tests and their program on an emulated CPU say to each other: little-endian, both alike.
#ifndef NINFER_TESTS_SUPPORT_EMULATOR_PROTOCOL_H_
#define NINFER_TESTS_SUPPORT_EMULATOR_PROTOCOL_H_

#include <cstdint>

namespace ninfer {

// First, once: the code image follows.
struct CodeHeader {
  uint64_t bytes = 0, executable_bytes = 0;
};

// Then for each run; `dims` i32, `bounds` i64 and, for each of `operands`, u64 bytes and these
// follow. The answer is a RunOutcome and the operands' bytes after the run.
struct RunHeader {
  uint64_t offset = 0;  // of the kernel
  uint64_t dims = 0, bounds = 0, operands = 0, scratch_bytes = 0;
  uint64_t fill = 0;  // of scratch
};

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_EMULATOR_PROTOCOL_H_
