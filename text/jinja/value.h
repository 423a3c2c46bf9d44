// The values of a template: what Python has for them, no more.
//
// A value is a number or points to an object of its rendering's arena, which frees all of them at
// the end: cycles leak nothing, and no destructor recurses.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_VALUE_H_
#define NINFER_TEXT_JINJA_VALUE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace ninfer {
namespace jinja {

struct Node;
struct Scope;
class Run;

using Int = __int128;  // Python's integers, up to here; what is larger is an error

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kSeq,
  kDict,
  kNamespace,
  kFunction,
  kLoop,
  kHelper  // a cycler or a joiner
};

struct Object {
  virtual ~Object() = default;
};

struct Str : Object {
  std::string text;     // UTF-8
  bool ascii = true;    // then a character is a byte
  bool markup = false;  // what the filters `safe` and `escape` give
};

struct Undefined : Object {
  std::string message;    // of the error where it is used
  bool security = false;  // an unsafe attribute
};

struct Seq;
struct Dict;
struct Namespace;
struct Function;
struct Loop;
struct Helper;

struct Value {
  Kind kind = Kind::kUndefined;
  union {
    bool boolean;
    Int integer;
    double number;
    const Undefined* undefined;  // or null
    const Str* string;
    Seq* seq;
    Dict* dict;
    Namespace* ns;
    const Function* function;
    Loop* loop;
    Helper* helper;
  };

  Value() : undefined(nullptr) {}
  static Value None() { return Of(Kind::kNone); }
  static Value Bool(bool value) {
    Value made = Of(Kind::kBool);
    made.boolean = value;
    return made;
  }
  static Value Integer(Int value) {
    Value made = Of(Kind::kInt);
    made.integer = value;
    return made;
  }
  static Value Number(double value) {
    Value made = Of(Kind::kFloat);
    made.number = value;
    return made;
  }

  bool is(Kind k) const { return kind == k; }
  bool is_undefined() const { return kind == Kind::kUndefined; }
  bool is_none() const { return kind == Kind::kNone; }
  bool is_string() const { return kind == Kind::kString; }
  // Python's bool is an int.
  bool is_int() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool is_number() const { return is_int() || kind == Kind::kFloat; }
  Int as_int() const { return kind == Kind::kBool ? Int{boolean} : integer; }
  double as_double() const { return kind == Kind::kFloat ? number : static_cast<double>(as_int()); }
  const std::string& text() const { return string->text; }

 private:
  static Value Of(Kind k) {
    Value made;
    made.kind = k;
    return made;
  }
};

enum class Flavour : uint8_t {
  kList,
  kTuple,
  kRange,
  kDictKeys,
  kDictValues,
  kDictItems,
  kGenerator,  // of map, select and their like: seen once, without a length
  kIterator    // of reverse: as a generator
};

struct Seq : Object {
  Flavour flavour = Flavour::kList;
  bool group = false;  // a tuple of the filter `groupby`, whose parts have names
  std::vector<Value> items;
  Int range[3] = {0, 0, 1};  // of a range: start, stop, step
  bool one_pass() const { return flavour == Flavour::kGenerator || flavour == Flavour::kIterator; }
  bool indexable() const { return flavour <= Flavour::kRange; }
};

// Keeps the order of insertion. Keys are strings, numbers, None, or tuples of them.
struct Dict : Object {
  std::vector<std::pair<Value, Value>> entries;
  absl::flat_hash_map<std::string, size_t> index;  // by the key's encoding

  // Null where there is none. False of `Set`: the key cannot be hashed.
  const Value* Find(const Value& key) const;
  const Value* Find(absl::string_view key) const;
  bool Set(const Value& key, const Value& value);
};

struct Namespace : Object {
  Dict attributes;
};

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

using Native = Value (*)(Run& run, const Value& self, Args& args);

struct Function : Object {
  std::string name;
  Native native = nullptr;  // else `node`, a macro or the body of a call block
  Value self;
  const Node* node = nullptr;
  Scope* scope = nullptr;  // where the macro stands
};

struct Loop : Object {
  std::vector<Value> source;  // before the loop's filter
  size_t taken = 0;           // of `source`
  std::vector<Value> items;   // those that passed, so far
  size_t index = 0;
  int depth = 1;
  const Node* node = nullptr;
  Scope* scope = nullptr;  // around the loop
  bool changed_before = false;
  std::vector<Value> changed;
};

struct Helper : Object {
  bool joiner = false;  // else a cycler
  std::vector<Value> items;
  size_t position = 0;
};

// The bytes that two equal keys share (1, 1.0 and True are equal); false where there are none.
bool EncodeKey(const Value& key, std::string* out, int depth = 0);

// Python's name of the type: "str", "NoneType".
absl::string_view TypeName(const Value& value);
bool Truthy(const Value& value);

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_VALUE_H_
