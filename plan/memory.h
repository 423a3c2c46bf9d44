// Memory for what a model streams: aligned to 2 MiB and backed by huge pages where the kernel
// grants them, which it is asked for before the first touch. A run of 4 KiB pages costs a sixth of
// the read bandwidth. Not for small things: a Memory takes at least one page of its own. Tested by
// tests/plan_memory_test.cc.
#ifndef NINFER_PLAN_MEMORY_H_
#define NINFER_PLAN_MEMORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::plan {

inline constexpr uint64_t kHugePage = uint64_t{2} << 20;

class Memory {
 public:
  // Zeroed, taken from the system page by page as it is touched. `what` names it in errors. The
  // first `small_pages` bytes (a multiple of 2 MiB) stay in small pages: for memory of which mostly
  // little is touched.
  static absl::StatusOr<std::unique_ptr<Memory>> Allocate(uint64_t bytes, absl::string_view what,
                                                          uint64_t small_pages = 0);
  // `bytes` of the file from `offset` on (a multiple of 4096), to read.
  static absl::StatusOr<std::unique_ptr<Memory>> Map(int fd, uint64_t offset, uint64_t bytes,
                                                     const std::string& path);
  // The same to read and write: what is written is in the file. The file has these bytes.
  static absl::StatusOr<std::unique_ptr<Memory>> MapShared(int fd, uint64_t offset, uint64_t bytes,
                                                           const std::string& path);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  // Bytes of it that lie in huge pages now.
  uint64_t huge_bytes() const;

 private:
  Memory(uint8_t* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  static absl::StatusOr<std::unique_ptr<Memory>> MapFile(int fd, uint64_t offset, uint64_t bytes,
                                                         int protection, int flags,
                                                         const std::string& path);
  uint8_t* data_;
  uint64_t bytes_;
};

// Bytes of [data, data + bytes) in huge pages, as /proc/self/smaps tells.
uint64_t HugeBytes(const void* data, uint64_t bytes);

// Memory that this process may still take: the system's, and half the cgroup's limit at most (page
// cache counts against that limit too).
uint64_t AvailableMemory();

// True when the kernel gives huge pages to anonymous memory that asks for them.
bool HugePagesEnabled();

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_MEMORY_H_
