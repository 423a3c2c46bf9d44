#include "plan/blocks.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace ninfer::plan {
namespace {

int CpuCount() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(CPU_COUNT(&set), 1);
}

}  // namespace

void ForEachBlock(uint64_t bytes, uint64_t block_bytes, int threads,
                  absl::FunctionRef<bool(uint64_t block, uint64_t offset, uint64_t size)> work) {
  const uint64_t count = (bytes + block_bytes - 1) / block_bytes;
  std::atomic<uint64_t> next{0};
  const auto run = [&] {
    for (uint64_t block = next++; block < count; block = next++) {
      const uint64_t offset = block * block_bytes;
      if (!work(block, offset, std::min(block_bytes, bytes - offset))) next = count;
    }
  };
  const uint64_t wanted = threads > 0 ? static_cast<uint64_t>(threads) : CpuCount();
  std::vector<std::thread> helpers;
  // A thread costs as much as hashing a few blocks.
  for (uint64_t i = 1; i < std::min(wanted, count / 4); ++i) helpers.emplace_back(run);
  run();
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace ninfer::plan
