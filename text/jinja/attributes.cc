#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

// Methods of lists and tuples.
Value SeqIndex(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "index", args, {"value"}, 1);
  for (size_t i = 0; i < self.seq->items.size() && !run.failed(); ++i) {
    if (Equal(run, self.seq->items[i], bound[0])) return Value::Integer(i);
  }
  return run.Fail(kValueError, Repr(run, bound[0]), " is not in list");
}

Value SeqCount(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "count", args, {"value"}, 1);
  Int count = 0;
  for (size_t i = 0; i < self.seq->items.size() && !run.failed(); ++i) {
    count += Equal(run, self.seq->items[i], bound[0]);
  }
  return Value::Integer(count);
}

Value SeqCopy(Run& run, const Value& self, Args& args) {
  Bound(run, "copy", args, {});
  return run.List(self.seq->items);
}

// Methods of dicts.
Value DictGet(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "get", args, {"key", "default"}, 1);
  std::string encoded;
  if (!EncodeKey(bound[0], &encoded)) {
    return run.Fail(kTypeError, "unhashable type: '", TypeName(bound[0]), "'");
  }
  const Value* found = self.dict->Find(bound[0]);
  return found != nullptr ? *found : bound.has(1) ? bound[1] : Value::None();
}

Value DictView(Run& run, const Value& self, Flavour flavour) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict->entries) {
    if (run.failed()) break;
    items.push_back(flavour == Flavour::kDictKeys     ? key
                    : flavour == Flavour::kDictValues ? value
                                                      : run.List({key, value}, Flavour::kTuple));
  }
  return run.List(std::move(items), flavour);
}
Value DictKeys(Run& run, const Value& self, Args& args) {
  Bound(run, "keys", args, {});
  return DictView(run, self, Flavour::kDictKeys);
}
Value DictValues(Run& run, const Value& self, Args& args) {
  Bound(run, "values", args, {});
  return DictView(run, self, Flavour::kDictValues);
}
Value DictItems(Run& run, const Value& self, Args& args) {
  Bound(run, "items", args, {});
  return DictView(run, self, Flavour::kDictItems);
}
Value DictCopy(Run& run, const Value& self, Args& args) {
  Bound(run, "copy", args, {});
  const Value copy = run.EmptyDict();
  for (const auto& [key, value] : self.dict->entries) {
    if (!run.Charge(4 * sizeof(Value))) break;
    copy.dict->Set(key, value);
  }
  return copy;
}

Value IsWhole(Run& run, const Value& self, Args& args) {
  Bound(run, "is_integer", args, {});
  return Value::Bool(self.is_int() ||
                     (std::isfinite(self.number) && self.number == std::floor(self.number)));
}

// Methods of loops.
Value LoopCycle(Run& run, const Value& self, Args& args) {
  if (args.positional.empty()) return run.Fail(kTypeError, "no items for cycling given");
  return args.positional[self.loop->index % args.positional.size()];
}
Value LoopChanged(Run& run, const Value& self, Args& args) {
  Loop* loop = self.loop;
  bool same = loop->changed_before && loop->changed.size() == args.positional.size();
  for (size_t i = 0; same && i < args.positional.size(); ++i) {
    same = Equal(run, loop->changed[i], args.positional[i]);
  }
  loop->changed_before = true;
  loop->changed = args.positional;
  return Value::Bool(!same);
}

Value CyclerNext(Run& run, const Value& self, Args& args) {
  Helper* helper = self.helper;
  const Value item = helper->items[helper->position];
  helper->position = (helper->position + 1) % helper->items.size();
  return item;
}
Value CyclerReset(Run& run, const Value& self, Args& args) {
  self.helper->position = 0;
  return Value::None();
}

Value FromKeys(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "fromkeys", args, {"iterable", "value"}, 1);
  const Value dict = run.EmptyDict();
  std::vector<Value> keys;
  Iterate(run, bound[0], &keys);
  for (const Value& key : keys) {
    if (!run.Charge(4 * sizeof(Value))) break;
    if (!dict.dict->Set(key, bound.has(1) ? bound[1] : Value::None())) {
      run.Fail(kTypeError, "unhashable type: '", TypeName(key), "'");
    }
  }
  return dict;
}

