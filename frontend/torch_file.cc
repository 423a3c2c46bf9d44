// See the header. The formats are those of torch/serialization.py: `_save` and `_legacy_save`.
// Tested by tests/torch_file_test.cc, fuzzed by tests/fuzz/torch_file_fuzz.cc.
#include "frontend/torch_file.h"

#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "base/file.h"
#include "base/status.h"
#include "frontend/json.h"
#include "frontend/pickle.h"
#include "frontend/zip.h"

namespace ninfer::frontend {
namespace {

using Kind = PickleValue::Kind;

constexpr absl::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kLegacyVersion = 1001;
constexpr uint64_t kCountBytes = 8;  // before a storage of a legacy file

struct Storage {
  absl::string_view contents;
  Checksum checksum;
};
using Storages = absl::flat_hash_map<std::string, Storage>;

Checksum ChecksumOf(const ZipEntry& entry) {
  Checksum checksum;
  // Zero is what PyTorch writes when it was told not to compute any.
  if (entry.crc32 != 0) checksum.kind = Checksum::Kind::kCrc32;
  checksum.value = entry.crc32;
  checksum.data = reinterpret_cast<const uint8_t*>(entry.contents.data());
  checksum.bytes = entry.contents.size();
  return checksum;
}

std::vector<int64_t> Integers(const Pickle& pickle, uint32_t tuple) {
  std::vector<int64_t> out;
  for (uint32_t item : pickle.values[tuple].items) out.push_back(pickle.values[item].integer);
  return out;
}

// Whether the elements lie one behind the other; a dimension of one element has any stride.
bool Contiguous(const StoredTensor& tensor) {
  int64_t expected = 1;
  for (size_t d = tensor.shape.size(); d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

// The elements from the first to the last, both included; false when past 2^63.
bool Extent(const StoredTensor& tensor, int64_t* extent) {
  *extent = 1;
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    int64_t step = 0;
    if (__builtin_mul_overflow(tensor.shape[d] - 1, tensor.strides[d], &step)) return false;
    if (__builtin_add_overflow(*extent, step, extent)) return false;
  }
  return true;
}

// The tensor's place in its storage, of `elements` elements.
absl::Status Place(const std::string& where, const Storage& storage, int64_t elements,
                   int64_t offset, StoredTensor& tensor) {
  const int64_t size = DTypeSize(tensor.dtype);
  const auto stored = static_cast<int64_t>(storage.contents.size()) / size;
  if (elements > stored) {
    return InvalidArgument(where, ": expected a storage of ", elements, " elements, found ",
                           storage.contents.size(), " bytes");
  }
  if (!BytesNeeded(tensor.dtype, tensor.shape, &tensor.bytes)) {
    return InvalidArgument(where, ": expected fewer than 2^63 bytes, found shape ",
                           ShapeToString(tensor.shape));
  }
  const auto count = static_cast<int64_t>(tensor.bytes) / size;
  int64_t extent = 0;
  const bool inside = count == 0 || (count <= elements && Extent(tensor, &extent) &&
                                     offset <= elements && extent <= elements - offset);
  if (!inside) {
    return InvalidArgument(where, ": expected elements inside its storage of ", elements,
                           ", found shape ", ShapeToString(tensor.shape), " with strides ",
                           ShapeToString(tensor.strides), " at ", offset);
  }
  if (count == 0 || Contiguous(tensor)) tensor.strides.clear();
  tensor.data = reinterpret_cast<const uint8_t*>(storage.contents.data());
  if (count != 0) tensor.data += offset * size;
  tensor.checksum = storage.checksum;
  return absl::OkStatus();
}

absl::StatusOr<StoredTensor> ReadTensor(absl::string_view file, const Pickle& pickle, uint32_t key,
                                        uint32_t value, const Storages& storages) {
  if (pickle.values[key].kind != Kind::kString) {
    return InvalidArgument(file, ": expected tensors by name, found ",
                           KindName(pickle.values[key].kind), " for a name");
  }
  StoredTensor tensor;
  tensor.name = std::string(pickle.values[key].text);
  tensor.file = std::string(file);
  const PickleValue& built = pickle.values[value];
  const std::string where = absl::StrCat(file, ": tensor ", Quoted(tensor.name));
  if (built.kind != Kind::kTensor) {
    return InvalidArgument(where, ": expected a tensor, found ", KindName(built.kind));
  }
  const PickleValue& stored = pickle.values[built.items[0]];
  tensor.dtype = stored.dtype;
  tensor.shape = Integers(pickle, built.items[1]);
  tensor.strides = Integers(pickle, built.items[2]);
  const auto storage = storages.find(stored.text);
  if (storage == storages.end()) {
    return InvalidArgument(where, ": expected its storage ", Quoted(stored.text),
                           " in the file, found none");
  }
  NINFER_RETURN_IF_ERROR(Place(where, storage->second, stored.integer, built.integer, tensor));
  return tensor;
}

absl::StatusOr<std::vector<StoredTensor>> ReadTensors(absl::string_view file, const Pickle& pickle,
                                                      const Storages& storages) {
  const PickleValue& root = pickle.Root();
  if (root.kind != Kind::kDict) {
    return InvalidArgument(file, ": expected a dictionary of tensors, found ", KindName(root.kind));
  }
  std::vector<StoredTensor> tensors;
  absl::flat_hash_set<std::string> names;
  for (size_t i = 0; i + 1 < root.items.size(); i += 2) {
    NINFER_ASSIGN_OR_RETURN(StoredTensor tensor,
                            ReadTensor(file, pickle, root.items[i], root.items[i + 1], storages));
    if (!names.insert(tensor.name).second) {
      return InvalidArgument(file, ": expected each tensor once, found ", Quoted(tensor.name),
                             " twice");
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

absl::StatusOr<std::vector<StoredTensor>> ParseZipFile(absl::string_view file,
                                                       absl::string_view contents) {
  NINFER_ASSIGN_OR_RETURN(const std::vector<ZipEntry> entries, ParseZip(file, contents));
  constexpr absl::string_view kPickle = "data.pkl";
  const ZipEntry* data = nullptr;
  for (const ZipEntry& entry : entries) {
    if (entry.name == kPickle || absl::EndsWith(entry.name, "/data.pkl")) data = &entry;
  }
  if (data == nullptr) {
    return InvalidArgument(file, ": expected PyTorch's data.pkl in the zip file, found none");
  }
  const absl::string_view folder = data->name.substr(0, data->name.size() - kPickle.size());
  Storages storages;
  for (const ZipEntry& entry : entries) {
    absl::string_view name = entry.name;
    if (!absl::StartsWith(name, folder)) continue;
    name.remove_prefix(folder.size());
    if (name == "byteorder" && entry.contents != "little") {
      return InvalidArgument(file, ": byteorder: expected \"little\", found ",
                             Quoted(entry.contents));
    }
    if (!absl::StartsWith(name, "data/")) continue;
    storages[name.substr(5)] = Storage{entry.contents, ChecksumOf(entry)};
  }
  const std::string where = absl::StrCat(file, ": ", data->name);
  NINFER_RETURN_IF_ERROR(Verify(where, ChecksumOf(*data)));
  NINFER_ASSIGN_OR_RETURN(const Pickle pickle, ParsePickle(where, data->contents));
  return ReadTensors(file, pickle, storages);
}

absl::Status CheckSystem(absl::string_view file, const Pickle& pickle) {
  const PickleValue& info = pickle.Root();
  for (size_t i = 0; info.kind == Kind::kDict && i + 1 < info.items.size(); i += 2) {
    const PickleValue& key = pickle.values[info.items[i]];
    const PickleValue& value = pickle.values[info.items[i + 1]];
    if (key.kind != Kind::kString || key.text != "little_endian") continue;
    if (value.kind == Kind::kBool && value.integer == 1) return absl::OkStatus();
  }
  return InvalidArgument(file, ": little_endian: expected True, found another value");
}

// The pickles one behind the other: magic number, version, system, the dictionary, the storages'
// keys; then each storage as a count of elements and the elements.
class LegacyReader {
 public:
  LegacyReader(absl::string_view file, absl::string_view contents)
      : file_(file), contents_(contents) {}

  absl::StatusOr<std::vector<StoredTensor>> Read() {
    NINFER_ASSIGN_OR_RETURN(const Pickle magic, Next("magic number"));
    if (magic.Root().kind != Kind::kBigInt || magic.Root().text != kLegacyMagic) {
      return InvalidArgument(file_, ": expected a file of torch.save, found another pickle");
    }
    NINFER_ASSIGN_OR_RETURN(const Pickle version, Next("version"));
    if (version.Root().kind != Kind::kInt || version.Root().integer != kLegacyVersion) {
      return InvalidArgument(file_, ": expected version ", kLegacyVersion, " of torch.save, found ",
                             version.Root().kind == Kind::kInt
                                 ? absl::StrCat(version.Root().integer)
                                 : std::string(KindName(version.Root().kind)));
    }
    NINFER_ASSIGN_OR_RETURN(const Pickle system, Next("system"));
    NINFER_RETURN_IF_ERROR(CheckSystem(file_, system));
    NINFER_ASSIGN_OR_RETURN(const Pickle pickle, Next("tensors"));
    NINFER_ASSIGN_OR_RETURN(const Pickle keys, Next("storages"));
    NINFER_ASSIGN_OR_RETURN(const Storages storages, ReadStorages(pickle, keys));
    return ReadTensors(file_, pickle, storages);
  }

 private:
  absl::StatusOr<Pickle> Next(absl::string_view what) {
    NINFER_ASSIGN_OR_RETURN(Pickle pickle,
                            ParsePickle(absl::StrCat(file_, ": ", what), contents_.substr(at_)));
    at_ += pickle.bytes;
    return pickle;
  }

  absl::StatusOr<Storages> ReadStorages(const Pickle& pickle, const Pickle& keys) {
    absl::flat_hash_map<absl::string_view, DType> dtypes;
    for (const PickleValue& value : pickle.values) {
      if (value.kind == Kind::kStorage) dtypes[value.text] = value.dtype;
    }
    Storages storages;
    for (uint32_t item : keys.Root().items) {
      const PickleValue& key = keys.values[item];
      const auto dtype = dtypes.find(key.text);
      if (keys.Root().kind != Kind::kList || key.kind != Kind::kString || dtype == dtypes.end()) {
        return InvalidArgument(file_, ": expected a list of the keys of storages, found another");
      }
      const std::string where = absl::StrCat(file_, ": storage ", Quoted(key.text));
      uint64_t count = 0;
      if (!InBounds(at_, kCountBytes, contents_.size())) {
        return InvalidArgument(where, ": expected its number of elements, found the file's end");
      }
      std::memcpy(&count, contents_.data() + at_, kCountBytes);
      at_ += kCountBytes;
      const uint64_t left = contents_.size() - at_;
      const auto size = static_cast<uint64_t>(DTypeSize(dtype->second));
      if (count > left / size) {
        return InvalidArgument(where, ": expected ", count, " elements, found ", left, " bytes");
      }
      storages[key.text] = Storage{contents_.substr(at_, count * size), Checksum()};
      at_ += count * size;
    }
    return storages;
  }

  absl::string_view file_, contents_;
  uint64_t at_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<StoredTensor>> ParseTorchFile(absl::string_view file,
                                                         absl::string_view contents) {
  if (LooksLikeZip(contents)) return ParseZipFile(file, contents);
  return LegacyReader(file, contents).Read();
}

}  // namespace ninfer::frontend
