// Tested by tests/ir_text_test.cc, tests/fuzz/ir_text_fuzz.cc.
#include "ir/lexer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ninfer::ir {
namespace {

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '/' ||
         c == '-' || c == '\'';
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsWordCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

bool IsPlainName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), IsNameCharacter) &&
         !absl::StrContains(name, "//");
}

bool IsNumberName(absl::string_view name) { return std::all_of(name.begin(), name.end(), IsDigit); }

std::string Quote(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", absl::string_view(&c, 1));
    } else if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(&quoted, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      quoted.push_back(c);
    }
  }
  quoted.push_back('"');
  return quoted;
}

std::string NameText(char sigil, absl::string_view name) {
  return absl::StrCat(absl::string_view(&sigil, 1), IsPlainName(name) ? name : Quote(name));
}

std::string CommentText(absl::string_view provenance) {
  std::string text(provenance);
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  absl::StripAsciiWhitespace(&text);
  return text.empty() ? "" : absl::StrCat("  // ", text);
}

void Lexer::SkipBlanks() {
  comment_ = {};
  bool same_line = true;
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c == '\n') {
      ++line_;
      same_line = false;
      ++position_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++position_;
    } else if (c == '/' && At(position_ + 1) == '/') {
      const size_t end = std::min(text_.find('\n', position_), text_.size());
      if (same_line) {
        comment_ = absl::StripAsciiWhitespace(text_.substr(position_ + 2, end - position_ - 2));
      }
      position_ = end;
    } else {
      return;
    }
  }
}

Token Lexer::Finish(TokenKind kind, size_t begin, std::string name) {
  return {kind, text_.substr(begin, position_ - begin), std::move(name), position_, line_};
}

bool Lexer::ReadQuoted(std::string* out) {
  ++position_;
  while (position_ < text_.size() && text_[position_] != '\n') {
    const char c = text_[position_++];
    if (c == '"') return true;
    if (c != '\\') {
      out->push_back(c);
      continue;
    }
    const char escaped = At(position_++);
    if (escaped == '"' || escaped == '\\') {
      out->push_back(escaped);
    } else if (escaped == 'x' && HexDigit(At(position_)) >= 0 && HexDigit(At(position_ + 1)) >= 0) {
      out->push_back(static_cast<char>(HexDigit(At(position_)) * 16 + HexDigit(At(position_ + 1))));
      position_ += 2;
    } else {
      position_ = std::min(position_, text_.size());
      return false;
    }
  }
  return false;
}

Token Lexer::Named(TokenKind kind) {
  const size_t begin = position_++;
  std::string name;
  if (At(position_) == '"') {
    if (!ReadQuoted(&name) || name.empty()) return Finish(TokenKind::kBad, begin);
    return Finish(kind, begin, std::move(name));
  }
  while (position_ < text_.size() && IsNameCharacter(text_[position_]) &&
         !(text_[position_] == '/' && At(position_ + 1) == '/')) {
    name.push_back(text_[position_++]);
  }
  if (name.empty()) kind = TokenKind::kBad;
  return Finish(kind, begin, std::move(name));
}

Token Lexer::Next() {
  SkipBlanks();
  const size_t begin = position_;
  if (begin >= text_.size()) return Finish(TokenKind::kEnd, begin);
  const char c = text_[begin];
  if (c == '%') return Named(TokenKind::kValue);
  if (c == '@') return Named(TokenKind::kGlobal);
  if (c == '"') {
    std::string name;
    const bool closed = ReadQuoted(&name);
    return Finish(closed ? TokenKind::kString : TokenKind::kBad, begin, std::move(name));
  }
  if (absl::StartsWith(text_.substr(begin), "-inf") ||
      absl::StartsWith(text_.substr(begin), "-nan")) {
    position_ += 4;
    return Finish(TokenKind::kNumber, begin);
  }
  if (IsDigit(c) || (c == '-' && IsDigit(At(begin + 1)))) {
    ++position_;
    while (position_ < text_.size()) {
      const char d = text_[position_];
      const char previous = text_[position_ - 1];
      const bool sign = (d == '+' || d == '-') && (previous == 'e' || previous == 'E');
      if (!IsDigit(d) && d != '.' && d != 'e' && d != 'E' && !sign) break;
      ++position_;
    }
    return Finish(TokenKind::kNumber, begin);
  }
  if (IsWordCharacter(c)) {
    while (position_ < text_.size() && IsWordCharacter(text_[position_])) ++position_;
    return Finish(TokenKind::kWord, begin);
  }
  ++position_;
  const bool known = absl::StrContains("{}()[],:=<>+", absl::string_view(&c, 1));
  return Finish(known ? TokenKind::kPunctuation : TokenKind::kBad, begin);
}

}  // namespace ninfer::ir
