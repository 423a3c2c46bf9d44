// See the header.
// Tested by tests/tf_checkpoint_test.cc, fuzzed by tests/fuzz/tf_checkpoint_fuzz.cc.
#include "frontend/leveldb_table.h"

#include <cstring>

#include "base/file.h"
#include "base/status.h"
#include "frontend/stored_tensor.h"

namespace ninfer::frontend {
namespace {

constexpr uint64_t kMagic = 0xdb4775248b80fb57u;
constexpr uint64_t kFooterBytes = 48;
constexpr uint64_t kTrailerBytes = 5;    // of a block: its compression and its checksum
constexpr uint64_t kMaxKeyBytes = 4096;  // a key repeats its predecessor's beginning for free

template <typename T>
T At(absl::string_view bytes, uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

struct Handle {
  uint64_t offset = 0, size = 0;
};

bool TakeHandle(absl::string_view* bytes, Handle* handle) {
  return TakeVarint(bytes, &handle->offset) && TakeVarint(bytes, &handle->size);
}

// A block's entries without the restarts behind them.
absl::StatusOr<absl::string_view> ReadBlock(absl::string_view file, absl::string_view contents,
                                            const Handle& handle) {
  const std::string where = absl::StrCat(file, ": block at ", handle.offset);
  if (!InBounds(handle.offset, handle.size, contents.size()) ||
      contents.size() - handle.offset - handle.size < kTrailerBytes) {
    return InvalidArgument(where, ": expected ", handle.size, " bytes inside the file, found ",
                           contents.size(), " in all");
  }
  Checksum checksum;
  checksum.kind = Checksum::Kind::kMaskedCrc32c;
  checksum.value = At<uint32_t>(contents, handle.offset + handle.size + 1);
  checksum.data = reinterpret_cast<const uint8_t*>(contents.data()) + handle.offset;
  checksum.bytes = handle.size + 1;  // with the compression
  NINFER_RETURN_IF_ERROR(Verify(where, checksum));
  const auto compression = static_cast<uint8_t>(contents[handle.offset + handle.size]);
  if (compression != 0) {
    return InvalidArgument(where, ": expected no compression, found kind ", int{compression});
  }
  const absl::string_view block = contents.substr(handle.offset, handle.size);
  const uint64_t restarts = block.size() < 4 ? 0 : At<uint32_t>(block, block.size() - 4);
  if (block.size() < 4 || restarts > (block.size() - 4) / 4) {
    return InvalidArgument(where, ": expected restarts inside the block, found ", restarts, " in ",
                           block.size(), " bytes");
  }
  return block.substr(0, block.size() - 4 - 4 * restarts);
}

// Entries of one block, behind those of the blocks before it.
absl::Status ReadEntries(const std::string& where, absl::string_view block,
                         std::vector<TableEntry>* entries) {
  std::string key;
  while (!block.empty()) {
    uint64_t shared = 0, own = 0, size = 0;
    const bool numbers =
        TakeVarint(&block, &shared) && TakeVarint(&block, &own) && TakeVarint(&block, &size);
    if (!numbers || shared > key.size() || own > block.size() || size > block.size() - own) {
      return InvalidArgument(where, ": expected an entry's key and value, found ", block.size(),
                             " bytes left");
    }
    if (shared + own > kMaxKeyBytes) {
      return InvalidArgument(where, ": expected keys of at most ", kMaxKeyBytes, " bytes, found ",
                             shared + own);
    }
    key.resize(shared);
    key.append(block.data(), own);
    if (!entries->empty() && key <= entries->back().key) {
      return InvalidArgument(where, ": expected keys in their order, found one out of it");
    }
    entries->push_back({key, block.substr(own, size)});
    block.remove_prefix(own + size);
  }
  return absl::OkStatus();
}

}  // namespace

bool TakeVarint(absl::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes->front());
    bytes->remove_prefix(1);
    *value |= uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

absl::StatusOr<std::vector<TableEntry>> ParseTable(absl::string_view file,
                                                   absl::string_view contents) {
  if (contents.size() < kFooterBytes || At<uint64_t>(contents, contents.size() - 8) != kMagic) {
    return InvalidArgument(
        file, ": expected a table's mark in the last 8 of at least ", kFooterBytes,
        " bytes, found ",
        contents.size() < kFooterBytes ? absl::StrCat(contents.size(), " bytes") : "others");
  }
  absl::string_view footer = contents.substr(contents.size() - kFooterBytes);
  Handle meta, index;
  if (!TakeHandle(&footer, &meta) || !TakeHandle(&footer, &index)) {
    return InvalidArgument(file, ": expected the places of two blocks in the footer, found none");
  }
  NINFER_ASSIGN_OR_RETURN(const absl::string_view index_block, ReadBlock(file, contents, index));
  std::vector<TableEntry> blocks, entries;
  NINFER_RETURN_IF_ERROR(ReadEntries(absl::StrCat(file, ": index"), index_block, &blocks));
  uint64_t end = 0;
  for (TableEntry& block : blocks) {
    Handle handle;
    if (!TakeHandle(&block.value, &handle) || handle.offset < end) {
      return InvalidArgument(file, ": index: expected blocks one behind the other, found another");
    }
    NINFER_ASSIGN_OR_RETURN(const absl::string_view data, ReadBlock(file, contents, handle));
    NINFER_RETURN_IF_ERROR(
        ReadEntries(absl::StrCat(file, ": block at ", handle.offset), data, &entries));
    end = handle.offset + handle.size;
  }
  return entries;
}

}  // namespace ninfer::frontend
