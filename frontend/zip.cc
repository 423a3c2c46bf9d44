// See the header.
// Tested by tests/torch_file_test.cc, fuzzed by tests/fuzz/torch_file_fuzz.cc.
#include "frontend/zip.h"

#include <algorithm>
#include <cstring>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "base/file.h"
#include "base/status.h"
#include "frontend/json.h"

namespace ninfer::frontend {
namespace {

constexpr absl::string_view kLocalMagic("PK\x03\x04", 4);
constexpr absl::string_view kCentralMagic("PK\x01\x02", 4);
constexpr absl::string_view kEndMagic("PK\x05\x06", 4);
constexpr absl::string_view kEnd64Magic("PK\x06\x06", 4);
constexpr absl::string_view kLocator64Magic("PK\x06\x07", 4);
constexpr uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr uint16_t kEncrypted = 1;
constexpr uint16_t kZip64Extra = 1;
constexpr uint64_t kMaxEntries = 1'000'000;

template <typename T>
T At(absl::string_view bytes, uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// A piece of the file that begins with these four bytes; empty when there is none.
absl::string_view Record(absl::string_view contents, uint64_t offset, uint64_t size,
                         absl::string_view magic) {
  if (!InBounds(offset, size, contents.size())) return {};
  const absl::string_view record = contents.substr(offset, size);
  return absl::StartsWith(record, magic) ? record : absl::string_view();
}

struct Directory {
  uint64_t entries = 0, size = 0, offset = 0;
};

absl::StatusOr<Directory> FindDirectory(absl::string_view file, absl::string_view contents) {
  const uint64_t longest = kEndBytes + UINT16_MAX;  // with a comment
  const uint64_t from = contents.size() > longest ? contents.size() - longest : 0;
  const absl::string_view tail = contents.substr(from);
  const size_t in_tail = tail.rfind(kEndMagic);
  if (in_tail == absl::string_view::npos || tail.size() - in_tail < kEndBytes) {
    return InvalidArgument(file, ": expected a zip file's directory at its end, found none");
  }
  const uint64_t end = from + in_tail;
  const absl::string_view record = contents.substr(end, kEndBytes);
  if (At<uint16_t>(record, 4) != At<uint16_t>(record, 6)) {
    return InvalidArgument(file, ": expected a whole zip file, found one of several parts");
  }
  Directory directory{At<uint16_t>(record, 10), At<uint32_t>(record, 12), At<uint32_t>(record, 16)};
  const absl::string_view locator =
      end < kLocator64Bytes
          ? absl::string_view()
          : Record(contents, end - kLocator64Bytes, kLocator64Bytes, kLocator64Magic);
  if (!locator.empty()) {
    const absl::string_view wide =
        Record(contents, At<uint64_t>(locator, 8), kEnd64Bytes, kEnd64Magic);
    if (wide.empty()) {
      return InvalidArgument(file, ": expected a zip64 directory record, found none");
    }
    directory = {At<uint64_t>(wide, 32), At<uint64_t>(wide, 40), At<uint64_t>(wide, 48)};
  }
  if (!InBounds(directory.offset, directory.size, end) ||
      directory.entries > directory.size / kCentralBytes || directory.entries > kMaxEntries) {
    return InvalidArgument(file, ": expected a zip directory inside the file, found ",
                           directory.entries, " entries in ", directory.size, " bytes at ",
                           directory.offset);
  }
  return directory;
}

struct Place {
  uint64_t size = 0, compressed = 0, header = 0;
};

// The 64-bit values of the extra field, which stand there for each that is all ones in the entry.
bool ReadZip64(absl::string_view extra, Place& place) {
  const bool needed =
      place.size == UINT32_MAX || place.compressed == UINT32_MAX || place.header == UINT32_MAX;
  while (extra.size() >= 4) {
    const uint16_t id = At<uint16_t>(extra, 0);
    const uint16_t size = At<uint16_t>(extra, 2);
    if (size > extra.size() - 4) return !needed;
    absl::string_view field = extra.substr(4, size);
    extra.remove_prefix(4 + size);
    if (id != kZip64Extra) continue;
    for (uint64_t* value : {&place.size, &place.compressed, &place.header}) {
      if (*value != UINT32_MAX) continue;
      if (field.size() < 8) return false;
      *value = At<uint64_t>(field, 0);
      field.remove_prefix(8);
    }
    return true;
  }
  return !needed;
}

absl::StatusOr<ZipEntry> ReadEntry(absl::string_view file, absl::string_view contents,
                                   absl::string_view directory, uint64_t& at) {
  const absl::string_view record = Record(directory, at, kCentralBytes, kCentralMagic);
  if (record.empty()) {
    return InvalidArgument(file, ": expected an entry of the zip directory at ", at,
                           ", found other bytes");
  }
  const uint64_t name_size = At<uint16_t>(record, 28);
  const uint64_t extra_size = At<uint16_t>(record, 30);
  const uint64_t all = kCentralBytes + name_size + extra_size + At<uint16_t>(record, 32);
  if (!InBounds(at, all, directory.size())) {
    return InvalidArgument(file, ": expected an entry of the zip directory of ", all,
                           " bytes, found ", directory.size() - at, " left");
  }
  ZipEntry entry;
  entry.name = directory.substr(at + kCentralBytes, name_size);
  entry.crc32 = At<uint32_t>(record, 16);
  const std::string where = absl::StrCat(file, ": entry ", Quoted(entry.name));
  Place place{At<uint32_t>(record, 24), At<uint32_t>(record, 20), At<uint32_t>(record, 42)};
  if (!ReadZip64(directory.substr(at + kCentralBytes + name_size, extra_size), place)) {
    return InvalidArgument(where, ": expected sizes of 64 bits, found none");
  }
  at += all;
  if (At<uint16_t>(record, 8) & kEncrypted) {
    return InvalidArgument(where, ": expected plain bytes, found them encrypted");
  }
  const uint16_t method = At<uint16_t>(record, 10);
  if (method != 0 || place.size != place.compressed) {
    return InvalidArgument(where, ": expected stored bytes, found them compressed by method ",
                           method);
  }
  const absl::string_view local = Record(contents, place.header, kLocalBytes, kLocalMagic);
  if (local.empty()) {
    return InvalidArgument(where, ": expected its header at ", place.header, ", found other bytes");
  }
  const uint64_t begin =
      place.header + kLocalBytes + At<uint16_t>(local, 26) + At<uint16_t>(local, 28);
  if (!InBounds(begin, place.size, contents.size())) {
    return InvalidArgument(where, ": expected ", place.size, " bytes at ", begin, ", found ",
                           contents.size(), " in the file");
  }
  if (!InBounds(place.header + kLocalBytes, name_size, contents.size()) ||
      contents.substr(place.header + kLocalBytes, At<uint16_t>(local, 26)) != entry.name) {
    return InvalidArgument(where, ": expected its name in its header, found another");
  }
  entry.contents = contents.substr(begin, place.size);
  return entry;
}

}  // namespace

bool LooksLikeZip(absl::string_view contents) { return absl::StartsWith(contents, kLocalMagic); }

absl::StatusOr<std::vector<ZipEntry>> ParseZip(absl::string_view file, absl::string_view contents) {
  NINFER_ASSIGN_OR_RETURN(const Directory found, FindDirectory(file, contents));
  const absl::string_view directory = contents.substr(found.offset, found.size);
  std::vector<ZipEntry> entries;
  absl::flat_hash_set<absl::string_view> names;
  uint64_t at = 0;
  for (uint64_t i = 0; i < found.entries; ++i) {
    NINFER_ASSIGN_OR_RETURN(const ZipEntry entry, ReadEntry(file, contents, directory, at));
    if (!names.insert(entry.name).second) {
      return InvalidArgument(file, ": expected each entry once, found ", Quoted(entry.name),
                             " twice");
    }
    entries.push_back(entry);
  }
  if (at != directory.size()) {
    return InvalidArgument(file, ": expected ", found.entries,
                           " entries in the zip directory, found ", directory.size() - at,
                           " bytes more");
  }
  return entries;
}

}  // namespace ninfer::frontend
