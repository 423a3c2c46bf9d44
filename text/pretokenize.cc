// Pre-tokenizers as Hugging Face tokenizers has them. A step that only cuts makes new ranges of the
// same buffer; ByteLevel and Metaspace also rewrite the text.
// Tested by tests/text_components_test.cc.
#include "text/pretokenize.h"

#include <algorithm>

#include "text/unicode.h"

namespace ninfer {
namespace {

using Range = Pattern::Range;
using Word = WordList::Word;

// Collects the words of one step, and follows whether the first still begins the whole text.
class Cutter {
 public:
  explicit Cutter(WordList* list) : list_(list) { words_.reserve(list->words.size()); }

  // Keeps [begin, end) of the buffer; empty ranges are dropped.
  void Keep(size_t begin, size_t end, bool at_start) {
    if (begin == end) return;
    if (words_.empty()) first_at_start_ = at_start;
    words_.push_back({begin, end});
  }

  void Finish() {
    list_->words = std::move(words_);
    list_->first_at_start = first_at_start_ && !list_->words.empty();
  }

 private:
  WordList* list_;
  std::vector<Word> words_;
  bool first_at_start_ = false;
};

// Joins ranges as the behaviour says. Ranges to be dropped come out empty.
void ApplyBehaviour(uint32_t behaviour, std::vector<Range>* ranges) {
  std::vector<Range>& r = *ranges;
  if (behaviour == kRemoved) {
    for (Range& range : r) {
      if (range.match) range.end = range.begin;
    }
    return;
  }
  if (behaviour == kIsolated) return;
  std::vector<Range> joined;
  bool previous = false;
  if (behaviour == kMergedWithNext) {
    for (size_t i = r.size(); i-- > 0;) {
      if (r[i].match && !previous && !joined.empty()) {
        joined.back().begin = r[i].begin;
      } else {
        joined.push_back(r[i]);
      }
      previous = r[i].match;
    }
    std::reverse(joined.begin(), joined.end());
  } else {
    for (const Range& range : r) {
      const bool join =
          behaviour == kContiguous ? range.match == previous : range.match && !previous;
      if (join && !joined.empty()) {
        joined.back().end = range.end;
      } else {
        joined.push_back(range);
      }
      previous = range.match;
    }
  }
  r = std::move(joined);
}

// Cuts every word by `find(text, ranges)`, which must cover the text.
template <typename Find>
void CutWords(uint32_t behaviour, bool invert, Find find, WordList* list) {
  Cutter cutter(list);
  std::vector<Range> ranges;
  bool at_start = list->first_at_start;
  for (const Word& word : list->words) {
    find(list->text(word), &ranges);
    if (invert) {
      for (Range& range : ranges) range.match = !range.match;
    }
    ApplyBehaviour(behaviour, &ranges);
    for (const Range& range : ranges) {
      cutter.Keep(word.begin + range.begin, word.begin + range.end, at_start && range.begin == 0);
    }
    at_start = false;
  }
  cutter.Finish();
}

// Single characters that `is` holds for are matches.
template <typename Is>
auto FindCharacters(Is is) {
  return [is](absl::string_view text, std::vector<Range>* ranges) {
    ranges->clear();
    size_t last = 0;
    for (size_t pos = 0; pos < text.size();) {
      const CodePoint c = DecodeAt(text, pos);
      if (is(c.value)) {
        if (last < pos) ranges->push_back({last, pos, false});
        last = pos + c.length;
        ranges->push_back({pos, last, true});
      }
      pos += c.length;
    }
    if (last < text.size()) ranges->push_back({last, text.size(), false});
  };
}

// Runs of \w+ or of [^\w\s]+ are matches.
void FindWordRuns(absl::string_view text, std::vector<Range>* ranges) {
  ranges->clear();
  int previous = -1;
  for (size_t pos = 0; pos < text.size();) {
    const CodePoint c = DecodeAt(text, pos);
    const int kind = IsWord(c.value) ? 2 : IsWhitespace(c.value) ? 0 : 1;
    if (kind != previous) ranges->push_back({pos, pos, kind != 0});
    pos += c.length;
    ranges->back().end = pos;
    previous = kind;
  }
}

void FindFixedLength(uint32_t length, absl::string_view text, std::vector<Range>* ranges) {
  ranges->clear();
  uint32_t count = length;
  for (size_t pos = 0; pos < text.size();) {
    if (count == length) {
      ranges->push_back({pos, pos, true});
      count = 0;
    }
    pos += Utf8Length(text[pos]);
    ranges->back().end = pos;
    ++count;
  }
}

// Puts `prefix` before each word that `wants(text, at_start)`, and every word through `append`.
template <typename Wants, typename AppendWord>
void RewriteWords(absl::string_view prefix, Wants wants, AppendWord append, WordList* list) {
  std::string buffer;
  buffer.reserve(list->buffer.size() + list->buffer.size() / 4);
  bool at_start = list->first_at_start;
  for (Word& word : list->words) {
    const absl::string_view text = list->text(word);
    const size_t begin = buffer.size();
    if (wants(text, at_start)) append(prefix, &buffer);
    append(text, &buffer);
    word = {begin, buffer.size()};
    at_start = false;
  }
  list->buffer = std::move(buffer);
}

void AppendPlain(absl::string_view text, std::string* out) {
  out->append(text.data(), text.size());
}

void ByteLevel(const CompiledStep& compiled, WordList* list) {
  if ((compiled.step.number & kPrefixBlank) != 0) {
    RewriteWords(
        " ", [](absl::string_view text, bool) { return text[0] != ' '; }, AppendPlain, list);
  }
  if (compiled.pattern != nullptr) {
    CutWords(
        kIsolated, false,
        [&](absl::string_view text, std::vector<Range>* ranges) {
          compiled.pattern->FindAll(text, ranges);
        },
        list);
  }
  RewriteWords(
      "", [](absl::string_view, bool) { return false; }, AppendByteLetters, list);
}

void Metaspace(const Step& step, WordList* list) {
  const std::string& blank = step.text;
  const uint32_t scheme = step.number & 3;
  RewriteWords(
      blank,
      [&](absl::string_view text, bool at_start) {
        const bool has_one = text[0] == ' ' || text.substr(0, blank.size()) == blank;
        return !has_one && (scheme == kAlways || (scheme == kFirst && at_start));
      },
      [&](absl::string_view text, std::string* out) {
        for (const char c : text) {
          if (c == ' ') {
            *out += blank;
          } else {
            out->push_back(c);
          }
        }
      },
      list);
  if ((step.number & kSplitWords) == 0) return;
  const char32_t mark = DecodeAt(blank, 0).value;
  CutWords(kMergedWithNext, false, FindCharacters([mark](char32_t c) { return c == mark; }), list);
}

}  // namespace

void PreTokenize(absl::Span<const CompiledStep> steps, absl::string_view text, bool at_start,
                 WordList* list) {
  list->buffer.assign(text.data(), text.size());
  list->words.clear();
  if (!text.empty()) list->words.push_back({0, text.size()});
  list->first_at_start = at_start && !text.empty();
  const size_t limit = PreTokenizedLimit(text.size());
  for (const CompiledStep& compiled : steps) {
    if (list->buffer.size() > limit) return;
    const uint32_t number = compiled.step.number;
    switch (static_cast<PreTokenizerKind>(compiled.step.kind)) {
      case PreTokenizerKind::kByteLevel:
        ByteLevel(compiled, list);
        break;
      case PreTokenizerKind::kSplit:
        CutWords(
            number & 7, (number & kInvert) != 0,
            [&](absl::string_view word, std::vector<Range>* ranges) {
              compiled.pattern->FindAll(word, ranges);
            },
            list);
        break;
      case PreTokenizerKind::kDigits:
        CutWords(number == 1 ? kIsolated : kContiguous, false, FindCharacters(IsNumber), list);
        break;
      case PreTokenizerKind::kPunctuation:
        CutWords(number, false, FindCharacters(IsPunctuation), list);
        break;
      case PreTokenizerKind::kMetaspace:
        Metaspace(compiled.step, list);
        break;
      case PreTokenizerKind::kWhitespace:
        CutWords(kRemoved, true, FindWordRuns, list);
        break;
      case PreTokenizerKind::kWhitespaceSplit:
        CutWords(kRemoved, false, FindCharacters(IsWhitespace), list);
        break;
      case PreTokenizerKind::kBert:
        CutWords(kRemoved, false, FindCharacters(IsWhitespace), list);
        CutWords(kIsolated, false, FindCharacters(IsPunctuation), list);
        break;
      case PreTokenizerKind::kFixedLength:
        CutWords(
            kIsolated, false,
            [number](absl::string_view word, std::vector<Range>* ranges) {
              FindFixedLength(number, word, ranges);
            },
            list);
        break;
      case PreTokenizerKind::kCount:
        break;
    }
  }
}

}  // namespace ninfer
