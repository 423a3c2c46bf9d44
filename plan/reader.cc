#include "plan/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "plan/blocks.h"
#include "plan/container.h"
#include "plan/decode.h"
#include "plan/memory.h"

namespace ninfer::plan {
namespace {

// A copy pays when the weights do not fit the second-level TLB's reach of 4 KiB pages anyway.
constexpr uint64_t kWorthCopying = uint64_t{8} << 20;
constexpr uint64_t kSpareMemory = uint64_t{256} << 20;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Returns 0, an errno, or -1 at the file's end.
int ReadAt(int fd, uint64_t offset, uint64_t size, void* target) {
  char* bytes = static_cast<char*>(target);
  while (size > 0) {
    const ssize_t count = pread(fd, bytes, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return -1;
    bytes += count;
    offset += count;
    size -= count;
  }
  return 0;
}

absl::Status ReadError(const std::string& path, int error) {
  return InvalidArgument(
      path, ": cannot read: ", error < 0 ? "the file became shorter" : strerror(error));
}

absl::StatusOr<std::string> ReadPrefix(int fd, uint64_t size, const std::string& path) {
  std::string bytes(size, '\0');
  if (const int error = ReadAt(fd, 0, size, bytes.data()); error != 0) {
    return ReadError(path, error);
  }
  return bytes;
}

const SectionRow* WeightRow(const Container& container) {
  return container.Find(static_cast<uint32_t>(Section::kWeightData));
}

absl::Status CheckWeightRow(const Contents& contents, const Container& container,
                            const std::string& path) {
  const SectionRow* row = WeightRow(container);
  const SectionRow* list = container.Find(static_cast<uint32_t>(Section::kWeightChecksums));
  const std::string context = path + ": section weight data: ";
  if (row == nullptr || list == nullptr) {
    return InvalidArgument(context, "expected data and checksums, found none: these are sections ",
                           "for use in memory");
  }
  if (row->size != contents.plan.weight_bytes) {
    return InvalidArgument(context, "expected ", contents.plan.weight_bytes, " bytes, found ",
                           row->size);
  }
  if (row->checksum != list->checksum) {
    return InvalidArgument(context, "expected checksum ", list->checksum, ", found ",
                           row->checksum);
  }
  const WeightChecksums& blocks = contents.weight_checksums;
  if (blocks.block_bytes < 4096 || blocks.block_bytes > (uint64_t{1} << 30)) {
    return InvalidArgument(path, ": section weight checksums: block bytes: expected 4096 to ",
                           uint64_t{1} << 30, ", found ", blocks.block_bytes);
  }
  if (contents.plan.cards.has_value() &&
      contents.plan.cards->weights_offset % blocks.block_bytes != 0) {
    return InvalidArgument(path, ": section weight checksums: block bytes: expected a divisor of ",
                           contents.plan.cards->weights_offset, ", found ", blocks.block_bytes);
  }
  const uint64_t count = (row->size + blocks.block_bytes - 1) / blocks.block_bytes;
  if (blocks.checksums.size() != count) {
    return InvalidArgument(path, ": section weight checksums: expected ", count, ", found ",
                           blocks.checksums.size());
  }
  return absl::OkStatus();
}

// A part of the weights' data, which begins with a block.
struct WeightSource {
  int fd;
  uint64_t offset, bytes;  // in the file
  uint64_t first_block;
  const WeightChecksums* checksums;
  const std::string* path;
};

// Fills `copy` from the file (or reads the mapping where `copy` is false) and verifies each block
// while it is in the cache. This is also what pages the weights in.
absl::Status LoadBlocks(const WeightSource& source, uint8_t* data, bool copy, bool verify,
                        int threads) {
  std::atomic<int> error{0};
  std::atomic<uint64_t> bad{UINT64_MAX};
  ForEachBlock(source.bytes, source.checksums->block_bytes, threads,
               [&](uint64_t block, uint64_t offset, uint64_t size) {
                 if (copy) {
                   const int failed =
                       ReadAt(source.fd, source.offset + offset, size, data + offset);
                   if (failed != 0) {
                     error = failed;
                     return false;
                   }
                 }
                 if (verify && Hash64(data + offset, size) !=
                                   source.checksums->checksums[source.first_block + block]) {
                   bad = block;
                   return false;
                 }
                 return true;
               });
  if (error != 0) return ReadError(*source.path, error);
  if (const uint64_t block = bad; block != UINT64_MAX) {
    const uint64_t offset = block * source.checksums->block_bytes;
    const uint64_t size = std::min(source.checksums->block_bytes, source.bytes - offset);
    const uint64_t at = source.first_block + block;
    return InvalidArgument(*source.path, ": section weight data: block ", at,
                           ": expected checksum ", source.checksums->checksums[at], ", found ",
                           Hash64(data + offset, size));
  }
  return absl::OkStatus();
}

// Whether the mapping would get huge pages is seen by touching one in its middle.
bool MappingGetsHugePages(const Memory& mapped) {
  const uint64_t middle = mapped.bytes() / 2 / kHugePage * kHugePage;
  volatile const uint8_t* bytes = mapped.data();
  (void)bytes[middle];
  return mapped.huge_bytes() > 0;
}

bool WorthCopying(const Memory& mapped) {
  return mapped.bytes() >= kWorthCopying && HugePagesEnabled() && !MappingGetsHugePages(mapped) &&
         AvailableMemory() >= mapped.bytes() + kSpareMemory;
}

absl::StatusOr<std::unique_ptr<Memory>> LoadWeights(const WeightSource& source,
                                                    const ReadOptions& options,
                                                    LoadedPlan* loaded) {
  std::unique_ptr<Memory> memory;
  bool copy = options.weights_memory == WeightsMemory::kCopy;
  if (!copy) {
    NINFER_ASSIGN_OR_RETURN(memory,
                            Memory::Map(source.fd, source.offset, source.bytes, *source.path));
    copy = options.weights_memory == WeightsMemory::kAuto && WorthCopying(*memory);
  }
  if (copy) {
    NINFER_ASSIGN_OR_RETURN(
        memory, Memory::Allocate(source.bytes, absl::StrCat(*source.path, ": weights")));
  }
  NINFER_RETURN_IF_ERROR(LoadBlocks(source, memory->data(), copy, options.verify, options.threads));
  loaded->huge_page_bytes = memory->huge_bytes();
  loaded->weights_memory = copy ? "copied" : "mapped";
  return memory;
}

// The weights that are wanted, of CPUs, of cards or of both.
absl::Status LoadParts(const WeightSource& all, const ReadOptions& options, LoadedPlan* loaded) {
  const Plan& plan = loaded->plan;
  WeightsFor wanted = WeightsFor::kAll;
  if (!plan.cards.has_value()) {
    wanted = WeightsFor::kCpu;
  } else if (options.weights_for) {
    wanted = options.weights_for(plan);
  }
  WeightSource source = all;
  ReadOptions of_part = options;
  if (wanted == WeightsFor::kCpu) source.bytes = CpuWeightBytes(plan);
  if (wanted == WeightsFor::kCards) {
    source.offset += plan.cards->weights_offset;
    source.bytes = plan.cards->weight_bytes;
    source.first_block = plan.cards->weights_offset / all.checksums->block_bytes;
    of_part.weights_memory = WeightsMemory::kMap;
  }
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Memory> memory, LoadWeights(source, of_part, loaded));
  if (wanted != WeightsFor::kCards) loaded->weights = memory->data();
  if (wanted == WeightsFor::kCards) loaded->card_weights = memory->data();
  if (wanted == WeightsFor::kAll) {
    loaded->card_weights = memory->data() + plan.cards->weights_offset;
  }
  loaded->owner = std::shared_ptr<void>(std::move(memory));
  return absl::OkStatus();
}

absl::StatusOr<Container> ReadContainer(int fd, uint64_t file_size, const std::string& path) {
  NINFER_ASSIGN_OR_RETURN(const std::string header,
                          ReadPrefix(fd, std::min(file_size, kHeaderBytes), path));
  NINFER_ASSIGN_OR_RETURN(const uint64_t size, ParseHeader(header, file_size, path));
  NINFER_ASSIGN_OR_RETURN(const std::string bytes, ReadPrefix(fd, size, path));
  return ParseContainer(bytes, file_size, path);
}

}  // namespace

absl::StatusOr<WeightsMemory> WeightsMemoryFromName(absl::string_view name) {
  if (name == "auto") return WeightsMemory::kAuto;
  if (name == "map") return WeightsMemory::kMap;
  if (name == "copy") return WeightsMemory::kCopy;
  return InvalidArgument("--weights-memory: expected auto, map or copy, found \"", name, "\"");
}

absl::StatusOr<LoadedPlan> ReadPlan(const std::string& path, const ReadOptions& options) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return InvalidArgument(path, ": cannot open: ", strerror(errno));
  struct stat info;
  if (fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return InvalidArgument(path, ": not a plan: not a regular file");
  }
  const uint64_t file_size = static_cast<uint64_t>(info.st_size);
  NINFER_ASSIGN_OR_RETURN(const Container container, ReadContainer(fd.get(), file_size, path));
  const SectionRow* row = WeightRow(container);
  NINFER_ASSIGN_OR_RETURN(const std::string bytes,
                          ReadPrefix(fd.get(), row != nullptr ? row->offset : file_size, path));
  NINFER_ASSIGN_OR_RETURN(Contents contents, DecodeSections(bytes, container, path, nullptr));
  NINFER_RETURN_IF_ERROR(CheckWeightRow(contents, container, path));
  LoadedPlan loaded;
  loaded.plan = std::move(contents.plan);
  NINFER_RETURN_IF_ERROR(LoadParts(
      {fd.get(), row->offset, row->size, 0, &contents.weight_checksums, &path}, options, &loaded));
  return loaded;
}

