// Sources: proc(5), getrlimit(2), cgroups(7).
#include "base/machine.h"

#include <cxxabi.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>
#include <typeinfo>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer {
namespace {

constexpr int kBadInput = 2;  // exit status

std::string ReadOrEmpty(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  return text.ok() ? *std::move(text) : std::string();
}

// "MemTotal:  16384 kB" and "SwapTotal: ...", added up.
uint64_t InstalledBytes(const std::string& root) {
  uint64_t bytes = 0;
  for (absl::string_view line : absl::StrSplit(ReadOrEmpty(root + "/proc/meminfo"), '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kilobytes = 0;
    if (words.size() < 2 || (words[0] != "MemTotal:" && words[0] != "SwapTotal:")) continue;
    if (absl::SimpleAtoi(words[1], &kilobytes)) bytes += kilobytes << 10;
  }
  return bytes > 0 ? bytes : UINT64_MAX;
}

// The least limit of the process's own group and of those above it; version 1 and 2 name their
// files differently, and "max" is none.
uint64_t GroupLimit(const std::string& root) {
  uint64_t least = UINT64_MAX;
  const auto note = [&least](const std::string& path) {
    uint64_t bytes = 0;
    if (absl::SimpleAtoi(absl::StripAsciiWhitespace(ReadOrEmpty(path)), &bytes)) {
      least = std::min(least, bytes);
    }
  };
  for (absl::string_view line :
       absl::StrSplit(ReadOrEmpty(root + "/proc/self/cgroup"), '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    std::string group(fields[2] == "/" ? "" : fields[2]);
    while (true) {
      if (fields[1].empty()) note(root + "/sys/fs/cgroup" + group + "/memory.max");
      if (fields[1] == "memory") {
        note(root + "/sys/fs/cgroup/memory" + group + "/memory.limit_in_bytes");
      }
      const size_t slash = group.rfind('/');
      if (slash == std::string::npos) break;
      group.resize(slash);
    }
  }
  return least;
}

// Allocates nothing.
[[noreturn]] void EndWith(const char* message) {
  for (const char* part : {static_cast<const char*>(program_invocation_short_name), message}) {
    if (write(STDERR_FILENO, part, strlen(part)) < 0) break;
  }
  _exit(kBadInput);
}

void OnOutOfMemory() {
  EndWith(": out of memory: expected less work, or more memory than is granted\n");
}

std::terminate_handler other_reasons;

// Where the C++ library throws for want of a thread or of an address range, nothing catches it.
void OnTerminate() {
  const std::type_info* thrown = abi::__cxa_current_exception_type();
  if (thrown != nullptr &&
      (*thrown == typeid(std::bad_alloc) || *thrown == typeid(std::bad_array_new_length) ||
       *thrown == typeid(std::length_error))) {
    OnOutOfMemory();
  }
  if (thrown != nullptr && *thrown == typeid(std::system_error)) {
    EndWith(": out of threads: expected fewer, or a limit that grants more\n");
  }
  other_reasons();
}

}  // namespace

uint64_t MemoryLimit(const std::string& root) {
  uint64_t least = std::min(InstalledBytes(root), GroupLimit(root));
  for (const auto resource : {RLIMIT_AS, RLIMIT_DATA}) {
    rlimit limit;
    if (getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
      least = std::min<uint64_t>(least, limit.rlim_cur);
    }
  }
  return least;
}

absl::Status CheckFitsMemory(absl::string_view what, uint64_t bytes) {
  const uint64_t most = MemoryLimit();
  if (bytes <= most) return absl::OkStatus();
  return InvalidArgument(what, ": expected at most ", most,
                         " bytes, the memory that this process may have, found ", bytes);
}

absl::Status CheckAddressesLeft(absl::string_view what, uint64_t bytes) {
  void* probe = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe == MAP_FAILED) {
    return InvalidArgument(what, ": out of memory: expected ", bytes,
                           " bytes of addresses more, found less");
  }
  munmap(probe, bytes);
  return absl::OkStatus();
}

void EndWhenOutOfMemory() {
  std::set_new_handler(OnOutOfMemory);
  if (std::get_terminate() == OnTerminate) return;
  other_reasons = std::set_terminate(OnTerminate);
}

}  // namespace ninfer
