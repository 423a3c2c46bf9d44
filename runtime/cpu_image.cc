// Tested by tests/runtime_cpu_image_test.cc.
#include "runtime/cpu_image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "runtime/code_names.h"

namespace ninfer::runtime {
namespace {

// Maps `bytes` from a file in memory, which also works where a policy forbids making written
// anonymous pages executable; null where there are no such files.
uint8_t* MapFromMemoryFile(const std::string& bytes) {
  const int fd = memfd_create("ninfer-code", MFD_CLOEXEC);
  if (fd < 0) return nullptr;
  void* mapped = MAP_FAILED;
  if (write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size())) {
    mapped = mmap(nullptr, bytes.size(), PROT_READ, MAP_PRIVATE, fd, 0);
  }
  close(fd);
  return mapped == MAP_FAILED ? nullptr : static_cast<uint8_t*>(mapped);
}

uint8_t* MapAnonymous(const std::string& bytes) {
  void* mapped =
      mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  std::memcpy(mapped, bytes.data(), bytes.size());
  mprotect(mapped, bytes.size(), PROT_READ);
  return static_cast<uint8_t*>(mapped);
}

// The code with its first `executable` bytes executable; null with errno set on failure.
uint8_t* MapCode(const std::string& bytes, uint64_t executable) {
  for (const auto map : {&MapAnonymous, &MapFromMemoryFile}) {
    uint8_t* code = map(bytes);
    if (code == nullptr) continue;
    if (mprotect(code, executable, PROT_READ | PROT_EXEC) == 0) {
      // What was written as data is to be fetched as instructions; nothing on x86.
      char* begin = reinterpret_cast<char*>(code);
      __builtin___clear_cache(begin, begin + executable);
      return code;
    }
    munmap(code, bytes.size());
  }
  return nullptr;
}

std::vector<std::string> Lacking(const plan::CodeImage& image,
                                 const absl::flat_hash_set<std::string>& features) {
  std::vector<std::string> missing;
  for (const std::string& feature : image.required_features) {
    if (!features.contains(feature)) missing.push_back(feature);
  }
  return missing;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuImage>> CpuImage::Load(const plan::CodeImage& image,
                                                         const std::vector<plan::Kernel>& kernels,
                                                         const CpuImageOptions& options) {
  uint8_t* code = MapCode(image.bytes, image.executable_bytes);
  if (code == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("code for ", image.target, ": cannot map ",
                                                     image.bytes.size(),
                                                     " bytes to execute: ", strerror(errno)));
  }
  std::unique_ptr<CpuImage> result(new CpuImage(code, image.bytes.size()));
  std::vector<CodeName> names;
  for (size_t i = 0; i < image.kernels.size(); ++i) {
    const plan::KernelSymbol& symbol = image.kernels[i];
    result->kernels_.push_back(reinterpret_cast<KernelFunction>(code + symbol.offset));
    names.push_back({symbol.name.empty() ? kernels[i].name : symbol.name, symbol.offset,
                     symbol.size, symbol.lines});
  }
  if (options.perf_map) WritePerfMap(code, names);
  result->gdb_ = std::make_unique<GdbRegistration>(code, image.executable_bytes, names);
  return result;
}

CpuImage::CpuImage(uint8_t* code, uint64_t bytes) : code_(code), bytes_(bytes) {}

CpuImage::~CpuImage() {
  gdb_.reset();
  munmap(code_, bytes_);
}

const plan::CodeImage* ChooseImage(const plan::Plan& plan,
                                   const absl::flat_hash_set<std::string>& features) {
  const plan::CodeImage* best = nullptr;
  for (const plan::CodeImage& image : plan.images) {
    if (!Lacking(image, features).empty()) continue;
    if (best == nullptr || image.required_features.size() > best->required_features.size()) {
      best = &image;
    }
  }
  return best;
}

std::string MissingFeatures(const plan::Plan& plan,
                            const absl::flat_hash_set<std::string>& features) {
  if (plan.images.empty()) return "the plan has no code";
  std::vector<std::string> lines;
  for (const plan::CodeImage& image : plan.images) {
    lines.push_back(absl::StrCat("code for ", image.target, " needs ",
                                 absl::StrJoin(Lacking(image, features), ", "),
                                 ", which this CPU lacks"));
  }
  return absl::StrJoin(lines, "; ");
}

}  // namespace ninfer::runtime
