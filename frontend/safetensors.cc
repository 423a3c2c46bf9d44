// See the header. Every figure in the file is checked against the file before it is used: nothing
// is allocated by a size that the file claims. Tested by tests/safetensors_test.cc, fuzzed by
// tests/fuzz/safetensors_fuzz.cc.
#include "frontend/safetensors.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "frontend/json.h"

namespace ninfer::frontend {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference

constexpr struct {
  absl::string_view name;
  DType dtype;
} kDTypes[] = {
    {"F32", DType::kF32}, {"F16", DType::kF16}, {"BF16", DType::kBF16},
    {"F64", DType::kF64}, {"I64", DType::kI64}, {"I32", DType::kI32},
    {"I8", DType::kI8},   {"U8", DType::kU8},   {"BOOL", DType::kBool},
};

// A tensor's entry while the header is read; offsets are relative to the end of the header.
struct Entry {
  StoredTensor tensor;
  uint64_t begin = 0;
  uint64_t end = 0;
};

absl::StatusOr<DType> ReadDType(const std::string& where, const json& info) {
  const auto found = info.find("dtype");
  const json* value = found == info.end() ? nullptr : &*found;
  if (value == nullptr || !value->is_string()) {
    return InvalidArgument(where, ": dtype: expected a string, found ", DescribeType(value));
  }
  const std::string& name = value->get_ref<const std::string&>();
  for (const auto& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  std::vector<absl::string_view> names;
  for (const auto& row : kDTypes) names.push_back(row.name);
  return InvalidArgument(where, ": dtype: expected one of ", absl::StrJoin(names, ", "), ", found ",
                         Quoted(name));
}

absl::StatusOr<std::vector<int64_t>> ReadShape(const std::string& where, const json& info) {
  const auto found = info.find("shape");
  const json* value = found == info.end() ? nullptr : &*found;
  if (value == nullptr || !value->is_array()) {
    return InvalidArgument(where, ": shape: expected a list, found ", DescribeType(value));
  }
  std::vector<int64_t> shape;
  for (const json& dim : *value) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > INT64_MAX) {
      return InvalidArgument(where, ": shape: expected sizes below 2^63, found ",
                             DescribeValue(dim));
    }
    shape.push_back(dim.get<int64_t>());
  }
  return shape;
}

absl::Status ReadOffsets(const std::string& where, const json& info, Entry& entry) {
  const auto found = info.find("data_offsets");
  const json* value = found == info.end() ? nullptr : &*found;
  if (value == nullptr || !value->is_array() || value->size() != 2 ||
      !(*value)[0].is_number_unsigned() || !(*value)[1].is_number_unsigned()) {
    return InvalidArgument(where, ": data_offsets: expected two offsets, found ",
                           value == nullptr ? "nothing" : DescribeValue(*value));
  }
  entry.begin = (*value)[0].get<uint64_t>();
  entry.end = (*value)[1].get<uint64_t>();
  return absl::OkStatus();
}

