#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {
namespace {

bool Printable(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

void AppendEscape(char32_t c, std::string* out) {
  if (c < 0x100) {
    absl::StrAppend(out, "\\x", absl::Hex(c, absl::kZeroPad2));
  } else if (c < 0x10000) {
    absl::StrAppend(out, "\\u", absl::Hex(c, absl::kZeroPad4));
  } else {
    absl::StrAppend(out, "\\U", absl::Hex(c, absl::kZeroPad8));
  }
}

void AppendReprChar(char32_t c, char quote, std::string* out) {
  if (c == static_cast<char32_t>(quote) || c == '\\') {
    out->push_back('\\');
    out->push_back(static_cast<char>(c));
  } else if (c == '\n' || c == '\r' || c == '\t') {
    out->append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
  } else if (Printable(c)) {
    AppendUtf8(c, out);
  } else {
    AppendEscape(c, out);
  }
}

// The code point of up to `most` digits at `pos`, moved behind them; `least` of them are needed.
bool ReadCode(absl::string_view text, size_t* pos, int base, size_t least, size_t most,
              char32_t* code) {
  size_t count = 0;
  uint64_t value = 0;
  while (count < most && *pos < text.size()) {
    const char c = absl::ascii_tolower(text[*pos]);
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
    if (digit >= base) break;
    value = value * base + digit;
    ++*pos;
    ++count;
  }
  *code = static_cast<char32_t>(value);
  return count >= least;
}

}  // namespace

std::string ReprString(absl::string_view text) {
  const bool single = text.find('\'') != absl::string_view::npos;
  const bool both = single && text.find('"') != absl::string_view::npos;
  const char quote = single && !both ? '"' : '\'';
  std::string out(1, quote);
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    AppendReprChar(c.value, quote, &out);
    pos += c.length;
  }
  out.push_back(quote);
  return out;
}

std::string EscapeNonAscii(absl::string_view repr) {
  std::string out;
  for (size_t pos = 0; pos < repr.size();) {
    const CodePoint c = DecodeAt(repr, pos);
    if (c.value < 0x80) {
      out.push_back(repr[pos]);
    } else {
      AppendEscape(c.value, &out);
    }
    pos += c.length;
  }
  return out;
}

std::string ReprFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  absl::string_view shortest(buffer, end.ptr - buffer);
  const size_t e = shortest.find('e');
  int exponent = 0;
  // from_chars takes no plus sign.
  absl::string_view power = shortest.substr(e + 1);
  if (power[0] == '+') power.remove_prefix(1);
  std::from_chars(power.data(), power.data() + power.size(), exponent);
  std::string digits;
  const absl::string_view sign = shortest[0] == '-' ? "-" : "";
  for (const char c : shortest.substr(0, e)) {
    if (c != '-' && c != '.') digits.push_back(c);
  }
  if (exponent < -4 || exponent >= 16) {
    return absl::StrCat(sign, digits.substr(0, 1), digits.size() > 1 ? "." : "", digits.substr(1),
                        "e", exponent < 0 ? "-" : "+",
                        absl::Dec(std::abs(exponent), absl::kZeroPad2));
  }
  if (exponent < 0) return absl::StrCat(sign, "0.", std::string(-exponent - 1, '0'), digits);
  while (static_cast<int>(digits.size()) < exponent + 2) digits.push_back('0');
  return absl::StrCat(sign, digits.substr(0, exponent + 1), ".", digits.substr(exponent + 1));
}

bool DecodeEscapes(absl::string_view literal, std::string* out, std::string* problem) {
  for (size_t pos = 0; pos < literal.size();) {
    const char c = literal[pos++];
    if (c != '\\' || pos == literal.size()) {
      out->push_back(c);
      continue;
    }
    static constexpr absl::string_view kPlain = "\\'\"abfnrtv\n";
    static constexpr absl::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
    const char kind = literal[pos];
    const size_t plain = kPlain.find(kind);
    if (plain != absl::string_view::npos) {
      ++pos;
      if (kind != '\n') out->push_back(kMeaning[plain]);
      continue;
    }
    char32_t code = 0;
    if (kind >= '0' && kind <= '7') {
      ReadCode(literal, &pos, 8, 1, 3, &code);
    } else if (kind == 'x' || kind == 'u' || kind == 'U') {
      const size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
      ++pos;
      if (!ReadCode(literal, &pos, 16, digits, digits, &code)) {
        *problem = absl::StrCat("truncated \\", std::string(1, kind), " escape");
        return false;
      }
    } else if (kind == 'N') {
      *problem = "characters by name (\\N{...}) are not known";
      return false;
    } else {
      out->push_back('\\');
      continue;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      *problem = absl::StrFormat("\\U%08x is not a character", static_cast<uint32_t>(code));
      return false;
    }
    AppendUtf8(code, out);
  }
  return true;
}

std::string EscapeHtml(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

absl::optional<__int128> ParseInt(absl::string_view text, int base) {
  text = Strip(text, true, true);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const std::string head = absl::AsciiStrToLower(text.substr(0, 2));
  const int named = head == "0x" ? 16 : head == "0o" ? 8 : head == "0b" ? 2 : 0;
  bool prefixed = false;
  if (named != 0 && (base == 0 || base == named)) {
    text.remove_prefix(2);
    base = named;
    prefixed = true;
  }
  const bool literal = base == 0;  // then 007 is not a number
  if (literal) base = 10;
  if (base < 2 || base > 36 || text.empty()) return {};
  __int128 value = 0;
  bool after_digit = prefixed;
  bool leading_zero = false;
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    const bool first = pos == 0;
    pos += c.length;
    if (c.value == '_') {
      if (!after_digit || pos == text.size()) return {};
      after_digit = false;
      continue;
    }
    int digit = DigitValue(c.value);
    const char letter = c.value < 0x80 ? absl::ascii_tolower(static_cast<char>(c.value)) : ' ';
    if (letter >= 'a' && letter <= 'z') digit = letter - 'a' + 10;
    if (digit < 0 || digit >= base) return {};
    if (first) leading_zero = digit == 0;
    if (literal && leading_zero && digit != 0) return {};
    if (value > (std::numeric_limits<__int128>::max() - digit) / base) return {};
    value = value * base + digit;
    after_digit = true;
  }
  if (!after_digit) return {};
  return negative ? -value : value;
}

absl::optional<double> ParseFloat(absl::string_view text) {
  std::string plain;
  bool after_digit = false;
  text = Strip(text, true, true);
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    pos += c.length;
    const int digit = DigitValue(c.value);
    if (c.value == '_') {
      if (!after_digit || pos == text.size() || DigitValue(DecodeAt(text, pos).value) < 0)
        return {};
      continue;
    }
    after_digit = digit >= 0;
    if (digit >= 0) {
      plain.push_back(static_cast<char>('0' + digit));
    } else if (c.value < 0x80) {
      plain.push_back(static_cast<char>(c.value));
    } else {
      return {};
    }
  }
  const std::string lower = absl::AsciiStrToLower(plain);
  double value = 0;
  if (plain.empty() || absl::StrContains(lower, 'x') || absl::StrContains(lower, '(')) return {};
  if (!absl::SimpleAtod(plain, &value)) return {};
  return value;
}

std::string IntText(__int128 value, int base) {
  const bool negative = value < 0;
  unsigned __int128 rest = negative ? -static_cast<unsigned __int128>(value) : value;
  std::string out;
  do {
    out.push_back("0123456789abcdef"[static_cast<int>(rest % base)]);
    rest /= base;
  } while (rest != 0);
  if (negative) out.push_back('-');
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace jinja
}  // namespace ninfer
