// Code points, their classes, and the repair of bytes that are not UTF-8.
//
// The classes are those of the reference implementation: White_Space and \w as Rust's regex crate
// has them, letters and numbers by general category (from utf8proc).
// Tested by tests/text_unicode_test.cc.
#ifndef NINFER_TEXT_UNICODE_H_
#define NINFER_TEXT_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ninfer {

constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD
constexpr absl::string_view kBlank = "\xE2\x96\x81";  // U+2581, SentencePiece's for a blank

// Length of the UTF-8 character that starts with `lead`, in text known to be valid.
inline int Utf8Length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The code point at text[pos] and its length; `text` must be valid UTF-8 and pos < text.size().
struct CodePoint {
  char32_t value;
  int length;
};
CodePoint DecodeAt(absl::string_view text, size_t pos);
// The code point that ends at `end` (> 0).
CodePoint DecodeBefore(absl::string_view text, size_t end);
void AppendUtf8(char32_t c, std::string* out);

bool IsAscii(absl::string_view text);
bool IsValidUtf8(absl::string_view text);
// Every maximal part that is not UTF-8 becomes one U+FFFD, as the Unicode standard recommends.
std::string RepairUtf8(absl::string_view bytes);

// The same repair for bytes that arrive in pieces: whole characters leave as soon as they are
// whole. The first two bytes of a surrogate wait for the third, as in Python's incremental decoder.
class Utf8Repairer {
 public:
  void Append(absl::string_view bytes, std::string* out);
  void Finish(std::string* out);  // an unfinished character becomes U+FFFD

 private:
  char pending_[4];
  int size_ = 0;    // bytes held
  int needed_ = 0;  // continuation bytes still missing
  bool surrogate_ = false;
  uint8_t lower_ = 0x80;
  uint8_t upper_ = 0xBF;
};

bool IsWhitespace(char32_t c);      // White_Space
bool IsLetter(char32_t c);          // general category L
bool IsNumber(char32_t c);          // general category N
bool IsWord(char32_t c);            // \w: Alphabetic, M, Nd, Pc, joiners
bool IsPunctuation(char32_t c);     // general category P, and the ASCII symbols
bool IsNonspacingMark(char32_t c);  // general category Mn
bool IsCombiningMark(char32_t c);   // general category M
bool IsControl(char32_t c);         // general categories Cc, Cf, Co

// The letters of byte-level BPE (GPT-2): visible bytes stand for themselves, others for U+0100 on.
char32_t ByteToLetter(uint8_t byte);
int LetterToByte(char32_t c);  // -1 where c is no such letter
// Appends `bytes` spelled in letters.
void AppendByteLetters(absl::string_view bytes, std::string* out);

}  // namespace ninfer

#endif  // NINFER_TEXT_UNICODE_H_
