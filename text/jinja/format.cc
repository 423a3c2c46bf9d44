#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {

constexpr int kMostWidth = 10000;
constexpr int kMostDigits = 500;  // behind the point

std::string FixedText(double value, int digits) {
  char buffer[512 + 320];
  const int size =
      std::snprintf(buffer, sizeof(buffer), "%.*f", std::min(digits, kMostDigits), value);
  return std::string(buffer, size);
}

namespace {

// What stands behind a `:` or a `%`.
struct Spec {
  std::string fill = " ";
  char align = '\0';
  char sign = '\0';
  bool alternate = false;
  bool zero = false;
  int width = 0;
  char grouping = '\0';
  int precision = -1;
  char type = '\0';
};

std::string FloatText(double value, const Spec& spec) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  char format[8] = {'%'};
  int at = 1;
  if (spec.alternate) format[at++] = '#';
  format[at++] = '.';
  format[at++] = '*';
  format[at++] = spec.type;
  char buffer[1024];
  const int size = std::snprintf(buffer, sizeof(buffer), format, precision, value);
  return std::string(buffer, std::min<int>(size, sizeof(buffer) - 1));
}

void Group(char separator, int every, std::string* digits) {
  size_t end = digits->find_first_not_of("0123456789abcdefABCDEF");
  if (end == std::string::npos) end = digits->size();
  for (size_t at = end; at > static_cast<size_t>(every);) {
    at -= every;
    digits->insert(at, 1, separator);
  }
}

// Puts the sign, the prefix and the padding around a number without a sign.
std::string Dress(bool negative, const std::string& prefix, std::string digits, const Spec& spec) {
  if (spec.grouping != '\0') {
    const bool decimal =
        spec.type != 'x' && spec.type != 'X' && spec.type != 'o' && spec.type != 'b';
    Group(spec.grouping, decimal ? 3 : 4, &digits);
  }
  const std::string head = (negative                               ? "-"
                            : spec.sign == '+' || spec.sign == ' ' ? std::string(1, spec.sign)
                                                                   : "") +
                           prefix;
  const int missing = spec.width - static_cast<int>(head.size() + CharCount(digits));
  if (missing <= 0) return head + digits;
  std::string pad;
  const bool zero = spec.zero && spec.align == '\0';
  for (int i = 0; i < missing; ++i) pad += zero ? "0" : spec.fill;
  if (zero || spec.align == '=') return head + pad + digits;
  if (spec.align == '<') return head + digits + pad;
  if (spec.align == '^') {
    const size_t before = (missing / 2) * spec.fill.size();
    return pad.substr(0, before) + head + digits + pad.substr(before);
  }
  return pad + head + digits;
}

// repr() of 'r', ascii() of 'a'.
std::string Quoted(Run& run, const Value& value, char conversion) {
  const std::string text = Repr(run, value);
  return conversion == 'a' ? EscapeNonAscii(text) : text;
}

std::string PadText(std::string text, const Spec& spec) {
  if (spec.precision >= 0) text.resize(ByteOfChar(text, spec.precision));
  const int missing = spec.width - static_cast<int>(CharCount(text));
  std::string pad;
  for (int i = 0; i < missing; ++i) pad += spec.fill;
  if (spec.align == '>') return pad + text;
  if (spec.align != '^' || missing <= 0) return text + pad;
  const size_t before = (missing / 2) * spec.fill.size();
  return pad.substr(0, before) + text + pad.substr(before);
}

std::string IntegerText(Run& run, const Value& value, const Spec& spec) {
  const Int number = value.as_int();
  std::string digits;
  std::string prefix;
  const char type = absl::ascii_tolower(spec.type);
  if (type == 'c') {
    if (number < 0 || number > 0x10FFFF || (number >= 0xD800 && number < 0xE000)) {
      run.Fail(kOverflowError, "%c arg not in range(0x110000)");
      return "";
    }
    AppendUtf8(static_cast<char32_t>(number), &digits);
    return PadText(digits, spec);
  }
  const int base = type == 'x' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  digits = IntText(number, base);
  const bool negative = number < 0;
  if (negative) digits.erase(0, 1);
  if (spec.type == 'X') digits = absl::AsciiStrToUpper(digits);
  if (spec.alternate && base != 10) prefix = std::string("0") + spec.type;
  if (spec.precision > static_cast<int>(digits.size())) {
    digits.insert(0, spec.precision - digits.size(), '0');
  }
  return Dress(negative, prefix, digits, spec);
}

