// The weights' data as blocks with a checksum each, so that all threads can verify it.
// Tested by tests/plan_test.cc.
#ifndef NINFER_PLAN_BLOCKS_H_
#define NINFER_PLAN_BLOCKS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace ninfer::plan {

// Small enough to stay in a core's cache between being copied and being hashed.
inline constexpr uint64_t kChecksumBlock = uint64_t{1} << 20;

// Calls `work(block, offset, size)` for every block of `bytes`, from `threads` threads (0: one for
// each CPU) that take blocks in order. Stops early once a call returned false.
void ForEachBlock(uint64_t bytes, uint64_t block_bytes, int threads,
                  absl::FunctionRef<bool(uint64_t block, uint64_t offset, uint64_t size)> work);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_BLOCKS_H_
