#include "text/jinja/value.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace ninfer {
namespace jinja {
namespace {

constexpr int kKeyDepth = 20;

void AppendRaw(const void* data, size_t size, std::string* out) {
  out->append(static_cast<const char*>(data), size);
}

}  // namespace

bool EncodeKey(const Value& key, std::string* out, int depth) {
  switch (key.kind) {
    case Kind::kNone:
      out->push_back('n');
      return true;
    case Kind::kFloat:
      if (key.number != std::floor(key.number) || std::fabs(key.number) > 1e18) {
        out->push_back('f');
        AppendRaw(&key.number, sizeof(key.number), out);
        return true;
      }
      [[fallthrough]];
    case Kind::kBool:
    case Kind::kInt: {
      const Int value = key.is(Kind::kFloat) ? static_cast<Int>(key.number) : key.as_int();
      out->push_back('i');
      AppendRaw(&value, sizeof(value), out);
      return true;
    }
    case Kind::kString:
      absl::StrAppend(out, "s", key.text().size(), ":", key.text());
      return true;
    case Kind::kSeq:
      if (key.seq->flavour != Flavour::kTuple || depth > kKeyDepth) return false;
      absl::StrAppend(out, "t", key.seq->items.size(), ":");
      for (const Value& item : key.seq->items) {
        if (!EncodeKey(item, out, depth + 1)) return false;
      }
      return true;
    case Kind::kUndefined:
      out->push_back('u');
      return true;
    default:
      return false;
  }
}

const Value* Dict::Find(const Value& key) const {
  std::string encoded;
  if (!EncodeKey(key, &encoded)) return nullptr;
  const auto found = index.find(encoded);
  return found == index.end() ? nullptr : &entries[found->second].second;
}

const Value* Dict::Find(absl::string_view key) const {
  const auto found = index.find(absl::StrCat("s", key.size(), ":", key));
  return found == index.end() ? nullptr : &entries[found->second].second;
}

bool Dict::Set(const Value& key, const Value& value) {
  std::string encoded;
  if (!EncodeKey(key, &encoded)) return false;
  const auto [place, fresh] = index.try_emplace(std::move(encoded), entries.size());
  if (fresh) {
    entries.emplace_back(key, value);
  } else {
    entries[place->second].second = value;
  }
  return true;
}

absl::string_view TypeName(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.string->markup ? "Markup" : "str";
    case Kind::kSeq: {
      static constexpr absl::string_view kNames[] = {
          "list",        "tuple",      "range",     "dict_keys",
          "dict_values", "dict_items", "generator", "list_reverseiterator"};
      return kNames[static_cast<int>(value.seq->flavour)];
    }
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "TemplateNamespace";
    case Kind::kFunction:
      return value.function->native == nullptr     ? "Macro"
             : value.function->self.is_undefined() ? "function"
                                                   : "builtin_function_or_method";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kHelper:
      return value.helper->joiner ? "Joiner" : "Cycler";
  }
  return "object";
}

bool Truthy(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.boolean;
    case Kind::kInt:
      return value.integer != 0;
    case Kind::kFloat:
      return value.number != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kSeq:
      return value.seq->one_pass() || !value.seq->items.empty();
    case Kind::kDict:
      return !value.dict->entries.empty();
    default:
      return true;
  }
}

}  // namespace jinja
}  // namespace ninfer