absl::StatusOr<Plan> ParseSections(absl::string_view bytes, absl::string_view name) {
  NINFER_ASSIGN_OR_RETURN(const Container container, ParseContainer(bytes, bytes.size(), name));
  if (WeightRow(container) != nullptr) {
    return InvalidArgument(name, ": expected sections without weight data, found a plan file");
  }
  NINFER_ASSIGN_OR_RETURN(Contents contents, DecodeSections(bytes, container, name, nullptr));
  return std::move(contents.plan);
}

absl::StatusOr<LoadedPlan> PlanInMemory(absl::string_view sections, absl::string_view name,
                                        const uint8_t* weights, uint64_t weight_bytes,
                                        std::shared_ptr<void> owner) {
  LoadedPlan loaded;
  NINFER_ASSIGN_OR_RETURN(loaded.plan, ParseSections(sections, name));
  if (loaded.plan.weight_bytes != weight_bytes) {
    return InvalidArgument(name, ": weights: expected ", loaded.plan.weight_bytes, " bytes, found ",
                           weight_bytes);
  }
  if (reinterpret_cast<uintptr_t>(weights) % kSectionAlignment != 0) {
    return InvalidArgument(name, ": weights: expected an address that 64 divides");
  }
  loaded.weights = weights;
  if (loaded.plan.cards.has_value()) {
    loaded.card_weights = weights + loaded.plan.cards->weights_offset;
  }
  loaded.owner = std::move(owner);
  loaded.weights_memory = "in memory";
  loaded.in_memory = true;
  loaded.huge_page_bytes = HugeBytes(weights, weight_bytes);
  return loaded;
}

}  // namespace ninfer::plan
