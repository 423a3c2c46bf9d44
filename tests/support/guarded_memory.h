// Memory between two pages that may not be touched, and calls of code that may stray into them.
#ifndef NINFER_TESTS_SUPPORT_GUARDED_MEMORY_H_
#define NINFER_TESTS_SUPPORT_GUARDED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"

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

// A fault that ended a call: the signal, or 0, and the address that was touched.
struct Stray {
  int signal = 0;
  const void* address = nullptr;
};

// Calls `code`, which has nothing to destroy, and comes back when it faults.
Stray CallWatched(absl::FunctionRef<void()> code);

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_GUARDED_MEMORY_H_
