#include <utf8proc.h>

#include <algorithm>

#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {
namespace {

struct SpecialCase {
  char32_t character;
  const char* upper;
  const char* title;
};
constexpr SpecialCase kSpecialCases[] = {
#define SPECIAL_CASE(character, upper, title) {character, upper, title},
#include "text/jinja/special_casing.def"
#undef SPECIAL_CASE
};
constexpr char32_t kCapitalSigma = 0x3A3;
constexpr char32_t kDottedI = 0x130;

const SpecialCase* FindSpecial(char32_t c) {
  if (c < 0xDF) return nullptr;
  const auto* found = std::lower_bound(
      std::begin(kSpecialCases), std::end(kSpecialCases), c,
      [](const SpecialCase& row, char32_t value) { return row.character < value; });
  return found != std::end(kSpecialCases) && found->character == c ? found : nullptr;
}

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}
bool UpperChar(char32_t c) { return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0; }
bool LowerChar(char32_t c) { return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0; }
bool TitleChar(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LT; }
bool Cased(char32_t c) { return UpperChar(c) || LowerChar(c) || TitleChar(c); }

bool CaseIgnorable(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x387 || c == 0x55F ||
             c == 0x5F4 || c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027 ||
             c == 0xFE13 || c == 0xFE52 || c == 0xFE55 || c == 0xFF07 || c == 0xFF0E || c == 0xFF1A;
  }
}

void AppendUpper(char32_t c, std::string* out) {
  if (const SpecialCase* special = FindSpecial(c)) {
    out->append(special->upper);
  } else {
    AppendUtf8(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)), out);
  }
}

void AppendTitle(char32_t c, std::string* out) {
  if (const SpecialCase* special = FindSpecial(c)) {
    out->append(special->title);
  } else {
    AppendUtf8(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)), out);
  }
}

// A capital sigma at the end of a word has a form of its own.
bool EndsWord(absl::string_view text, size_t pos, size_t end) {
  bool before = false;
  for (size_t at = pos; at > 0;) {
    const CodePoint c = DecodeBefore(text, at);
    at -= c.length;
    if (CaseIgnorable(c.value)) continue;
    before = Cased(c.value);
    break;
  }
  for (size_t at = end; before && at < text.size();) {
    const CodePoint c = DecodeAt(text, at);
    at += c.length;
    if (!CaseIgnorable(c.value)) return !Cased(c.value);
  }
  return before;
}

void AppendLower(absl::string_view text, size_t pos, const CodePoint& c, std::string* out) {
  if (c.value == kCapitalSigma) {
    AppendUtf8(EndsWord(text, pos, pos + c.length) ? 0x3C2 : 0x3C3, out);
  } else if (c.value == kDottedI) {
    out->append("i\u0307");
  } else {
    AppendUtf8(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value)), out);
  }
}

template <typename Append>
std::string Map(absl::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    append(pos, c, &out);
    pos += c.length;
  }
  return out;
}

bool InClass(char32_t c, CharClass what) {
  const utf8proc_category_t category = Category(c);
  // Digits that are not decimal (superscripts, circled) are category No.
  const bool superscript = (c >= 0xB2 && c <= 0xB3) || c == 0xB9 || c == 0x2070 ||
                           (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
                           (c >= 0x2460 && c <= 0x2468);
  switch (what) {
    case CharClass::kAlpha:
      return IsLetter(c);
    case CharClass::kDecimal:
      return category == UTF8PROC_CATEGORY_ND;
    case CharClass::kDigit:
      return category == UTF8PROC_CATEGORY_ND || superscript;
    case CharClass::kNumeric:
      return IsNumber(c);
    case CharClass::kAlnum:
      return IsLetter(c) || IsNumber(c);
    case CharClass::kSpace:
      return IsPySpace(c);
    case CharClass::kAscii:
      return c < 0x80;
  }
  return false;
}

}  // namespace

std::string Upper(absl::string_view text) {
  return Map(text, [](size_t, CodePoint c, std::string* out) { AppendUpper(c.value, out); });
}

std::string Lower(absl::string_view text) {
  return Map(text,
             [&](size_t pos, CodePoint c, std::string* out) { AppendLower(text, pos, c, out); });
}

std::string Title(absl::string_view text) {
  bool inside = false;
  return Map(text, [&](size_t pos, CodePoint c, std::string* out) {
    inside ? AppendLower(text, pos, c, out) : AppendTitle(c.value, out);
    inside = Cased(c.value);
  });
}

std::string Capitalize(absl::string_view text) {
  return Map(text, [&](size_t pos, CodePoint c, std::string* out) {
    pos > 0 ? AppendLower(text, pos, c, out) : AppendTitle(c.value, out);
  });
}

std::string SwapCase(absl::string_view text) {
  return Map(text, [&](size_t pos, CodePoint c, std::string* out) {
    if (UpperChar(c.value)) {
      AppendLower(text, pos, c, out);
    } else if (LowerChar(c.value)) {
      AppendUpper(c.value, out);
    } else {
      AppendUtf8(c.value, out);
    }
  });
}

bool AllOf(absl::string_view text, CharClass what) {
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    if (!InClass(c.value, what)) return false;
    pos += c.length;
  }
  return what == CharClass::kAscii || !text.empty();
}

bool IsUpper(absl::string_view text) {
  bool any = false;
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    if (LowerChar(c.value) || TitleChar(c.value)) return false;
    any |= UpperChar(c.value);
    pos += c.length;
  }
  return any;
}

bool IsLower(absl::string_view text) {
  bool any = false;
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    if (UpperChar(c.value) || TitleChar(c.value)) return false;
    any |= LowerChar(c.value);
    pos += c.length;
  }
  return any;
}

bool IsTitle(absl::string_view text) {
  bool any = false;
  bool inside = false;
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    const bool upper = UpperChar(c.value) || TitleChar(c.value);
    const bool lower = LowerChar(c.value);
    if ((upper && inside) || (lower && !inside)) return false;
    inside = upper || lower;
    any |= inside;
    pos += c.length;
  }
  return any;
}

int DigitValue(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9' ? static_cast<int>(c - '0') : -1;
  if (Category(c) != UTF8PROC_CATEGORY_ND) return -1;
  // Decimal digits stand in runs of ten; the mathematical ones are five runs in a row.
  if (c >= 0x1D7CE && c <= 0x1D7FF) return static_cast<int>((c - 0x1D7CE) % 10);
  int value = 0;
  while (value < 9 && Category(c - value - 1) == UTF8PROC_CATEGORY_ND) ++value;
  return value;
}

}  // namespace jinja
}  // namespace ninfer
