// The tokens lie sorted; at a place where one may start, the range of those that agree with the
// text is narrowed byte by byte.
// Tested by tests/text_zoo_test.cc.
#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace ninfer {

AddedTokenMatcher::AddedTokenMatcher(const std::vector<AddedToken>& tokens, bool normalized) {
  for (const AddedToken& token : tokens) {
    const std::string& text = normalized ? token.normal_form : token.content;
    if (token.normalized != normalized || text.empty()) continue;
    entries_.push_back(
        {text, token.id, token.single_word, token.lstrip, token.rstrip, token.special});
    starts_[static_cast<uint8_t>(text[0])] = true;
  }
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.text < b.text; });
}

const AddedTokenMatcher::Entry* AddedTokenMatcher::LongestAt(absl::string_view text,
                                                             size_t pos) const {
  const Entry* longest = nullptr;
  auto first = entries_.begin();
  auto last = entries_.end();
  for (size_t length = 0; first != last; ++length) {
    // All of [first, last) agree with the text in `length` bytes; those that end here come first.
    for (; first != last && first->text.size() == length; ++first) longest = &*first;
    if (first == last || pos + length >= text.size()) break;
    const auto byte = static_cast<uint8_t>(text[pos + length]);
    first = std::partition_point(first, last, [=](const Entry& entry) {
      return static_cast<uint8_t>(entry.text[length]) < byte;
    });
    last = std::partition_point(first, last, [=](const Entry& entry) {
      return static_cast<uint8_t>(entry.text[length]) == byte;
    });
  }
  return longest;
}

size_t AddedTokenMatcher::LongestLength(absl::string_view text, size_t pos) const {
  if (!starts_[static_cast<uint8_t>(text[pos])]) return 0;
  const Entry* entry = LongestAt(text, pos);
  return entry == nullptr ? 0 : entry->text.size();
}

void AddedTokenMatcher::Split(absl::string_view text, bool special,
                              std::vector<Span>* spans) const {
  spans->clear();
  size_t covered = 0;
  size_t pos = 0;
  while (!entries_.empty() && pos < text.size()) {
    const Entry* entry = starts_[static_cast<uint8_t>(text[pos])] ? LongestAt(text, pos) : nullptr;
    if (entry == nullptr) {
      ++pos;
      continue;
    }
    size_t begin = pos;
    size_t end = pos + entry->text.size();
    pos = end;
    if (entry->special && !special) continue;
    if (entry->single_word && ((begin > 0 && IsWord(DecodeBefore(text, begin).value)) ||
                               (end < text.size() && IsWord(DecodeAt(text, end).value)))) {
      continue;
    }
    while (entry->lstrip && begin > covered) {
      const CodePoint c = DecodeBefore(text, begin);
      if (!IsWhitespace(c.value)) break;
      begin -= c.length;
    }
    if (entry->lstrip) begin = std::max(begin, covered);
    // What lies before `covered` are blanks that the token before took: they are not looked at
    // again.
    if (entry->rstrip) end = std::max(end, covered);
    while (entry->rstrip && end < text.size()) {
      const CodePoint c = DecodeAt(text, end);
      if (!IsWhitespace(c.value)) break;
      end += c.length;
    }
    // A token whose blanks the one before took keeps its id, where it has not taken all of it; no
    // text is left between them.
    if (begin >= end) continue;
    if (covered < begin) spans->push_back({covered, begin, -1});
    spans->push_back({begin, end, entry->id});
    covered = end;
  }
  if (covered < text.size()) spans->push_back({covered, text.size(), -1});
}

}  // namespace ninfer
