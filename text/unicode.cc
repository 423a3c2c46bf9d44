// Code points by hand, general categories from utf8proc. Byte letters are those of GPT-2's
// encoder.py.
// Tested by tests/text_unicode_test.cc.
#include "text/unicode.h"

#include <utf8proc.h>

#include <array>

namespace ninfer {
namespace {

struct ByteLetters {
  std::array<char32_t, 256> letter;
  std::array<int16_t, 0x144> byte;
};

constexpr ByteLetters MakeByteLetters() {
  ByteLetters table{};
  for (auto& byte : table.byte) byte = -1;
  char32_t extra = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool visible =
        (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    table.letter[b] = visible ? static_cast<char32_t>(b) : extra++;
    table.byte[table.letter[b]] = static_cast<int16_t>(b);
  }
  return table;
}

constexpr ByteLetters kByteLetters = MakeByteLetters();

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

}  // namespace

CodePoint DecodeAt(absl::string_view text, size_t pos) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data() + pos);
  const size_t left = text.size() - pos;
  if (p[0] < 0x80 || left < 2) return {p[0], 1};
  if (p[0] < 0xE0 || left < 3) return {char32_t((p[0] & 0x1F) << 6 | (p[1] & 0x3F)), 2};
  if (p[0] < 0xF0 || left < 4) {
    return {char32_t((p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F)), 3};
  }
  return {char32_t((p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 | (p[3] & 0x3F)),
          4};
}

CodePoint DecodeBefore(absl::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && end - start < 4 && IsContinuation(text[start])) --start;
  return DecodeAt(text.substr(0, end), start);
}

void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
    return;
  }
  if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | c >> 6));
  } else {
    if (c < 0x10000) {
      out->push_back(static_cast<char>(0xE0 | c >> 12));
    } else {
      out->push_back(static_cast<char>(0xF0 | c >> 18));
      out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
    }
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
  }
  out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
}

bool IsAscii(absl::string_view text) {
  uint8_t all = 0;
  for (const char c : text) all |= static_cast<uint8_t>(c);
  return all < 0x80;
}

bool IsValidUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x80) {
      ++i;
      continue;
    }
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    if (byte < 0xC2 || byte > 0xF4 || length > text.size() - i) return false;
    for (size_t k = 1; k < length; ++k) {
      if (!IsContinuation(text[i + k])) return false;
    }
    const auto second = static_cast<uint8_t>(text[i + 1]);
    if ((byte == 0xE0 && second < 0xA0) || (byte == 0xED && second > 0x9F) ||
        (byte == 0xF0 && second < 0x90) || (byte == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += length;
  }
  return true;
}

std::string RepairUtf8(absl::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  Utf8Repairer repairer;
  repairer.Append(bytes, &out);
  repairer.Finish(&out);
  return out;
}

void Utf8Repairer::Append(absl::string_view bytes, std::string* out) {
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    if (needed_ > 0) {
      if (byte >= lower_ && byte <= upper_) {
        surrogate_ = surrogate_ || (size_ == 1 && pending_[0] == '\xED' && byte > 0x9F);
        lower_ = 0x80;
        upper_ = 0xBF;
        pending_[size_++] = c;
        if (needed_ > 1) {
          --needed_;
        } else if (surrogate_) {
          Finish(out);
        } else {
          out->append(pending_, size_);
          size_ = 0;
          needed_ = 0;
        }
        continue;
      }
      Finish(out);  // the part so far is not UTF-8; this byte begins anew
    }
    if (byte < 0x80) {
      out->push_back(c);
    } else if (byte >= 0xC2 && byte <= 0xF4) {
      needed_ = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
      lower_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
      upper_ = byte == 0xF4 ? 0x8F : 0xBF;
      pending_[0] = c;
      size_ = 1;
    } else {
      out->append(kReplacementCharacter.data(), kReplacementCharacter.size());
    }
  }
}

void Utf8Repairer::Finish(std::string* out) {
  if (needed_ > 0) {
    // No byte of a surrogate begins anything, so each counts; any other unfinished part counts
    // once.
    for (int i = 0; i < (surrogate_ ? size_ : 1); ++i) {
      out->append(kReplacementCharacter.data(), kReplacementCharacter.size());
    }
  }
  surrogate_ = false;
  needed_ = 0;
  size_ = 0;
  lower_ = 0x80;
  upper_ = 0xBF;
}

bool IsWhitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsLetter(char32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  const auto category = Category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool IsNumber(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto category = Category(c);
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool IsWord(char32_t c) {
  if (c < 0x80) return IsLetter(c) || IsNumber(c) || c == '_';
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    case UTF8PROC_CATEGORY_SO:  // the circled and squared letters are Alphabetic
      return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
             (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    default:
      return c == 0x200C || c == 0x200D;
  }
}

bool IsPunctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  }
  const auto category = Category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool IsNonspacingMark(char32_t c) { return c >= 0x300 && Category(c) == UTF8PROC_CATEGORY_MN; }

bool IsCombiningMark(char32_t c) {
  if (c < 0x300) return false;
  const auto category = Category(c);
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

bool IsControl(char32_t c) { return Category(c) >= UTF8PROC_CATEGORY_CC; }

char32_t ByteToLetter(uint8_t byte) { return kByteLetters.letter[byte]; }

int LetterToByte(char32_t c) { return c < kByteLetters.byte.size() ? kByteLetters.byte[c] : -1; }

void AppendByteLetters(absl::string_view bytes, std::string* out) {
  for (const char c : bytes) AppendUtf8(kByteLetters.letter[static_cast<uint8_t>(c)], out);
}

}  // namespace ninfer
