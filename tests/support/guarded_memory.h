// Memory between two pages that may not be touched, and runs of kernels that may stray into them.
// The C++ library is all that this needs: it is built for emulated CPUs, too.
#ifndef NINFER_TESTS_SUPPORT_GUARDED_MEMORY_H_
#define NINFER_TESTS_SUPPORT_GUARDED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ninfer {

// Bytes at a multiple of 64 that end, but for less than 64 bytes, where the page behind them
// begins. They are filled with `fill` at first; what is left of their pages is watched.
class GuardedMemory {
 public:
  GuardedMemory(std::string name, size_t bytes, uint16_t fill);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return bytes_; }
  const std::string& name() const { return name_; }
  std::string Bytes() const { return {reinterpret_cast<const char*>(data_), bytes_}; }
  void Fill();
  // Whether nothing was written beside the bytes.
  bool Intact() const;
  // Whether the address lies in the bytes or the pages around them.
  bool Near(const void* address) const;
  int64_t OffsetOf(const void* address) const {
    return static_cast<const uint8_t*>(address) - data_;
  }

 private:
  std::string name_;
  size_t bytes_, inside_;
  uint16_t fill_;
  uint8_t* mapping_;
  uint8_t* data_;
};

// What a generated kernel is (program/program.h).
using KernelFunction = void (*)(void* const* operands, const int32_t* dims, int64_t begin,
                                int64_t end, void* scratch);

// How a run ended. Memory is named by its place among the operands; scratch is behind them.
struct RunOutcome {
  int64_t signal = 0;           // that stopped it, else 0
  int64_t memory = -1, at = 0;  // where it strayed, if near one: a byte counted from its start
  int64_t written_beside = -1;  // which was
};

// Runs units from each bound to the next, each time on fresh scratch, the last of `memory`.
RunOutcome RunWatched(KernelFunction function,
                      const std::vector<std::unique_ptr<GuardedMemory>>& memory,
                      const std::vector<int32_t>& dims, const std::vector<int64_t>& bounds);

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_GUARDED_MEMORY_H_
