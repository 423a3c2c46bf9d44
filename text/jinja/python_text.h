// Python's operations on text: positions count code points, and classes and cases are Unicode's
// full ones. All texts are valid UTF-8.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_PYTHON_TEXT_H_
#define NINFER_TEXT_JINJA_PYTHON_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace ninfer {
namespace jinja {

bool IsPySpace(char32_t c);  // str.isspace
size_t CharCount(absl::string_view text);
// The byte at which character `index` begins; the text's size beyond its end.
size_t ByteOfChar(absl::string_view text, size_t index);
std::vector<absl::string_view> Characters(absl::string_view text);

absl::string_view Strip(absl::string_view text, bool left, bool right);
absl::string_view StripChars(absl::string_view text, absl::string_view chars, bool left,
                             bool right);

// At blanks, or at `separator`; at most `limit` cuts if that is not negative.
std::vector<absl::string_view> SplitBlanks(absl::string_view text, int64_t limit, bool from_right);
std::vector<absl::string_view> SplitAt(absl::string_view text, absl::string_view separator,
                                       int64_t limit, bool from_right);
std::vector<absl::string_view> SplitLines(absl::string_view text, bool keep_ends);

// As std::string_view::find, in linear time.
size_t FindText(absl::string_view text, absl::string_view part, size_t from = 0);
std::string ReplaceText(absl::string_view text, absl::string_view old, absl::string_view with,
                        int64_t limit);

std::string Upper(absl::string_view text);
std::string Lower(absl::string_view text);
std::string Title(absl::string_view text);  // str.title; the filter is another
std::string Capitalize(absl::string_view text);
std::string SwapCase(absl::string_view text);

enum class CharClass { kAlpha, kDigit, kDecimal, kNumeric, kAlnum, kSpace, kAscii };
bool AllOf(absl::string_view text, CharClass what);
bool IsUpper(absl::string_view text);
bool IsLower(absl::string_view text);
bool IsTitle(absl::string_view text);
int DigitValue(char32_t c);  // of a decimal digit of any script, else -1

// As Python's repr writes it, with quotes.
std::string ReprString(absl::string_view text);
// What repr gave as ascii() has it: characters beyond ASCII become escapes.
std::string EscapeNonAscii(absl::string_view repr);
std::string ReprFloat(double value);
// A string literal's text. False with a message where an escape is wrong.
bool DecodeEscapes(absl::string_view literal, std::string* out, std::string* problem);
std::string EscapeHtml(absl::string_view text);

// int(text, base) and float(text); empty where Python raises ValueError.
absl::optional<__int128> ParseInt(absl::string_view text, int base);
absl::optional<double> ParseFloat(absl::string_view text);
std::string IntText(__int128 value, int base = 10);

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_PYTHON_TEXT_H_
