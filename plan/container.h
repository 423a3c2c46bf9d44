// The frame of a plan file: header and table of sections, with the rules that leave no byte free.
// Section offsets follow from the sizes (each begins where the one before ended, rounded up), bytes
// between sections are zero, and everything is under a checksum. See plan/FORMAT.md. Tested by
// tests/plan_test.cc.
#ifndef NINFER_PLAN_CONTAINER_H_
#define NINFER_PLAN_CONTAINER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::plan {

inline constexpr char kMagic[] = "\x89NINFER\n";  // 8 bytes
inline constexpr uint32_t kByteOrder = 0x01020304;
// A reader reads files whose version to read is at most its own; a program that rewrites a file in
// place does so only when the version to write is at most its own.
inline constexpr uint16_t kVersionToRead = 1;
inline constexpr uint16_t kVersionToWrite = 1;
inline constexpr uint64_t kHeaderBytes = 64;
inline constexpr uint64_t kRowBytes = 32;
inline constexpr uint64_t kSectionAlignment = 64;
inline constexpr uint64_t kWeightAlignment = uint64_t{2} << 20;
inline constexpr uint16_t kMustUnderstand = 1;  // bit 0 of a row's flags

struct SectionRow {
  uint32_t type = 0;
  uint16_t version = 0;
  uint16_t flags = 0;
  uint64_t offset = 0, size = 0, checksum = 0;
};

struct Container {
  uint16_t version_to_read = kVersionToRead;
  uint16_t version_to_write = kVersionToWrite;
  uint64_t file_size = 0;
  std::string content_digest;  // 32 hexadecimal digits
  std::vector<SectionRow> rows;

  uint64_t header_bytes() const { return kHeaderBytes + kRowBytes * rows.size(); }
  const SectionRow* Find(uint32_t type) const;
};

inline uint64_t RoundUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// Fills in offsets, file size and content digest from the rows' types, sizes and checksums.
void LayOut(Container* container);
// Header and table as bytes, with their checksum.
std::string SerializeContainer(const Container& container);

// Size of header and table, from the first kHeaderBytes of a file of `file_size` bytes.
absl::StatusOr<uint64_t> ParseHeader(absl::string_view header, uint64_t file_size,
                                     absl::string_view file);
// Checks everything that header and table say, sections' contents aside.
absl::StatusOr<Container> ParseContainer(absl::string_view bytes, uint64_t file_size,
                                         absl::string_view file);

}  // namespace ninfer::plan

#endif  // NINFER_PLAN_CONTAINER_H_
