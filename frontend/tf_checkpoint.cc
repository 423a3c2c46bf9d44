// See the header. The messages are those of tensorflow/core/protobuf/tensor_bundle.proto.
// Tested by tests/tf_checkpoint_test.cc, fuzzed by tests/fuzz/tf_checkpoint_fuzz.cc.
#include "frontend/tf_checkpoint.h"

#include <cstring>

#include "absl/strings/str_format.h"
#include "absl/types/optional.h"
#include "base/file.h"
#include "base/status.h"
#include "frontend/json.h"
#include "frontend/leveldb_table.h"

namespace ninfer::frontend {
namespace {

constexpr int64_t kMaxShards = 99999;  // five digits of the name
constexpr size_t kMaxRank = 254;       // TensorFlow's own limit

constexpr struct {
  uint64_t code;
  DType dtype;
} kDTypes[] = {{1, DType::kF32},   {2, DType::kF64},   {3, DType::kI32},
               {4, DType::kU8},    {6, DType::kI8},    {9, DType::kI64},
               {10, DType::kBool}, {14, DType::kBF16}, {19, DType::kF16}};

// One field of a protocol buffer; `number` holds what is not a piece of bytes.
struct Field {
  uint64_t id = 0;
  uint64_t number = 0;
  absl::string_view bytes;
};

// Takes a field from the front; false where the bytes are no message.
bool TakeField(absl::string_view* message, Field* field) {
  uint64_t tag = 0;
  if (!TakeVarint(message, &tag)) return false;
  field->id = tag >> 3;
  uint64_t size = 0;
  switch (tag & 7) {
    case 0:
      return TakeVarint(message, &field->number);
    case 1:
      size = 8;
      break;
    case 2:
      if (!TakeVarint(message, &size)) return false;
      break;
    case 5:
      size = 4;
      break;
    default:
      return false;
  }
  if (size > message->size()) return false;
  field->bytes = message->substr(0, size);
  message->remove_prefix(size);
  if ((tag & 7) != 2) {
    field->number = 0;
    std::memcpy(&field->number, field->bytes.data(), size);
  }
  return true;
}

// Runs `take` on every field of a message; false where one of them is malformed or refused.
template <typename Take>
bool ForEachField(absl::string_view message, Take take) {
  while (!message.empty()) {
    Field field;
    if (!TakeField(&message, &field) || !take(field)) return false;
  }
  return true;
}

// TensorShapeProto: dimensions in field 2, each with its size in field 1; field 3: of unknown rank.
bool ReadShape(absl::string_view message, std::vector<int64_t>* shape) {
  return ForEachField(message, [&](const Field& field) {
    if (field.id == 3) return field.number == 0;
    if (field.id != 2) return true;
    uint64_t size = 0;
    const bool read = ForEachField(field.bytes, [&](const Field& inner) {
      if (inner.id == 1) size = inner.number;
      return true;
    });
    shape->push_back(static_cast<int64_t>(size));
    return read && size <= INT64_MAX && shape->size() <= kMaxRank;
  });
}

absl::StatusOr<TfEntry> ReadEntry(absl::string_view file, const TableEntry& from, int64_t shards) {
  TfEntry entry;
  entry.name = from.key;
  const std::string where = absl::StrCat(file, ": tensor ", Quoted(entry.name));
  uint64_t dtype = 0, shard = 0;
  bool sliced = false;
  const bool read = ForEachField(from.value, [&](const Field& field) {
    if (field.id == 1) dtype = field.number;
    if (field.id == 2) return ReadShape(field.bytes, &entry.shape);
    if (field.id == 3) shard = field.number;
    if (field.id == 4) entry.offset = field.number;
    if (field.id == 5) entry.bytes = field.number;
    if (field.id == 6) entry.masked_crc32c = static_cast<uint32_t>(field.number);
    if (field.id == 7) sliced = true;
    return true;
  });
  if (!read) return InvalidArgument(where, ": expected a BundleEntryProto, found other bytes");
  if (sliced) return InvalidArgument(where, ": expected a whole tensor, found slices");
  absl::optional<DType> known;
  for (const auto& row : kDTypes) {
    if (row.code == dtype) known = row.dtype;
  }
  if (!known.has_value()) {
    return InvalidArgument(where, ": dtype: expected a number or a truth value, found DataType ",
                           dtype);
  }
  entry.dtype = *known;
  if (shard >= static_cast<uint64_t>(shards)) {
    return InvalidArgument(where, ": expected a shard below ", shards, ", found ", shard);
  }
  entry.shard = static_cast<int64_t>(shard);
  uint64_t needed = 0;
  if (!BytesNeeded(entry.dtype, entry.shape, &needed) || needed != entry.bytes) {
    return InvalidArgument(where, ": expected the bytes of ", DTypeName(entry.dtype),
                           ShapeToString(entry.shape), ", found ", entry.bytes);
  }
  return entry;
}

// BundleHeaderProto: the number of shards in field 1, the byte order in field 2 (0: little).
absl::StatusOr<int64_t> ReadHeader(absl::string_view file, absl::string_view message) {
  uint64_t shards = 0, order = 0;
  const bool read = ForEachField(message, [&](const Field& field) {
    if (field.id == 1) shards = field.number;
    if (field.id == 2) order = field.number;
    return true;
  });
  if (!read || shards == 0 || shards > kMaxShards) {
    return InvalidArgument(file, ": header: expected 1 to ", kMaxShards, " shards, found ",
                           read ? absl::StrCat(shards) : "other bytes");
  }
  if (order != 0) {
    return InvalidArgument(file, ": header: expected little-endian bytes, found byte order ",
                           order);
  }
  return static_cast<int64_t>(shards);
}

}  // namespace

absl::StatusOr<TfIndex> ParseTfIndex(absl::string_view file, absl::string_view contents) {
  NINFER_ASSIGN_OR_RETURN(const std::vector<TableEntry> table, ParseTable(file, contents));
  if (table.empty() || !table[0].key.empty()) {
    return InvalidArgument(file, ": expected a header under the empty name, found none");
  }
  TfIndex index;
  NINFER_ASSIGN_OR_RETURN(index.shards, ReadHeader(file, table[0].value));
  for (size_t i = 1; i < table.size(); ++i) {
    NINFER_ASSIGN_OR_RETURN(TfEntry entry, ReadEntry(file, table[i], index.shards));
    index.entries.push_back(std::move(entry));
  }
  return index;
}

std::string TfShardName(absl::string_view prefix, int64_t shard, int64_t shards) {
  return absl::StrFormat("%s.data-%05d-of-%05d", prefix, shard, shards);
}

absl::StatusOr<StoredTensor> TfTensor(const TfEntry& entry, absl::string_view shard_file,
                                      absl::string_view shard) {
  if (!InBounds(entry.offset, entry.bytes, shard.size())) {
    return InvalidArgument(shard_file, ": tensor ", Quoted(entry.name), ": expected ", entry.bytes,
                           " bytes at ", entry.offset, ", found ", shard.size(), " in the file");
  }
  StoredTensor tensor;
  tensor.name = entry.name;
  tensor.file = std::string(shard_file);
  tensor.dtype = entry.dtype;
  tensor.shape = entry.shape;
  tensor.data = reinterpret_cast<const uint8_t*>(shard.data()) + entry.offset;
  tensor.bytes = entry.bytes;
  tensor.checksum = {Checksum::Kind::kMaskedCrc32c, entry.masked_crc32c, tensor.data, tensor.bytes};
  return tensor;
}

}  // namespace ninfer::frontend
