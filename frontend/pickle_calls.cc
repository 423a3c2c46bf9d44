// See the header. The calls are those of torch/_utils.py and torch/serialization.py.
// Tested by tests/torch_file_test.cc, fuzzed by tests/fuzz/torch_file_fuzz.cc.
#include "frontend/pickle_calls.h"

#include "base/status.h"
#include "frontend/json.h"

namespace ninfer::frontend {
namespace {

using Kind = PickleValue::Kind;
using Values = std::vector<PickleValue>;

constexpr size_t kMaxRank = 64;       // PyTorch's own limit
constexpr size_t kMaxArguments = 16;  // of a call

enum GlobalRow : int64_t { kOrderedDict, kTensorV2, kTensorV1, kParameter, kFirstStorage };

constexpr struct {
  absl::string_view module, name;
  DType dtype;  // of storages
} kGlobals[] = {
    {"collections", "OrderedDict", DType::kF32},
    {"torch._utils", "_rebuild_tensor_v2", DType::kF32},
    {"torch._utils", "_rebuild_tensor", DType::kF32},
    {"torch._utils", "_rebuild_parameter", DType::kF32},
    {"torch", "FloatStorage", DType::kF32},
    {"torch", "HalfStorage", DType::kF16},
    {"torch", "BFloat16Storage", DType::kBF16},
    {"torch", "DoubleStorage", DType::kF64},
    {"torch", "LongStorage", DType::kI64},
    {"torch", "IntStorage", DType::kI32},
    {"torch", "CharStorage", DType::kI8},
    {"torch", "ByteStorage", DType::kU8},
    {"torch", "BoolStorage", DType::kBool},
};

bool Is(const Values& values, const std::vector<uint32_t>& items, size_t i, Kind kind) {
  return i < items.size() && values[items[i]].kind == kind;
}

bool AreSizes(const Values& values, const std::vector<uint32_t>& items, size_t i) {
  if (!Is(values, items, i, Kind::kTuple) || values[items[i]].items.size() > kMaxRank) return false;
  for (uint32_t item : values[items[i]].items) {
    if (values[item].kind != Kind::kInt || values[item].integer < 0) return false;
  }
  return true;
}

// (storage, offset, shape, strides, ...): what follows is about gradients.
absl::StatusOr<PickleValue> MakeTensor(const Values& values, const std::vector<uint32_t>& args) {
  const bool known = Is(values, args, 0, Kind::kStorage) && Is(values, args, 1, Kind::kInt) &&
                     values[args[1]].integer >= 0 && AreSizes(values, args, 2) &&
                     AreSizes(values, args, 3) &&
                     values[args[2]].items.size() == values[args[3]].items.size();
  if (!known) {
    return Unexpected("a tensor's storage, offset, shape and strides", "other arguments");
  }
  PickleValue tensor;
  tensor.kind = Kind::kTensor;
  tensor.integer = values[args[1]].integer;
  tensor.items = {args[0], args[2], args[3]};
  return tensor;
}

// No arguments, or one list of pairs.
absl::StatusOr<PickleValue> MakeDict(const Values& values, const std::vector<uint32_t>& args,
                                     size_t* copied) {
  PickleValue dict;
  dict.kind = Kind::kDict;
  if (args.empty()) return dict;
  if (args.size() != 1 || !Is(values, args, 0, Kind::kList)) {
    return Unexpected("a dictionary of a list of pairs", "other arguments");
  }
  const std::vector<uint32_t>& pairs = values[args[0]].items;
  *copied += pairs.size();
  if (*copied > kMaxPickleValues) {
    return Unexpected(absl::StrCat("at most ", kMaxPickleValues, " pairs"), "more");
  }
  for (uint32_t number : pairs) {
    const PickleValue& pair = values[number];
    if ((pair.kind != Kind::kList && pair.kind != Kind::kTuple) || pair.items.size() != 2) {
      return Unexpected("pairs of a dictionary", KindName(pair.kind));
    }
    dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
  }
  return dict;
}

}  // namespace

absl::Status Unexpected(absl::string_view expected, absl::string_view found) {
  return InvalidArgument("expected ", expected, ", found ", found);
}

absl::StatusOr<PickleValue> FindPickleGlobal(absl::string_view module, absl::string_view name) {
  for (size_t row = 0; row < std::size(kGlobals); ++row) {
    if (kGlobals[row].module != module || kGlobals[row].name != name) continue;
    PickleValue global;
    global.kind = Kind::kGlobal;
    global.integer = static_cast<int64_t>(row);
    return global;
  }
  return Unexpected("only what tensors are made of",
                    absl::StrCat("the global ", Quoted(absl::StrCat(module, ".", name))));
}

absl::StatusOr<PickleValue> LoadPickleStorage(const Values& values, uint32_t id) {
  const std::vector<uint32_t>& items = values[id].items;
  const bool size = items.size() == 5 || (items.size() == 6 && Is(values, items, 5, Kind::kNone));
  const bool known =
      values[id].kind == Kind::kTuple && size && Is(values, items, 0, Kind::kString) &&
      values[items[0]].text == "storage" && Is(values, items, 1, Kind::kGlobal) &&
      values[items[1]].integer >= kFirstStorage && Is(values, items, 2, Kind::kString) &&
      Is(values, items, 4, Kind::kInt) && values[items[4]].integer >= 0;
  if (!known) return Unexpected("a storage outside the pickle", "another kind of reference");
  PickleValue storage;
  storage.kind = Kind::kStorage;
  storage.dtype = kGlobals[values[items[1]].integer].dtype;
  storage.text = values[items[2]].text;
  storage.integer = values[items[4]].integer;
  return storage;
}

absl::StatusOr<PickleValue> CallPickleGlobal(const Values& values, uint32_t function,
                                             uint32_t arguments, size_t* copied) {
  const PickleValue& called = values[function];
  if (called.kind != Kind::kGlobal || values[arguments].kind != Kind::kTuple) {
    return Unexpected("a call of a global", absl::StrCat("a call of ", KindName(called.kind)));
  }
  const std::vector<uint32_t>& args = values[arguments].items;
  if (args.size() > kMaxArguments) {
    return Unexpected(absl::StrCat("at most ", kMaxArguments, " arguments"),
                      absl::StrCat(args.size()));
  }
  switch (called.integer) {
    case kOrderedDict:
      return MakeDict(values, args, copied);
    case kTensorV2:
    case kTensorV1:
      return MakeTensor(values, args);
    case kParameter:  // (tensor, requires_grad, hooks)
      if (Is(values, args, 0, Kind::kTensor)) return values[args[0]];
      return Unexpected("a tensor for a parameter", "other arguments");
    default:
      return Unexpected("a call of what makes tensors",
                        absl::StrCat("a call of ", kGlobals[called.integer].module, ".",
                                     kGlobals[called.integer].name));
  }
}

absl::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a truth value";
    case Kind::kInt:
    case Kind::kBigInt:
      return "an integer";
    case Kind::kFloat:
      return "a number";
    case Kind::kString:
      return "a string";
    case Kind::kBytes:
      return "bytes";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kList:
      return "a list";
    case Kind::kDict:
      return "a dictionary";
    case Kind::kGlobal:
      return "a global";
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
  }
  return "nothing";
}

}  // namespace ninfer::frontend
