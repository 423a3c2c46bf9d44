#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {
namespace {

class Printer {
 public:
  explicit Printer(Run& run) : run_(run) {}

  void Add(const Value& value) {
    const Nested nested(run_);
    if (!run_.StepBytes(out_.size() - counted_)) return;
    counted_ = out_.size();
    switch (value.kind) {
      case Kind::kUndefined:
        out_ += "Undefined";
        return;
      case Kind::kNone:
        out_ += "None";
        return;
      case Kind::kBool:
        out_ += value.boolean ? "True" : "False";
        return;
      case Kind::kInt:
        out_ += IntText(value.integer);
        return;
      case Kind::kFloat:
        out_ += ReprFloat(value.number);
        return;
      case Kind::kString:
        if (value.string->markup) out_ += "Markup(";
        out_ += ReprString(value.text());
        if (value.string->markup) out_ += ")";
        return;
      case Kind::kSeq:
        return AddSequence(*value.seq);
      case Kind::kDict:
        return AddDict(*value.dict);
      case Kind::kNamespace:
        return AddNamespace(*value.ns);
      case Kind::kFunction:
        absl::StrAppend(&out_, value.function->native == nullptr ? "<Macro " : "<function ",
                        ReprString(value.function->name), ">");
        return;
      case Kind::kLoop:
        absl::StrAppend(&out_, "<LoopContext ", value.loop->index + 1, "/",
                        LoopLength(run_, value.loop), ">");
        return;
      case Kind::kHelper:
        absl::StrAppend(&out_, "<", TypeName(value), ">");
        return;
    }
  }

  std::string Take() {
    run_.Charge(out_.size());
    return std::move(out_);
  }

 private:
  void AddItems(const std::vector<Value>& items) {
    for (size_t i = 0; i < items.size() && !run_.failed(); ++i) {
      if (i > 0) out_ += ", ";
      Add(items[i]);
    }
  }

  void AddSequence(const Seq& seq) {
    switch (seq.flavour) {
      case Flavour::kTuple:
        out_ += "(";
        AddItems(seq.items);
        out_ += seq.items.size() == 1 ? ",)" : ")";
        return;
      case Flavour::kRange:
        absl::StrAppend(&out_, "range(", IntText(seq.range[0]), ", ", IntText(seq.range[1]));
        if (seq.range[2] != 1) absl::StrAppend(&out_, ", ", IntText(seq.range[2]));
        out_ += ")";
        return;
      case Flavour::kGenerator:
        out_ += "<generator object>";
        return;
      case Flavour::kIterator:
        out_ += "<list_reverseiterator object>";
        return;
      default:
        break;
    }
    const bool view = seq.flavour != Flavour::kList;
    if (view) {
      absl::StrAppend(&out_, seq.flavour == Flavour::kDictKeys     ? "dict_keys("
                             : seq.flavour == Flavour::kDictValues ? "dict_values("
                                                                   : "dict_items(");
    }
    out_ += "[";
    AddItems(seq.items);
    out_ += view ? "])" : "]";
  }

  void AddDict(const Dict& dict) {
    out_ += "{";
    bool first = true;
    for (const auto& [key, value] : dict.entries) {
      if (run_.failed()) return;
      if (!first) out_ += ", ";
      first = false;
      Add(key);
      out_ += ": ";
      Add(value);
    }
    out_ += "}";
  }

  void AddNamespace(const Namespace& ns) {
    out_ += "<Namespace ";
    AddDict(ns.attributes);
    out_ += ">";
  }

  Run& run_;
  std::string out_;
  size_t counted_ = 0;
};

class JsonPrinter {
 public:
  JsonPrinter(Run& run, const JsonStyle& style) : run_(run), style_(style) {}

  void Add(const Value& value) {
    const Nested nested(run_);
    if (!run_.StepBytes(out_.size() - counted_)) return;
    counted_ = out_.size();
    switch (value.kind) {
      case Kind::kNone:
        out_ += "null";
        return;
      case Kind::kBool:
        out_ += value.boolean ? "true" : "false";
        return;
      case Kind::kInt:
        out_ += IntText(value.integer);
        return;
      case Kind::kFloat:
        out_ += Float(value.number);
        return;
      case Kind::kString:
        return AddString(value.text());
      case Kind::kDict:
        return AddDict(*value.dict);
      case Kind::kSeq:
        if (value.seq->flavour <= Flavour::kTuple) return AddList(*value.seq);
        [[fallthrough]];
      default:
        run_.Fail(kTypeError, "Object of type ", TypeName(value), " is not JSON serializable");
    }
  }

