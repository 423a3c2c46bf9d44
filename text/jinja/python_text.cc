#include "text/jinja/python_text.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {

constexpr size_t kNone = absl::string_view::npos;

bool IsPySpace(char32_t c) { return IsWhitespace(c) || (c >= 0x1C && c <= 0x1F); }

size_t CharCount(absl::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return count;
}

size_t ByteOfChar(absl::string_view text, size_t index) {
  size_t pos = 0;
  while (index > 0 && pos < text.size()) {
    pos += Utf8Length(text[pos]);
    --index;
  }
  return std::min(pos, text.size());
}

std::vector<absl::string_view> Characters(absl::string_view text) {
  std::vector<absl::string_view> out;
  for (size_t pos = 0; pos < text.size();) {
    const int length = Utf8Length(text[pos]);
    out.push_back(text.substr(pos, length));
    pos += length;
  }
  return out;
}

namespace {

template <typename Drop>
absl::string_view StripIf(absl::string_view text, bool left, bool right, Drop drop) {
  while (left && !text.empty()) {
    const CodePoint c = DecodeAt(text, 0);
    if (!drop(c.value)) break;
    text.remove_prefix(c.length);
  }
  while (right && !text.empty()) {
    const CodePoint c = DecodeBefore(text, text.size());
    if (!drop(c.value)) break;
    text.remove_suffix(c.length);
  }
  return text;
}

}  // namespace

absl::string_view Strip(absl::string_view text, bool left, bool right) {
  return StripIf(text, left, right, IsPySpace);
}

absl::string_view StripChars(absl::string_view text, absl::string_view chars, bool left,
                             bool right) {
  std::vector<char32_t> set;
  for (const absl::string_view c : Characters(chars)) set.push_back(DecodeAt(c, 0).value);
  std::sort(set.begin(), set.end());
  return StripIf(text, left, right,
                 [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
}

std::vector<absl::string_view> SplitBlanks(absl::string_view text, int64_t limit, bool from_right) {
  std::vector<absl::string_view> out;
  text = Strip(text, !from_right, from_right);  // behind the last cut blanks stay
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(out.size()) >= limit) {
      out.push_back(text);
      break;
    }
    size_t pos = from_right ? text.size() : 0;
    while (from_right ? pos > 0 : pos < text.size()) {
      const CodePoint c = from_right ? DecodeBefore(text, pos) : DecodeAt(text, pos);
      if (IsPySpace(c.value)) break;
      pos = from_right ? pos - c.length : pos + c.length;
    }
    out.push_back(from_right ? text.substr(pos) : text.substr(0, pos));
    text =
        from_right ? Strip(text.substr(0, pos), false, true) : Strip(text.substr(pos), true, false);
  }
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<absl::string_view> SplitAt(absl::string_view text, absl::string_view separator,
                                       int64_t limit, bool from_right) {
  std::vector<absl::string_view> out;
  while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
    const size_t at = from_right ? text.rfind(separator) : FindText(text, separator);
    if (at == kNone) break;
    out.push_back(from_right ? text.substr(at + separator.size()) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(at + separator.size());
  }
  out.push_back(text);
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<absl::string_view> SplitLines(absl::string_view text, bool keep_ends) {
  std::vector<absl::string_view> out;
  size_t start = 0;
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    size_t end = pos + c.length;
    const bool breaks = (c.value >= 0x0A && c.value <= 0x0D) ||
                        (c.value >= 0x1C && c.value <= 0x1E) || c.value == 0x85 ||
                        c.value == 0x2028 || c.value == 0x2029;
    if (breaks) {
      if (c.value == '\r' && end < text.size() && text[end] == '\n') ++end;
      out.push_back(text.substr(start, (keep_ends ? end : pos) - start));
      start = end;
    }
    pos = end;
  }
  if (start < text.size()) out.push_back(text.substr(start));
  return out;
}

size_t FindText(absl::string_view text, absl::string_view part, size_t from) {
  if (from > text.size()) return kNone;
  if (part.empty()) return from;
  const void* found =
      memmem(text.data() + from, text.size() - from, part.data(), part.size());  // two-way search
  return found == nullptr ? kNone : static_cast<const char*>(found) - text.data();
}

std::string ReplaceText(absl::string_view text, absl::string_view old, absl::string_view with,
                        int64_t limit) {
  std::string out;
  size_t pos = 0;
  while (limit != 0) {
    const size_t at = FindText(text, old, pos);
    if (at == kNone) break;
    absl::StrAppend(&out, text.substr(pos, at - pos), with);
    pos = at + old.size();
    --limit;
    if (old.empty()) {  // before each character, and at the end
      if (at >= text.size()) break;
      const int length = Utf8Length(text[at]);
      absl::StrAppend(&out, text.substr(at, length));
      pos = at + length;
    }
  }
  if (pos < text.size()) absl::StrAppend(&out, text.substr(pos));
  return out;
}

}  // namespace jinja
}  // namespace ninfer
