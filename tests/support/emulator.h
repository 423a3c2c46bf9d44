// Code for another architecture, run by qemu's user emulation: operands go to a program on the
// emulated CPU and come back.
#ifndef NINFER_TESTS_SUPPORT_EMULATOR_H_
#define NINFER_TESTS_SUPPORT_EMULATOR_H_

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "codegen/codegen.h"
#include "tests/support/guarded_memory.h"

namespace ninfer {

class Emulator {
 public:
  static bool IsFor(const codegen::Target& target);
  // Why nothing can be emulated here; empty when it can.
  static std::string WhyNot();

  // Starts the emulator and hands it the code. WhyNot() must be empty.
  explicit Emulator(const codegen::CodeImage& image);
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  // Runs the kernel at `offset` as RunWatched does: the bytes of `memory`, but for scratch, its
  // last, come back.
  RunOutcome Run(uint64_t offset, const std::vector<std::unique_ptr<GuardedMemory>>& memory,
                 const std::vector<int32_t>& dims, const std::vector<int64_t>& bounds,
                 uint16_t fill);

 private:
  int child_ = -1;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_EMULATOR_H_
