// A reader of Python pickles (protocols 2 to 5) that can build what PyTorch's state dictionaries
// are made of, and nothing else: numbers, strings, tuples, lists, dictionaries, and tensors over
// named storages. It runs no code: a pickle's globals are looked up in a table of a few names, any
// other is refused by name, and so is every opcode that would make an object.
//
// Values lie in one table and refer to each other by number, so that a pickle's cycles and depth
// cost nothing. Tested by tests/torch_file_test.cc, fuzzed by tests/fuzz/torch_file_fuzz.cc.
#ifndef NINFER_FRONTEND_PICKLE_H_
#define NINFER_FRONTEND_PICKLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace ninfer::frontend {

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,     // integer
    kInt,      // integer
    kBigInt,   // text: little-endian bytes, two's complement
    kFloat,    // not kept
    kString,   // text
    kBytes,    // text
    kTuple,    // items
    kList,     // items
    kDict,     // items: key, value, key, value
    kGlobal,   // integer: a row of the table of globals
    kStorage,  // dtype; text: its key; integer: its number of elements
    kTensor,   // integer: the first element; items: the storage, the shape and the strides
  };
  Kind kind = Kind::kNone;
  DType dtype = DType::kF32;
  int64_t integer = 0;
  absl::string_view text;       // points into the pickle
  std::vector<uint32_t> items;  // numbers of values
};

// "a tuple", "a tensor", for messages.
absl::string_view KindName(PickleValue::Kind kind);

struct Pickle {
  std::vector<PickleValue> values;
  uint32_t root = 0;
  uint64_t bytes = 0;  // of the pickle, to its STOP

  const PickleValue& Root() const { return values[root]; }
};

// Reads the pickle at the beginning of `text`; what follows its end is left alone. `where` names it
// in errors.
absl::StatusOr<Pickle> ParsePickle(absl::string_view where, absl::string_view text);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_PICKLE_H_