  std::string Take() {
    run_.Charge(out_.size());
    return std::move(out_);
  }

 private:
  static std::string Float(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return ReprFloat(value);
  }

  void AddString(absl::string_view text) {
    out_ += '"';
    for (size_t pos = 0; pos < text.size();) {
      const CodePoint c = DecodeAt(text, pos);
      AddCharacter(c.value, text.substr(pos, c.length));
      pos += c.length;
    }
    out_ += '"';
  }

  void AddCharacter(char32_t c, absl::string_view bytes) {
    static constexpr absl::string_view kNamed = "\"\\\n\r\t\f\b";
    static constexpr absl::string_view kLetter = "\"\\nrtfb";
    const size_t named = c < 0x80 ? kNamed.find(static_cast<char>(c)) : absl::string_view::npos;
    if (named != absl::string_view::npos) {
      out_ += '\\';
      out_ += kLetter[named];
    } else if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F && c < 0x10000)) {
      absl::StrAppendFormat(&out_, "\\u%04x", static_cast<uint32_t>(c));
    } else if (style_.ensure_ascii && c >= 0x10000) {
      const uint32_t rest = c - 0x10000;
      absl::StrAppendFormat(&out_, "\\u%04x\\u%04x", 0xD800 + (rest >> 10),
                            0xDC00 + (rest & 0x3FF));
    } else {
      absl::StrAppend(&out_, bytes);
    }
  }

  void NewLine() {
    if (!style_.indented) return;
    out_ += '\n';
    for (int i = 0; i < level_; ++i) out_ += style_.indent;
  }

  void AddList(const Seq& seq) {
    if (seq.items.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    ++level_;
    for (size_t i = 0; i < seq.items.size() && !run_.failed(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine();
      Add(seq.items[i]);
    }
    --level_;
    NewLine();
    out_ += ']';
  }

  bool KeyText(const Value& key, std::string* text) {
    switch (key.kind) {
      case Kind::kString:
        *text = key.text();
        return true;
      case Kind::kNone:
        *text = "null";
        return true;
      case Kind::kBool:
        *text = key.boolean ? "true" : "false";
        return true;
      case Kind::kInt:
        *text = IntText(key.integer);
        return true;
      case Kind::kFloat:
        *text = Float(key.number);
        return true;
      default:
        run_.Fail(kTypeError, "keys must be str, int, float, bool or None, not ", TypeName(key));
        return false;
    }
  }

  void AddDict(const Dict& dict) {
    if (dict.entries.empty()) {
      out_ += "{}";
      return;
    }
    std::vector<const std::pair<Value, Value>*> order;
    for (const auto& entry : dict.entries) order.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(order.begin(), order.end(), [&](const auto* a, const auto* b) {
        return !run_.failed() && Less(run_, a->first, b->first);
      });
    }
    out_ += '{';
    ++level_;
    bool first = true;
    for (const auto* entry : order) {
      std::string key;
      if (run_.failed() || !KeyText(entry->first, &key)) return;
      if (!first) out_ += style_.item_separator;
      first = false;
      NewLine();
      AddString(key);
      out_ += style_.key_separator;
      Add(entry->second);
    }
    --level_;
    NewLine();
    out_ += '}';
  }

  Run& run_;
  const JsonStyle& style_;
  std::string out_;
  size_t counted_ = 0;
  int level_ = 0;
};

}  // namespace

std::string ToText(Run& run, const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) return "";
  return Repr(run, value);
}

std::string Repr(Run& run, const Value& value) {
  Printer printer(run);
  printer.Add(value);
  return printer.Take();
}

std::string ToJson(Run& run, const Value& value, const JsonStyle& style) {
  JsonPrinter printer(run, style);
  printer.Add(value);
  return printer.Take();
}

Value FromJson(Run& run, const nlohmann::ordered_json& json) {
  const Nested nested(run);
  if (!run.Step()) return Value();
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value::Integer(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      return Value::Integer(json.get<uint64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value::Number(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return run.String(RepairUtf8(json.get_ref<const std::string&>()));
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(FromJson(run, item));
      return run.List(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      const Value dict = run.EmptyDict();
      for (const auto& [key, item] : json.items()) {
        dict.dict->Set(run.String(key), FromJson(run, item));
        run.Charge(sizeof(Value) * 2 + key.size());
      }
      return dict;
    }
    default:
      return Value::None();
  }
}

}  // namespace jinja
}  // namespace ninfer