absl::Status CheckMetadata(absl::string_view file, const json& value) {
  if (!value.is_object()) {
    return InvalidArgument(file, ": __metadata__: expected an object, found ",
                           DescribeType(&value));
  }
  for (const auto& item : value.items()) {
    if (item.value().is_string()) continue;
    return InvalidArgument(file, ": __metadata__: ", Quoted(item.key()),
                           ": expected a string, found ", DescribeType(&item.value()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Entry> ReadEntry(absl::string_view file, const std::string& name, const json& info) {
  const std::string where = absl::StrCat(file, ": tensor ", Quoted(name));
  if (!info.is_object()) {
    return InvalidArgument(where, ": expected an object, found ", DescribeType(&info));
  }
  Entry entry;
  entry.tensor.name = name;
  entry.tensor.file = std::string(file);
  NINFER_ASSIGN_OR_RETURN(entry.tensor.dtype, ReadDType(where, info));
  NINFER_ASSIGN_OR_RETURN(entry.tensor.shape, ReadShape(where, info));
  NINFER_RETURN_IF_ERROR(ReadOffsets(where, info, entry));
  return entry;
}

// The reference's rule: in the order of their offsets, each tensor begins where the last one ended.
absl::Status CheckLayout(absl::string_view file, uint64_t data_bytes, std::vector<Entry>& entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    if (a.begin != b.begin) return a.begin < b.begin;
    return a.end != b.end ? a.end < b.end : a.tensor.name < b.tensor.name;
  });
  uint64_t expected = 0;
  for (Entry& entry : entries) {
    const std::string where = absl::StrCat(file, ": tensor ", Quoted(entry.tensor.name));
    const std::string range = absl::StrCat("[", entry.begin, ",", entry.end, "]");
    if (entry.end < entry.begin || entry.end > data_bytes) {
      return InvalidArgument(where, ": expected data inside the file's ", data_bytes,
                             " bytes of data, found offsets ", range);
    }
    if (entry.begin != expected) {
      return InvalidArgument(where, ": expected data to begin at ", expected,
                             ", where the one before ends, found offsets ", range);
    }
    uint64_t needed = 0;
    if (!BytesNeeded(entry.tensor.dtype, entry.tensor.shape, &needed)) {
      return InvalidArgument(where, ": expected fewer than 2^63 bytes, found shape ",
                             ShapeToString(entry.tensor.shape));
    }
    if (needed != entry.end - entry.begin) {
      return InvalidArgument(where, ": expected ", needed, " bytes for ",
                             DTypeName(entry.tensor.dtype), ShapeToString(entry.tensor.shape),
                             ", found ", entry.end - entry.begin);
    }
    entry.tensor.bytes = needed;
    expected = entry.end;
  }
  if (expected != data_bytes) {
    return InvalidArgument(file, ": expected ", expected, " bytes of data, found ", data_bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::string_view> Header(absl::string_view file, absl::string_view contents) {
  if (contents.size() < kLengthBytes) {
    return InvalidArgument(file, ": expected 8 bytes of header length, found ", contents.size(),
                           " bytes in all");
  }
  uint64_t length = 0;
  std::memcpy(&length, contents.data(), kLengthBytes);
  if (absl::StartsWith(contents, "version https://git-lfs")) {
    return InvalidArgument(file,
                           ": expected weights, found where git-lfs keeps them (git lfs pull)");
  }
  if (length > kMaxHeaderBytes) {
    return InvalidArgument(file, ": expected a header of at most ", kMaxHeaderBytes,
                           " bytes, found a length of ", length);
  }
  if (!InBounds(kLengthBytes, length, contents.size())) {
    return InvalidArgument(file, ": expected a header of ", length, " bytes, found ",
                           contents.size() - kLengthBytes, " bytes left in the file");
  }
  return contents.substr(kLengthBytes, length);
}

}  // namespace

absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(absl::string_view file,
                                                           absl::string_view contents) {
  NINFER_ASSIGN_OR_RETURN(const absl::string_view header, Header(file, contents));
  NINFER_ASSIGN_OR_RETURN(const json document, ParseJsonObject(absl::StrCat(file, ": header"),
                                                               header, DuplicateKeys::kRefused));
  std::vector<Entry> entries;
  for (const auto& item : document.items()) {
    if (item.key() == "__metadata__") {
      NINFER_RETURN_IF_ERROR(CheckMetadata(file, item.value()));
      continue;
    }
    NINFER_ASSIGN_OR_RETURN(Entry entry, ReadEntry(file, item.key(), item.value()));
    entries.push_back(std::move(entry));
  }
  const uint64_t data_begin = kLengthBytes + header.size();
  NINFER_RETURN_IF_ERROR(CheckLayout(file, contents.size() - data_begin, entries));
  std::vector<StoredTensor> tensors;
  for (Entry& entry : entries) {
    entry.tensor.data =
        reinterpret_cast<const uint8_t*>(contents.data()) + data_begin + entry.begin;
    tensors.push_back(std::move(entry.tensor));
  }
  return tensors;
}

absl::StatusOr<absl::flat_hash_map<std::string, std::string>> ParseShardIndex(
    absl::string_view file, absl::string_view text) {
  NINFER_ASSIGN_OR_RETURN(const json document,
                          ParseJsonObject(file, text, DuplicateKeys::kRefused));
  const auto found = document.find("weight_map");
  const json* map = found == document.end() ? nullptr : &*found;
  if (map == nullptr || !map->is_object()) {
    return InvalidArgument(file, ": weight_map: expected an object, found ", DescribeType(map));
  }
  absl::flat_hash_map<std::string, std::string> shards;
  for (const auto& item : map->items()) {
    const std::string where = absl::StrCat(file, ": weight_map: ", Quoted(item.key()));
    if (!item.value().is_string()) {
      return InvalidArgument(where, ": expected a string, found ", DescribeType(&item.value()));
    }
    const std::string& shard = item.value().get_ref<const std::string&>();
    const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                       shard.find('/') == std::string::npos &&
                       shard.find('\0') == std::string::npos;
    if (!plain) {
      return InvalidArgument(where, ": expected the name of a file in this folder, found ",
                             Quoted(shard));
    }
    shards.emplace(item.key(), shard);
  }
  return shards;
}

}  // namespace ninfer::frontend
