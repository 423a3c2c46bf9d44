// Tokens of the text form, read and written. Whitespace separates; a comment that follows a token
// on its line is kept, since it is the provenance of the statement that ends there. Tested by
// tests/ir_text_test.cc, tests/fuzz/ir_text_fuzz.cc.
#ifndef NINFER_IR_LEXER_H_
#define NINFER_IR_LEXER_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ninfer::ir {

// True when the name needs no quotes after its sigil.
bool IsPlainName(absl::string_view name);
// True for "" and for digits alone: such results are numbered by the printer.
bool IsNumberName(absl::string_view name);

// In quotes, with escapes: what the lexer reads back as this text.
std::string Quote(absl::string_view text);
// "%x", "@model.embed", and in quotes where the name needs them.
std::string NameText(char sigil, absl::string_view name);
// Two blanks and a comment that ends the line, or nothing. Control characters become blanks.
std::string CommentText(absl::string_view provenance);

enum class TokenKind : uint8_t {
  kWord,
  kValue,
  kGlobal,
  kNumber,
  kString,
  kPunctuation,
  kEnd,
  kBad
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  absl::string_view text;  // as written
  std::string name;        // of kValue, kGlobal and kString: without sigil, quotes and escapes
  size_t end = 0;          // offset just behind the token
  int line = 0;
};

class Lexer {
 public:
  Lexer(absl::string_view text, int first_line) : text_(text), line_(first_line) {}

  Token Next();
  // The comment between the last two tokens, on the line of the first of them; else empty.
  absl::string_view comment() const { return comment_; }

 private:
  void SkipBlanks();
  Token Named(TokenKind kind);
  // Reads a quoted string from position_ on into `out`; false when it does not end on its line or
  // holds an unknown escape.
  bool ReadQuoted(std::string* out);
  Token Finish(TokenKind kind, size_t begin, std::string name = "");
  char At(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  absl::string_view text_;
  size_t position_ = 0;
  int line_;
  absl::string_view comment_;
};

}  // namespace ninfer::ir

#endif  // NINFER_IR_LEXER_H_
