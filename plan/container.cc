#include "plan/container.h"

#include "absl/strings/escaping.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "plan/codec.h"
#include "plan/sections.h"

namespace ninfer::plan {
namespace {

constexpr uint64_t kChecksumOffset = 56;

uint64_t AlignmentOf(uint32_t type) {
  return type == static_cast<uint32_t>(Section::kWeightData) ? kWeightAlignment : kSectionAlignment;
}

// Covers all but the provenance: what the plan computes, not how and when it was made.
std::string ContentDigest(const std::vector<SectionRow>& rows) {
  std::string text;
  for (const SectionRow& row : rows) {
    if (row.type == static_cast<uint32_t>(Section::kProvenance)) continue;
    PutLittleEndian(&text, row.type, 4);
    PutLittleEndian(&text, row.version, 2);
    PutLittleEndian(&text, row.flags, 2);
    PutLittleEndian(&text, row.size, 8);
    PutLittleEndian(&text, row.checksum, 8);
  }
  return Hash128Hex(text.data(), text.size());
}

// Of the header before its checksum, and the table.
uint64_t HeaderChecksum(absl::string_view bytes) {
  return Hash64(absl::StrCat(bytes.substr(0, kChecksumOffset), bytes.substr(kHeaderBytes)));
}

std::string SectionName(uint32_t type) {
  const SectionInfo* info = FindSection(type);
  return info != nullptr ? std::string(info->name) : absl::StrCat("of type ", type);
}

absl::Status CheckRow(const SectionRow& row, uint64_t* end, uint64_t file_size,
                      absl::string_view file) {
  const std::string context = absl::StrCat(file, ": section ", SectionName(row.type));
  const uint64_t expected = RoundUp(*end, AlignmentOf(row.type));
  if (row.offset != expected) {
    return InvalidArgument(context, ": expected at offset ", expected, ", found ", row.offset);
  }
  if (!InBounds(row.offset, row.size, file_size)) {
    return InvalidArgument(context, ": expected to end within ", file_size, " bytes, found ",
                           row.size, " bytes at offset ", row.offset);
  }
  *end = row.offset + row.size;
  if (row.flags > kMustUnderstand) {
    return InvalidArgument(context, ": expected flags 0 or 1, found ", row.flags);
  }
  const SectionInfo* info = FindSection(row.type);
  const bool must = (row.flags & kMustUnderstand) != 0;
  if (info == nullptr && must) {
    return InvalidArgument(context, ": must be understood, and this program does not know it");
  }
  if (info != nullptr && row.version > info->version && must) {
    return InvalidArgument(context, ": expected version ", info->version, " at most, found ",
                           row.version);
  }
  if (row.version == 0) return InvalidArgument(context, ": expected a version, found 0");
  return absl::OkStatus();
}

absl::Status CheckRows(const Container& container, absl::string_view file) {
  uint64_t end = container.header_bytes();
  for (size_t i = 0; i < container.rows.size(); ++i) {
    const SectionRow& row = container.rows[i];
    NINFER_RETURN_IF_ERROR(CheckRow(row, &end, container.file_size, file));
    if (container.Find(row.type) != &row) {
      return InvalidArgument(file, ": section ", SectionName(row.type),
                             ": expected once, found twice");
    }
    // Readers take what lies before it into memory, and nothing behind it.
    const size_t behind = container.rows.size() - 1 - i;
    if (row.type == static_cast<uint32_t>(Section::kWeightData) && behind > 0) {
      return InvalidArgument(file, ": section ", SectionName(row.type),
                             ": expected to be the last, found ", behind, " behind it");
    }
  }
  if (end != container.file_size) {
    return InvalidArgument(file, ": expected ", end, " bytes, found ", container.file_size);
  }
  return absl::OkStatus();
}

}  // namespace

const SectionRow* Container::Find(uint32_t type) const {
  for (const SectionRow& row : rows) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

void LayOut(Container* container) {
  uint64_t end = container->header_bytes();
  for (SectionRow& row : container->rows) {
    row.offset = RoundUp(end, AlignmentOf(row.type));
    end = row.offset + row.size;
  }
  container->file_size = end;
  container->content_digest = ContentDigest(container->rows);
}

std::string SerializeContainer(const Container& container) {
  std::string bytes(kMagic, 8);
  PutLittleEndian(&bytes, kByteOrder, 4);
  PutLittleEndian(&bytes, container.version_to_read, 2);
  PutLittleEndian(&bytes, container.version_to_write, 2);
  PutLittleEndian(&bytes, container.file_size, 8);
  PutLittleEndian(&bytes, container.rows.size(), 4);
  PutLittleEndian(&bytes, 0, 4);
  bytes += absl::HexStringToBytes(container.content_digest);
  PutLittleEndian(&bytes, 0, 8);
  PutLittleEndian(&bytes, 0, 8);  // the checksum, below
  NINFER_CHECK(bytes.size() == kHeaderBytes) << bytes.size();
  for (const SectionRow& row : container.rows) {
    PutLittleEndian(&bytes, row.type, 4);
    PutLittleEndian(&bytes, row.version, 2);
    PutLittleEndian(&bytes, row.flags, 2);
    PutLittleEndian(&bytes, row.offset, 8);
    PutLittleEndian(&bytes, row.size, 8);
    PutLittleEndian(&bytes, row.checksum, 8);
  }
  std::string checksum;
  PutLittleEndian(&checksum, HeaderChecksum(bytes), 8);
  bytes.replace(kChecksumOffset, 8, checksum);
  return bytes;
}

absl::StatusOr<uint64_t> ParseHeader(absl::string_view header, uint64_t file_size,
                                     absl::string_view file) {
  if (header.size() < kHeaderBytes) {
    return InvalidArgument(file, ": not a plan: expected ", kHeaderBytes, " bytes at least, found ",
                           header.size());
  }
  if (header.substr(0, 8) != absl::string_view(kMagic, 8)) {
    return InvalidArgument(file, ": not a plan: expected to begin with \"",
                           absl::CHexEscape(absl::string_view(kMagic, 8)), "\", found \"",
                           absl::CHexEscape(header.substr(0, 8)), "\"");
  }
  const uint64_t order = GetLittleEndian(&header[8], 4);
  if (order != kByteOrder) {
    return InvalidArgument(file, ": header: expected byte order ", kByteOrder, ", found ", order);
  }
  const uint64_t version = GetLittleEndian(&header[12], 2);
  if (version == 0 || version > kVersionToRead) {
    return InvalidArgument(file, ": header: expected version to read ", kVersionToRead,
                           " at most, found ", version, "; compile the model again");
  }
  const uint64_t size = GetLittleEndian(&header[16], 8);
  if (size != file_size) {
    return InvalidArgument(file, ": header: expected a file of ", size, " bytes, found ",
                           file_size);
  }
  const uint64_t count = GetLittleEndian(&header[24], 4);
  if (!InBounds(kHeaderBytes, count * kRowBytes, file_size)) {
    return InvalidArgument(file, ": header: expected sections for ", file_size, " bytes, found ",
                           count);
  }
  return kHeaderBytes + count * kRowBytes;
}

absl::StatusOr<Container> ParseContainer(absl::string_view bytes, uint64_t file_size,
                                         absl::string_view file) {
  NINFER_ASSIGN_OR_RETURN(const uint64_t header_bytes,
                          ParseHeader(bytes.substr(0, kHeaderBytes), file_size, file));
  if (bytes.size() < header_bytes) {
    return InvalidArgument(file, ": header: expected ", header_bytes, " bytes, found ",
                           bytes.size());
  }
  bytes = bytes.substr(0, header_bytes);
  const uint64_t checksum = GetLittleEndian(&bytes[kChecksumOffset], 8);
  const uint64_t actual = HeaderChecksum(bytes);
  if (checksum != actual) {
    return InvalidArgument(file, ": header: expected checksum ", checksum, ", found ", actual);
  }
  if (GetLittleEndian(&bytes[28], 4) != 0 || GetLittleEndian(&bytes[48], 8) != 0) {
    return InvalidArgument(file, ": header: expected reserved bytes to be 0, found others");
  }
  Container container;
  container.version_to_read = static_cast<uint16_t>(GetLittleEndian(&bytes[12], 2));
  container.version_to_write = static_cast<uint16_t>(GetLittleEndian(&bytes[14], 2));
  container.file_size = file_size;
  container.content_digest = absl::BytesToHexString(bytes.substr(32, 16));
  for (uint64_t at = kHeaderBytes; at < header_bytes; at += kRowBytes) {
    SectionRow row;
    row.type = static_cast<uint32_t>(GetLittleEndian(&bytes[at], 4));
    row.version = static_cast<uint16_t>(GetLittleEndian(&bytes[at + 4], 2));
    row.flags = static_cast<uint16_t>(GetLittleEndian(&bytes[at + 6], 2));
    row.offset = GetLittleEndian(&bytes[at + 8], 8);
    row.size = GetLittleEndian(&bytes[at + 16], 8);
    row.checksum = GetLittleEndian(&bytes[at + 24], 8);
    container.rows.push_back(row);
  }
  NINFER_RETURN_IF_ERROR(CheckRows(container, file));
  const std::string digest = ContentDigest(container.rows);
  if (digest != container.content_digest) {
    return InvalidArgument(file, ": header: expected content digest ", container.content_digest,
                           ", found ", digest);
  }
  return container;
}

}  // namespace ninfer::plan
