#include "plan/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::plan {
namespace {

constexpr uint64_t kSmallPage = 4096;

uint64_t Pages(uint64_t bytes) {
  return (std::max<uint64_t>(bytes, 1) + kSmallPage - 1) / kSmallPage * kSmallPage;
}

// Address space of `bytes` aligned to a huge page, with nothing behind it yet; null when there is
// none.
uint8_t* Reserve(uint64_t bytes) {
  const uint64_t all = bytes + kHugePage;
  if (all < bytes) return nullptr;
  void* region = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return nullptr;
  uint8_t* begin = static_cast<uint8_t*>(region);
  const uint64_t skip = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (skip > 0) munmap(begin, skip);
  if (kHugePage - skip > 0) munmap(begin + skip + bytes, kHugePage - skip);
  return begin + skip;
}

// The number after `key` in the text of a /proc or cgroup file; `fallback` when there is none.
uint64_t NumberAfter(absl::string_view text, absl::string_view key, uint64_t fallback) {
  const size_t at = text.find(key);
  if (at == absl::string_view::npos) return fallback;
  text.remove_prefix(at + key.size());
  text = text.substr(text.find_first_not_of(' ') == absl::string_view::npos
                         ? text.size()
                         : text.find_first_not_of(' '));
  uint64_t value = 0;
  return absl::SimpleAtoi(text.substr(0, text.find_first_not_of("0123456789")), &value) ? value
                                                                                        : fallback;
}

std::string ReadOrEmpty(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  return text.ok() ? *std::move(text) : std::string();
}

absl::Status MemoryError(absl::string_view what, uint64_t bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat(what, ": cannot take ", bytes, " bytes of memory: ", strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Memory>> Memory::Allocate(uint64_t bytes, absl::string_view what,
                                                         uint64_t small_pages) {
  const uint64_t size = Pages(bytes);
  uint8_t* data = Reserve(size);
  if (data == nullptr) return MemoryError(what, bytes);
  if (mprotect(data, size, PROT_READ | PROT_WRITE) != 0) {
    munmap(data, size);
    return MemoryError(what, bytes);
  }
  // A failure leaves small pages, which work.
  if (size >= small_pages + kHugePage) {
    madvise(data + small_pages, size - small_pages, MADV_HUGEPAGE);
  }
  return std::unique_ptr<Memory>(new Memory(data, bytes));
}

absl::StatusOr<std::unique_ptr<Memory>> Memory::Map(int fd, uint64_t offset, uint64_t bytes,
                                                    const std::string& path) {
  return MapFile(fd, offset, bytes, PROT_READ, MAP_PRIVATE, path);
}

absl::StatusOr<std::unique_ptr<Memory>> Memory::MapShared(int fd, uint64_t offset, uint64_t bytes,
                                                          const std::string& path) {
  return MapFile(fd, offset, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, path);
}

absl::StatusOr<std::unique_ptr<Memory>> Memory::MapFile(int fd, uint64_t offset, uint64_t bytes,
                                                        int protection, int flags,
                                                        const std::string& path) {
  const uint64_t size = Pages(bytes);
  uint8_t* data = Reserve(size);
  if (data == nullptr) return MemoryError(path, bytes);
  void* mapped =
      bytes == 0 ? data
                 : mmap(data, bytes, protection, flags | MAP_FIXED, fd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) {
    const int error = errno;
    munmap(data, size);
    return InvalidArgument(path, ": cannot map: ", strerror(error));
  }
  if (size >= kHugePage) madvise(data, size, MADV_HUGEPAGE);
  return std::unique_ptr<Memory>(new Memory(data, bytes));
}

Memory::~Memory() { munmap(data_, Pages(bytes_)); }

uint64_t Memory::huge_bytes() const { return HugeBytes(data_, bytes_); }

uint64_t HugeBytes(const void* data, uint64_t bytes) {
  const uint64_t begin = reinterpret_cast<uintptr_t>(data);
  const std::string maps = ReadOrEmpty("/proc/self/smaps");
  uint64_t total = 0;
  bool inside = false;
  for (absl::string_view line : absl::StrSplit(maps, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line.substr(0, line.find(' ')), '-');
    uint64_t first = 0, last = 0;
    if (words.size() == 2 && absl::SimpleHexAtoi(words[0], &first) &&
        absl::SimpleHexAtoi(words[1], &last)) {
      inside = first < begin + bytes && begin < last;
    } else if (inside) {
      for (absl::string_view key : {"AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"}) {
        if (absl::StartsWith(line, key)) total += NumberAfter(line, key, 0) * 1024;
      }
    }
  }
  return std::min(total, bytes);  // a neighbour may share the kernel's entry
}

uint64_t AvailableMemory() {
  uint64_t available = NumberAfter(ReadOrEmpty("/proc/meminfo"), "MemAvailable:", 0) * 1024;
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const uint64_t limit = NumberAfter(ReadOrEmpty(path), "", UINT64_MAX);
    available = std::min(available, limit / 2);
  }
  return available;
}

bool HugePagesEnabled() {
  return !absl::StrContains(ReadOrEmpty("/sys/kernel/mm/transparent_hugepage/enabled"),
                            "[never]") &&
         FileExists("/sys/kernel/mm/transparent_hugepage/enabled");
}

}  // namespace ninfer::plan
