// Tested by tests/text_components_test.cc and tests/text_sentencepiece_test.cc.
#include "text/charsmap.h"

#include <utf8proc.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

constexpr size_t kLongCluster = 6;

// A unit of the double array.
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Value(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
uint32_t Offset(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

// The end of the grapheme cluster that starts at `pos`.
size_t ClusterEnd(absl::string_view text, size_t pos) {
  CodePoint c = DecodeAt(text, pos);
  pos += c.length;
  utf8proc_int32_t state = 0;
  while (pos < text.size()) {
    const CodePoint next = DecodeAt(text, pos);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    pos += next.length;
    c = next;
  }
  return pos;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CharsMap>> CharsMap::Parse(absl::string_view blob) {
  uint32_t size = 0;
  if (blob.size() < sizeof(size)) return InvalidArgument("precompiled_charsmap: cut short");
  std::memcpy(&size, blob.data(), sizeof(size));
  blob.remove_prefix(sizeof(size));
  if (size == 0 || size % 4 != 0 || size > blob.size()) {
    return InvalidArgument("precompiled_charsmap: expected a double array of at most ", blob.size(),
                           " bytes, found ", size);
  }
  std::unique_ptr<CharsMap> map(new CharsMap);
  map->units_.resize(size / 4);
  std::memcpy(map->units_.data(), blob.data(), size);
  blob.remove_prefix(size);
  map->replacements_.assign(blob.data(), blob.size());
  if (!IsValidUtf8(map->replacements_)) {
    return InvalidArgument("precompiled_charsmap: its replacements are not UTF-8");
  }
  const uint32_t root = Offset(map->units_[0]);
  for (uint32_t byte = 1; byte < 256; ++byte) {
    const uint32_t place = root ^ byte;
    map->starts_[byte] = place < map->units_.size() && Label(map->units_[place]) == byte;
  }
  return map;
}

CharsMap::Match CharsMap::Find(absl::string_view text, bool longest) const {
  Match match;
  uint32_t place = Offset(units_[0]);
  for (size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    place ^= byte;
    if (place >= units_.size() || Label(units_[place]) != byte) break;
    const uint32_t unit = units_[place];
    place ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    if (place >= units_.size()) break;
    const uint32_t begin = Value(units_[place]);
    // Damaged tables may point anywhere; a real one points at the start of a string.
    const bool at_end_of_key = i + 1 == text.size() || (text[i + 1] & 0xC0) != 0x80;
    if (begin > replacements_.size() || !at_end_of_key ||
        (begin < replacements_.size() && (replacements_[begin] & 0xC0) == 0x80)) {
      continue;
    }
    const absl::string_view rest = absl::string_view(replacements_).substr(begin);
    match = {i + 1, rest.substr(0, rest.find('\0'))};
    if (!longest) break;
  }
  return match;
}

void ApplyPrecompiled(const CharsMap& map, size_t limit, std::string* text) {
  std::string out;
  out.reserve(text->size());
  const absl::string_view in = *text;
  for (size_t pos = 0; pos < in.size();) {
    if (out.size() > limit) return;
    const size_t end = ClusterEnd(in, pos);
    if (end - pos < kLongCluster) {
      const CharsMap::Match match = map.Shortest(in.substr(pos, end - pos));
      if (match.length > 0) {
        absl::StrAppend(&out, match.replacement);
        pos = end;
        continue;
      }
    }
    while (pos < end) {
      const absl::string_view character = in.substr(pos, Utf8Length(in[pos]));
      const CharsMap::Match match = map.Shortest(character);
      absl::StrAppend(&out, match.length > 0 ? match.replacement : character);
      pos += character.size();
    }
  }
  *text = std::move(out);
}

namespace {

// What the text at `pos` becomes, and how far that reaches.
struct Replaced {
  absl::string_view text;
  size_t length;
};

Replaced ReplaceAt(const CharsMap* map, const AddedTokenMatcher* kept, absl::string_view text,
                   size_t pos) {
  if (kept != nullptr) {
    const size_t length = kept->LongestLength(text, pos);
    if (length > 0) return {text.substr(pos, length), length};
  }
  if (map != nullptr && map->MayStart(text[pos])) {
    const CharsMap::Match match = map->Longest(text.substr(pos));
    if (match.length > 0) return {match.replacement, match.length};
  }
  const size_t length = Utf8Length(text[pos]);
  return {text.substr(pos, length), length};
}

}  // namespace

void ApplySentencePiece(const CharsMap* map, const AddedTokenMatcher* kept, uint32_t flags,
                        bool at_start, size_t limit, std::string* text) {
  const absl::string_view in = *text;
  const bool squeeze = (flags & kSpSqueeze) != 0;
  const absl::string_view blank = (flags & kSpEscape) != 0 ? kBlank : " ";
  const bool dummy = (flags & kSpDummyPrefix) != 0 && (at_start || (flags & kSpEverywhere) != 0);
  size_t pos = 0;
  while (squeeze && pos < in.size()) {
    const Replaced next = ReplaceAt(map, kept, in, pos);
    if (next.text != " ") break;
    pos += next.length;
  }
  std::string out;
  if (pos == in.size()) {
    text->clear();
    return;
  }
  out.reserve(in.size() + in.size() / 4 + blank.size());
  if (dummy && (flags & kSpSuffix) == 0) absl::StrAppend(&out, blank);
  bool after_blank = squeeze;
  while (pos < in.size()) {
    if (out.size() > limit) return;
    Replaced next = ReplaceAt(map, kept, in, pos);
    pos += next.length;
    while (after_blank && !next.text.empty() && next.text[0] == ' ') next.text.remove_prefix(1);
    if (next.text.empty()) continue;
    for (const char c : next.text) {
      if (c == ' ') {
        absl::StrAppend(&out, blank);
      } else {
        out.push_back(c);
      }
    }
    after_blank = squeeze && next.text.back() == ' ';
  }
  while (squeeze && absl::EndsWith(out, blank)) out.erase(out.size() - blank.size());
  if (dummy && (flags & kSpSuffix) != 0) absl::StrAppend(&out, blank);
  *text = std::move(out);
}

}  // namespace ninfer
