// A code image in memory, ready to be called.
#ifndef NINFER_TESTS_SUPPORT_MAPPED_CODE_H_
#define NINFER_TESTS_SUPPORT_MAPPED_CODE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "codegen/codegen.h"
#include "tests/support/guarded_memory.h"

namespace ninfer {

// Lies `pages_before` pages behind the start of its mapping.
class MappedCode {
 public:
  MappedCode(const codegen::CodeImage& image, int64_t pages_before = 0);
  ~MappedCode();
  MappedCode(const MappedCode&) = delete;
  MappedCode& operator=(const MappedCode&) = delete;

  KernelFunction At(uint64_t offset) const;
  const uint8_t* base() const { return base_; }

 private:
  uint8_t* mapping_ = nullptr;
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0;
};

// Why this host cannot run the target's code; empty when it can.
std::string WhyNotHere(const codegen::Target& target);

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_MAPPED_CODE_H_