constexpr Builtin kSeqMethods[] = {{"count", SeqCount}, {"index", SeqIndex}};
constexpr Builtin kDictMethods[] = {{"copy", DictCopy}, {"fromkeys", FromKeys},
                                    {"get", DictGet},   {"items", DictItems},
                                    {"keys", DictKeys}, {"values", DictValues}};

// What the sandbox refuses: methods that change their object, and what every object of Python has.
constexpr absl::string_view kListChanges[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
constexpr absl::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr absl::string_view kObjectNames[] = {
    "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
    "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
    "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
    "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
    "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};

template <size_t n>
bool Has(const absl::string_view (&names)[n], absl::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Value Unsafe(Run& run, const Value& object, absl::string_view name) {
  return run.UndefinedValue(absl::StrCat("access to attribute ", ReprString(name), " of ",
                                         ReprString(TypeName(object)), " object is unsafe."),
                            true);
}

Value LoopAttribute(Run& run, const Value& object, absl::string_view name, bool* found) {
  Loop* loop = object.loop;
  const auto index = static_cast<Int>(loop->index);
  if (name == "index") return Value::Integer(index + 1);
  if (name == "index0") return Value::Integer(index);
  if (name == "first") return Value::Bool(index == 0);
  if (name == "last") return Value::Bool(!LoopHasNext(run, loop));
  if (name == "length") return Value::Integer(LoopLength(run, loop));
  if (name == "revindex") return Value::Integer(static_cast<Int>(LoopLength(run, loop)) - index);
  if (name == "revindex0") {
    return Value::Integer(static_cast<Int>(LoopLength(run, loop)) - index - 1);
  }
  if (name == "depth") return Value::Integer(loop->depth);
  if (name == "depth0") return Value::Integer(loop->depth - 1);
  if (name == "cycle") return run.Method(name, LoopCycle, object);
  if (name == "changed") return run.Method(name, LoopChanged, object);
  if (name == "previtem") {
    return index > 0 ? loop->items[loop->index - 1]
                     : run.UndefinedValue("there is no previous item");
  }
  if (name == "nextitem") {
    return LoopHasNext(run, loop) ? loop->items[loop->index + 1]
                                  : run.UndefinedValue("there is no next item");
  }
  *found = false;
  return Value();
}

// Python's getattr; `found` says whether there is such an attribute.
Value Attribute(Run& run, const Value& object, absl::string_view name, bool* found) {
  *found = true;
  if (object.is(Kind::kNamespace)) {
    if (const Value* value = object.ns->attributes.Find(name)) return *value;
    if (name == "__class__") return Unsafe(run, object, name);
    *found = false;
    return Value();
  }
  if (Has(kObjectNames, name)) return Unsafe(run, object, name);
  Native native = nullptr;
  switch (object.kind) {
    case Kind::kString:
      native = FindStringMethod(name);
      break;
    case Kind::kSeq: {
      const Seq& seq = *object.seq;
      const bool list = seq.flavour == Flavour::kList;
      if (list && Has(kListChanges, name)) return Unsafe(run, object, name);
      if (list && name == "copy") native = SeqCopy;
      if (seq.indexable() && native == nullptr) {
        native = FindIn(name, std::begin(kSeqMethods), std::end(kSeqMethods));
      }
      if (seq.group && name == "grouper") return seq.items[0];
      if (seq.group && name == "list") return seq.items[1];
      if (seq.flavour == Flavour::kRange) {
        if (name == "start") return Value::Integer(seq.range[0]);
        if (name == "stop") return Value::Integer(seq.range[1]);
        if (name == "step") return Value::Integer(seq.range[2]);
      }
      break;
    }
    case Kind::kDict:
      if (Has(kDictChanges, name)) return Unsafe(run, object, name);
      native = FindIn(name, std::begin(kDictMethods), std::end(kDictMethods));
      break;
    case Kind::kLoop:
      return LoopAttribute(run, object, name, found);
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      if (name == "is_integer") native = IsWhole;
      if (name == "real" || (name == "numerator" && object.is_int())) return object;
      if (name == "denominator" && object.is_int()) return Value::Integer(1);
      if (name == "imag") return object.is_int() ? Value::Integer(0) : Value::Number(0);
      break;
    case Kind::kHelper:
      if (object.helper->joiner) break;
      if (name == "next") native = CyclerNext;
      if (name == "reset") native = CyclerReset;
      if (name == "current") return object.helper->items[object.helper->position];
      break;
    case Kind::kFunction:
      if (object.function->node != nullptr && name == "name") {
        return run.String(object.function->name);
      }
      if (object.function->node == nullptr && object.function->name == "dict" &&
          name == "fromkeys") {
        native = FromKeys;
      }
      break;
    default:
      break;
  }
  if (native != nullptr) return run.Method(name, native, object);
  *found = false;
  return Value();
}

std::string ObjectName(const Value& object) {
  if (object.is_none()) return "None";
  switch (object.kind) {
    case Kind::kNamespace:
      return "transformers.utils.chat_template_utils.TemplateNamespace object";
    case Kind::kLoop:
      return "jinja2.runtime.LoopContext object";
    case Kind::kHelper:
      return absl::StrCat("jinja2.utils.", TypeName(object), " object");
    case Kind::kFunction:
      if (object.function->node != nullptr) return "jinja2.runtime.Macro object";
      [[fallthrough]];
    default:
      return absl::StrCat(TypeName(object), " object");
  }
}

Value Missing(Run& run, const Value& object, const Value& name) {
  const std::string type = ObjectName(object);
  if (name.is_string()) {
    return run.UndefinedValue(
        absl::StrCat(ReprString(type), " has no attribute ", ReprString(name.text())));
  }
  return run.UndefinedValue(absl::StrCat(type, " has no element ", Repr(run, name)));
}

// Python's object[index] where the object has one.
const Value* Item(const Value& object, const Value& index) {
  if (object.is(Kind::kDict)) return object.dict->Find(index);
  if (!object.is(Kind::kSeq) || !object.seq->indexable() || !index.is_int()) return nullptr;
  const auto size = static_cast<Int>(object.seq->items.size());
  Int at = index.as_int();
  if (at < 0) at += size;
  return at >= 0 && at < size ? &object.seq->items[static_cast<size_t>(at)] : nullptr;
}

// The bounds of a slice of `size` items, as Python clips them.
bool SliceBound(Run& run, const Value& value, Int fallback, Int low, Int high, Int size, Int* out) {
  if (value.is_none()) {
    *out = fallback;
    return true;
  }
  if (!value.is_int()) {
    run.Fail(kTypeError, "slice indices must be integers or None or have an __index__ method");
    return false;
  }
  Int at = value.as_int();
  if (at < 0) at += size;
  *out = std::clamp(at, low, high);
  return true;
}

}  // namespace

Value GetAttr(Run& run, const Value& object, absl::string_view name) {
  if (object.is_undefined()) return run.FailUndefined(object);
  bool found = false;
  const Value value = Attribute(run, object, name, &found);
  if (found) return value;
  if (object.is(Kind::kDict)) {
    if (const Value* item = object.dict->Find(name)) return *item;
  }
  return run.UndefinedValue(
      absl::StrCat(ReprString(ObjectName(object)), " has no attribute ", ReprString(name)));
}

Value GetAttributeOnly(Run& run, const Value& object, absl::string_view name) {
  if (object.is_undefined()) return run.FailUndefined(object);
  bool found = false;
  const Value value = Attribute(run, object, name, &found);
  return found ? value : Missing(run, object, run.String(std::string(name)));
}

void SetAttribute(Run& run, Namespace* ns, const Value& name, const Value& value) {
  if (absl::StartsWith(name.text(), "_")) {
    run.Fail(kSecurityError,
             "Chat templates cannot store underscore-prefixed attributes on a namespace, but got ",
             ReprString(name.text()), ". Please rename the attribute.");
    return;
  }
  ns->attributes.Set(name, value);
}

Value GetItem(Run& run, const Value& object, const Value& index) {
  if (object.is_undefined()) return run.FailUndefined(object);
  if (const Value* item = Item(object, index)) return *item;
  if (object.is_string() && index.is_int()) {
    run.StepBytes(object.text().size());
    const std::string& text = object.text();
    const Int size = object.string->ascii ? text.size() : CharCount(text);
    Int at = index.as_int();
    if (at < 0) at += size;
    if (at >= 0 && at < size) {
      const size_t begin = object.string->ascii ? static_cast<size_t>(at)
                                                : ByteOfChar(text, static_cast<size_t>(at));
      return run.String(text.substr(begin, ByteOfChar(text.substr(begin), 1)));
    }
  }
  if (index.is_string()) {
    bool found = false;
    const Value value = Attribute(run, object, index.text(), &found);
    if (found) return value;
  }
  return Missing(run, object, index);
}

Value GetSlice(Run& run, const Value& object, const Value& start, const Value& stop,
               const Value& step) {
  if (object.is_undefined()) return run.FailUndefined(object);
  const bool sequence = object.is(Kind::kSeq) && object.seq->indexable();
  if (!object.is_string() && !sequence) {
    return run.Fail(kTypeError, "'", TypeName(object), "' object is not subscriptable");
  }
  std::vector<absl::string_view> characters;
  if (object.is_string()) {
    if (!run.Step(1 + static_cast<int64_t>(object.text().size() / 8))) return Value();
    characters = Characters(object.text());
  }
  const Int size = object.is_string() ? characters.size() : object.seq->items.size();
  Int stride = 1;
  if (!step.is_none()) {
    if (!step.is_int()) {
      return run.Fail(kTypeError, "slice indices must be integers or None");
    }
    stride = step.as_int();
    if (stride == 0) return run.Fail(kValueError, "slice step cannot be zero");
  }
  Int from = 0;
  Int to = 0;
  const bool up = stride > 0;
  const Int low = up ? 0 : -1;
  const Int high = up ? size : size - 1;
  if (!SliceBound(run, start, up ? 0 : size - 1, low, high, size, &from) ||
      !SliceBound(run, stop, up ? size : -1, low, high, size, &to)) {
    return Value();
  }
  // A stride beyond the size takes one item, whatever it is.
  stride = std::clamp(stride, -size - 1, size + 1);
  std::string text;
  std::vector<Value> items;
  for (Int i = from; up ? i < to : i > to; i += stride) {
    if (object.is_string()) {
      absl::StrAppend(&text, characters[static_cast<size_t>(i)]);
    } else {
      items.push_back(object.seq->items[static_cast<size_t>(i)]);
    }
  }
  if (object.is_string()) return run.String(std::move(text), object.string->markup);
  return run.List(std::move(items),
                  object.seq->flavour == Flavour::kTuple ? Flavour::kTuple : Flavour::kList);
}

Value GetPath(Run& run, Value object, const Value& path) {
  if (path.is_none()) return object;
  if (!path.is_string()) return GetItem(run, object, path);
  for (const absl::string_view part : absl::StrSplit(path.text(), '.')) {
    if (run.failed()) break;
    const auto number = AllOf(part, CharClass::kDigit) ? ParseInt(part, 10) : absl::nullopt;
    object = GetItem(run, object,
                     number.has_value() ? Value::Integer(*number) : run.String(std::string(part)));
  }
  return object;
}

bool Iterate(Run& run, const Value& value, std::vector<Value>* items) {
  items->clear();
  switch (value.kind) {
    case Kind::kUndefined:
      break;
    case Kind::kSeq:
      *items = value.seq->items;
      if (value.seq->one_pass()) value.seq->items.clear();
      break;
    case Kind::kDict:
      for (const auto& [key, unused] : value.dict->entries) items->push_back(key);
      break;
    case Kind::kString:
      for (const absl::string_view c : Characters(value.text())) {
        if (run.failed()) break;
        items->push_back(run.String(std::string(c)));
      }
      break;
    default:
      run.Fail(kTypeError, "'", TypeName(value), "' object is not iterable");
  }
  run.Charge(items->size() * sizeof(Value));
  return run.Step(1 + static_cast<int64_t>(items->size() / 4));
}

Int Length(Run& run, const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      run.StepBytes(value.text().size());
      return value.string->ascii ? value.text().size() : CharCount(value.text());
    case Kind::kDict:
      return value.dict->entries.size();
    case Kind::kLoop:
      return LoopLength(run, value.loop);
    case Kind::kSeq:
      if (!value.seq->one_pass()) return value.seq->items.size();
      [[fallthrough]];
    default:
      run.Fail(kTypeError, "object of type '", TypeName(value), "' has no len()");
      return 0;
  }
}

}  // namespace jinja
}  // namespace ninfer