std::string NumberText(Run& run, const Value& value, Spec spec) {
  const bool floating = absl::StrContains("eEfFgG%", spec.type) && spec.type != '\0';
  if (value.is_int() && !floating) return IntegerText(run, value, spec);
  if (!value.is_number() || (!floating && (spec.type != '\0' || !value.is(Kind::kFloat)))) {
    run.Fail(kValueError, "Unknown format code for object of type '", TypeName(value), "'");
    return "";
  }
  if (spec.precision > kMostDigits) {
    run.Fail(kLimitError, "a precision of more than ", kMostDigits);
    return "";
  }
  double number = value.as_double();
  std::string text;
  if (spec.type == '%') {
    spec.type = 'f';
    text = FloatText(std::fabs(number) * 100, spec) + "%";
  } else if (spec.type == '\0' && spec.precision < 0) {
    text = ReprFloat(std::fabs(number));
  } else {
    if (spec.type == '\0') spec.type = 'g';
    text = FloatText(std::fabs(number), spec);
  }
  return Dress(std::signbit(number) && !std::isnan(number), "", text, spec);
}

// A width or precision; an error where it is too large to be meant.
int CheckedWidth(Run& run, Int value) {
  if (value <= kMostWidth) return static_cast<int>(value);
  run.Fail(kLimitError, "a width of more than ", kMostWidth);
  return 0;
}

int ReadNumber(Run& run, absl::string_view text, size_t* pos) {
  int value = 0;
  while (*pos < text.size() && absl::ascii_isdigit(static_cast<unsigned char>(text[*pos]))) {
    value = std::min(value * 10 + (text[(*pos)++] - '0'), kMostWidth + 1);
  }
  return CheckedWidth(run, value);
}

class PercentFormatter {
 public:
  PercentFormatter(Run& run, absl::string_view format, const Value& arguments)
      : run_(run), format_(format), mapping_(arguments.is(Kind::kDict) ? &arguments : nullptr) {
    const bool tuple = arguments.is(Kind::kSeq) && arguments.seq->flavour == Flavour::kTuple;
    // Python takes whatever has items for a mapping, which may have too many of them.
    subscriptable_ = arguments.is(Kind::kDict) || (arguments.is(Kind::kSeq) && !tuple);
    arguments_ = tuple ? arguments.seq->items : std::vector<Value>{arguments};
  }

  std::string Format() {
    std::string out;
    for (size_t pos = 0; pos < format_.size() && run_.Step();) {
      if (format_[pos] != '%') {
        out += format_[pos++];
        continue;
      }
      ++pos;
      out += Conversion(&pos);
    }
    if (!named_ && !subscriptable_ && next_ < arguments_.size()) {
      run_.Fail(kTypeError, "not all arguments converted during string formatting");
    }
    return out;
  }

 private:
  Value Take() {
    if (next_ < arguments_.size()) return arguments_[next_++];
    return run_.Fail(kTypeError, "not enough arguments for format string");
  }

  std::string Conversion(size_t* pos) {
    Spec spec;
    Value value;
    bool have = false;
    if (*pos < format_.size() && format_[*pos] == '(') {
      const size_t end = format_.find(')', *pos);
      if (end == absl::string_view::npos || mapping_ == nullptr) {
        run_.Fail(kTypeError, "format requires a mapping");
        return "";
      }
      const absl::string_view key = format_.substr(*pos + 1, end - *pos - 1);
      const Value* found = mapping_->dict->Find(key);
      if (found == nullptr) {
        run_.Fail("KeyError", ReprString(key));
        return "";
      }
      value = *found;
      have = true;
      named_ = true;
      *pos = end + 1;
    }
    for (; *pos < format_.size() && absl::StrContains("-+ #0", format_[*pos]); ++*pos) {
      const char c = format_[*pos];
      if (c == '-') spec.align = '<';
      if (c == '+' || (c == ' ' && spec.sign != '+')) spec.sign = c;
      if (c == '#') spec.alternate = true;
      if (c == '0') spec.zero = true;
    }
    spec.width = Star(pos);
    if (*pos < format_.size() && format_[*pos] == '.') {
      ++*pos;
      spec.precision = Star(pos);
    }
    if (*pos >= format_.size()) {
      run_.Fail(kValueError, "incomplete format");
      return "";
    }
    spec.type = format_[(*pos)++];
    if (spec.type == '%') return "%";
    if (!have) value = Take();
    return run_.failed() ? "" : Convert(value, spec);
  }

