#include "tests/support/mapped_code.h"

#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace ninfer {
namespace {

constexpr size_t kPage = 4096;

size_t RoundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }

}  // namespace

MappedCode::MappedCode(const codegen::CodeImage& image, int64_t pages_before) {
  const size_t before = static_cast<size_t>(pages_before) * kPage;
  bytes_ = before + RoundUp(image.bytes.size(), kPage);
  mapping_ = static_cast<uint8_t*>(
      mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  NINFER_CHECK(mapping_ != MAP_FAILED);
  base_ = mapping_ + before;
  std::memcpy(base_, image.bytes.data(), image.bytes.size());
  NINFER_CHECK(image.executable_bytes % kPage == 0);
  NINFER_CHECK(mprotect(mapping_, bytes_, PROT_READ) == 0);
  NINFER_CHECK(mprotect(base_, image.executable_bytes, PROT_READ | PROT_EXEC) == 0);
}

MappedCode::~MappedCode() { munmap(mapping_, bytes_); }

KernelFunction MappedCode::At(uint64_t offset) const {
  return reinterpret_cast<KernelFunction>(base_ + offset);
}

std::string WhyNotHere(const codegen::Target& target) {
  static const std::set<std::string>* const flags = [] {
    auto* found = new std::set<std::string>;
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
      if (!absl::StartsWith(line, "flags")) continue;
      for (absl::string_view flag : absl::StrSplit(line, ' ')) found->insert(std::string(flag));
      break;
    }
    return found;
  }();
  std::vector<std::string> missing;
  for (const std::string& feature : target.required_features) {
    if (flags->count(feature) == 0) missing.push_back(feature);
  }
  return missing.empty() ? "" : absl::StrCat("this CPU has no ", absl::StrJoin(missing, ", "));
}

}  // namespace ninfer
