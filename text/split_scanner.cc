// Hand-written scanners for the split expressions of GPT-2, Llama 3 and Qwen 2. Each takes the
// first alternative that matches at a position, as the expression does; every position has one.
//
// Only for these very expressions: any other text goes to PCRE2. A scanner earns its place by speed
// alone, and tests/text_pattern_test.cc compares each with PCRE2 on random text.
#include <cstddef>

#include "text/pattern.h"
#include "text/unicode.h"

namespace ninfer {

const char kGpt2Split[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char kQwen2Split[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

const char kLlama3Split[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
const char kO200kSplit[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

enum class Class { kLetter, kNumber, kSpace, kOther, kEnd };

struct Char {
  Class kind;
  int length;
};

Class Classify(char32_t c) {
  if (IsLetter(c)) return Class::kLetter;
  if (IsNumber(c)) return Class::kNumber;
  return IsWhitespace(c) ? Class::kSpace : Class::kOther;
}

Char CharAt(absl::string_view text, size_t pos) {
  if (pos >= text.size()) return {Class::kEnd, 0};
  const CodePoint c = DecodeAt(text, pos);
  return {Classify(c.value), c.length};
}

// The end of the run of characters of `kind` from `pos`; at most `limit` of them.
size_t RunEnd(absl::string_view text, size_t pos, Class kind, int limit = -1) {
  for (Char c = CharAt(text, pos); c.kind == kind && limit != 0; c = CharAt(text, pos), --limit) {
    pos += c.length;
  }
  return pos;
}

// \s+(?!\S)|\s+ from a blank at `pos`: a run that something follows leaves its last blank to it.
size_t BlankRunEnd(absl::string_view text, size_t pos) {
  const size_t end = RunEnd(text, pos, Class::kSpace);
  if (end == text.size()) return end;
  const size_t shorter = end - DecodeBefore(text, end).length;
  return shorter > pos ? shorter : end;
}

// The length of 's, 't, 're, 've, 'm, 'll, 'd behind the apostrophe at `pos`, or 0. Without case,
// the long s (U+017F) is an s.
size_t ContractionLength(absl::string_view text, size_t pos, bool any_case) {
  const absl::string_view rest = text.substr(pos + 1, 2);
  if (any_case && rest == "\xC5\xBF") return 3;
  const auto lower = [&](size_t i) {
    if (i >= rest.size()) return '\0';
    return any_case && rest[i] >= 'A' && rest[i] <= 'Z' ? static_cast<char>(rest[i] | 0x20)
                                                        : rest[i];
  };
  const char first = lower(0);
  const char second = lower(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  return first == 'l' && second == 'l' ? 3 : 0;
}

size_t ScanGpt2(absl::string_view text, size_t pos) {
  if (text[pos] == '\'') {
    const size_t length = ContractionLength(text, pos, false);
    if (length > 0) return pos + length;
  }
  const size_t behind_blank = pos + (text[pos] == ' ');
  const Char c = CharAt(text, behind_blank);
  if (c.kind != Class::kSpace && c.kind != Class::kEnd) return RunEnd(text, behind_blank, c.kind);
  return BlankRunEnd(text, pos);
}

bool IsLineEnd(char c) { return c == '\r' || c == '\n'; }

// \s*[\r\n]+ from a blank at `pos`: up to the last line end of the run of blanks; 0 where it has
// none.
size_t LineRunEnd(absl::string_view text, size_t pos) {
  size_t end = RunEnd(text, pos, Class::kSpace);
  while (end > pos && !IsLineEnd(text[end - 1])) --end;
  return end > pos ? end : 0;
}

template <int kDigits>
size_t ScanLlama3(absl::string_view text, size_t pos) {
  if (text[pos] == '\'') {
    const size_t length = ContractionLength(text, pos, true);
    if (length > 0) return pos + length;
  }
  const Char first = CharAt(text, pos);
  if (first.kind == Class::kLetter) return RunEnd(text, pos, Class::kLetter);
  if (first.kind == Class::kNumber) return RunEnd(text, pos, Class::kNumber, kDigits);
  if (!IsLineEnd(text[pos])) {
    const size_t second = pos + first.length;
    if (CharAt(text, second).kind == Class::kLetter) return RunEnd(text, second, Class::kLetter);
  }
  const size_t behind_blank = pos + (text[pos] == ' ');
  if (CharAt(text, behind_blank).kind == Class::kOther) {
    size_t end = RunEnd(text, behind_blank, Class::kOther);
    while (end < text.size() && IsLineEnd(text[end])) ++end;
    return end;
  }
  const size_t lines = LineRunEnd(text, pos);
  return lines > 0 ? lines : BlankRunEnd(text, pos);
}

}  // namespace

SplitScanner FindSplitScanner(absl::string_view expression) {
  if (expression == kGpt2Split) return ScanGpt2;
  if (expression == kLlama3Split) return ScanLlama3<3>;
  if (expression == kQwen2Split) return ScanLlama3<1>;
  return nullptr;
}

}  // namespace ninfer