  int Star(size_t* pos) {
    if (*pos >= format_.size() || format_[*pos] != '*') return ReadNumber(run_, format_, pos);
    ++*pos;
    const Value value = Take();
    if (value.is_int() && value.as_int() >= 0) return CheckedWidth(run_, value.as_int());
    run_.Fail(kTypeError, "* wants int");
    return 0;
  }

  std::string Convert(const Value& value, Spec spec) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        if (spec.align == '\0') spec.align = '>';
        return PadText(spec.type == 's' ? ToText(run_, value) : Quoted(run_, value, spec.type),
                       spec);
      }
      case 'c':
        if (value.is_string() && CharCount(value.text()) == 1) return PadText(value.text(), spec);
        break;
      case 'd':
      case 'i':
      case 'u':
        spec.type = 'd';
        if (value.is(Kind::kFloat) && std::fabs(value.number) < 1e38) {
          return IntegerText(run_, Value::Integer(static_cast<Int>(value.number)), spec);
        }
        break;
      case 'o':
      case 'x':
      case 'X':
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        break;
      default:
        run_.Fail(kValueError, "unsupported format character '", std::string(1, spec.type), "'");
        return "";
    }
    if (value.is_undefined()) {
      run_.FailUndefined(value);
      return "";
    }
    if (!value.is_number() || (value.is(Kind::kFloat) && absl::StrContains("dcoxX", spec.type))) {
      run_.Fail(kTypeError, "%", std::string(1, spec.type),
                " format: a real number is required, not ", TypeName(value));
      return "";
    }
    return NumberText(run_, value, spec);
  }

  jinja::Run& run_;
  const absl::string_view format_;
  const Value* mapping_;
  std::vector<Value> arguments_;
  size_t next_ = 0;
  bool named_ = false;
  bool subscriptable_ = false;
};

Spec ParseSpec(Run& run, absl::string_view text) {
  Spec spec;
  size_t pos = 0;
  const auto is_align = [](char c) { return c != '\0' && absl::StrContains("<>=^", c); };
  const size_t first = text.empty() ? 0 : Utf8Length(text[0]);
  const auto at = [&](size_t i) { return i < text.size() ? text[i] : '\0'; };
  if (first > 0 && is_align(at(first))) {
    spec.fill = std::string(text.substr(0, first));
    spec.align = at(first);
    pos = first + 1;
  } else if (is_align(at(0))) {
    spec.align = at(0);
    pos = 1;
  }
  if (at(pos) == '+' || at(pos) == '-' || at(pos) == ' ') spec.sign = at(pos++);
  if (at(pos) == '#') spec.alternate = at(pos++) == '#';
  if (at(pos) == '0') spec.zero = at(pos++) == '0';
  spec.width = ReadNumber(run, text, &pos);
  if (at(pos) == ',' || at(pos) == '_') spec.grouping = at(pos++);
  if (at(pos) == '.') {
    ++pos;
    spec.precision = ReadNumber(run, text, &pos);
  }
  if (pos < text.size()) spec.type = at(pos++);
  if (pos < text.size()) run.Fail(kValueError, "Invalid format specifier ", ReprString(text));
  return spec;
}

class BraceFormatter {
 public:
  BraceFormatter(Run& run, const Args& args) : run_(run), args_(args) {}

  std::string Format(absl::string_view format, int depth) {
    std::string out;
    if (depth > 2) run_.Fail(kValueError, "Max string recursion exceeded");
    for (size_t pos = 0; pos < format.size() && run_.Step();) {
      const char c = format[pos];
      const char next = pos + 1 < format.size() ? format[pos + 1] : '\0';
      if ((c == '{' || c == '}') && next == c) {
        out += c;
        pos += 2;
      } else if (c == '}') {
        run_.Fail(kValueError, "Single '}' encountered in format string");
      } else if (c != '{') {
        out += c;
        ++pos;
      } else {
        const size_t end = FieldEnd(format, pos + 1);
        if (end == absl::string_view::npos) {
          run_.Fail(kValueError, "expected '}' before end of string");
          break;
        }
        out += Field(format.substr(pos + 1, end - pos - 1), depth);
        pos = end + 1;
      }
    }
    return out;
  }

 private:
  static size_t FieldEnd(absl::string_view format, size_t pos) {
    for (int open = 0; pos < format.size(); ++pos) {
      if (format[pos] == '{') ++open;
      if (format[pos] == '}' && open-- == 0) return pos;
    }
    return absl::string_view::npos;
  }

  std::string Field(absl::string_view field, int depth) {
    const size_t name_end = std::min(field.find_first_of("!:"), field.size());
    const Value value = Look(field.substr(0, name_end));
    field.remove_prefix(name_end);
    char conversion = '\0';
    if (absl::StartsWith(field, "!") && field.size() > 1) {
      conversion = field[1];
      field.remove_prefix(2);
    }
    const std::string spec_text =
        field.size() > 1 ? Format(field.substr(1), depth + 1) : std::string();
    if (run_.failed()) return "";
    const Spec spec = ParseSpec(run_, spec_text);
    if (conversion == 'r' || conversion == 'a') {
      return PadText(Quoted(run_, value, conversion), spec);
    }
    if (conversion == 's' || value.is_string()) return PadText(ToText(run_, value), spec);
    if (value.is_number() && (!value.is(Kind::kBool) || spec.type != '\0')) {
      return NumberText(run_, value, spec);
    }
    if (!spec_text.empty() && !value.is(Kind::kBool)) {
      run_.Fail(kTypeError, "unsupported format string passed to ", TypeName(value), ".__format__");
    }
    return PadText(ToText(run_, value), spec);
  }

  Value Look(absl::string_view name) {
    const size_t head_end = std::min(name.find_first_of(".["), name.size());
    const absl::string_view head = name.substr(0, head_end);
    Value value;
    const auto index = head.empty() ? absl::optional<Int>(next_++) : ParseInt(head, 10);
    if (index.has_value()) {
      if (*index < 0 || *index >= static_cast<Int>(args_.positional.size())) {
        return run_.Fail("IndexError", "Replacement index ", IntText(*index),
                         " out of range for positional args tuple");
      }
      value = args_.positional[static_cast<size_t>(*index)];
    } else {
      const auto found = std::find_if(args_.named.begin(), args_.named.end(),
                                      [&](const auto& named) { return named.first == head; });
      if (found == args_.named.end()) return run_.Fail("KeyError", ReprString(head));
      value = found->second;
    }
    name.remove_prefix(head_end);
    while (!name.empty() && !run_.failed()) {
      if (name[0] == '.') {
        const size_t end = std::min(name.find_first_of(".[", 1), name.size());
        value = GetAttr(run_, value, name.substr(1, end - 1));
        name.remove_prefix(end);
        continue;
      }
      const size_t end = name.find(']');
      if (name[0] != '[' || end == absl::string_view::npos) {
        return run_.Fail(kValueError, "Missing ']' in format string");
      }
      const absl::string_view key = name.substr(1, end - 1);
      const auto number = ParseInt(key, 10);
      value = GetItem(run_, value,
                      number.has_value() ? Value::Integer(*number) : run_.String(std::string(key)));
      name.remove_prefix(end + 1);
    }
    return value;
  }

  Run& run_;
  const Args& args_;
  Int next_ = 0;
};

}  // namespace

std::string FormatPercent(Run& run, absl::string_view format, const Value& arguments) {
  return PercentFormatter(run, format, arguments).Format();
}

Value FormatBraces(Run& run, const Value& self, Args& args) {
  return run.String(BraceFormatter(run, args).Format(self.text(), 0));
}

Value FormatMap(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "format_map", args, {"mapping"}, 1);
  Args named;
  if (!bound[0].is(Kind::kDict)) {
    return run.Fail(kTypeError, "format_map() takes a mapping");
  }
  for (const auto& [key, value] : bound[0].dict->entries) {
    if (key.is_string()) named.named.emplace_back(key.text(), value);
  }
  return run.String(BraceFormatter(run, named).Format(self.text(), 0));
}

}  // namespace jinja
}  // namespace ninfer
