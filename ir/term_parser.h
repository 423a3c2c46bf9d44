// What parsers of text forms, of graphs and of programs, are made of: tokens, numbers, dimensions
// and types. Errors are one line, "edited.ir:12: expected ..., found ...".
// Tested by tests/ir_text_test.cc, tests/program_text_test.cc.
#ifndef NINFER_IR_TERM_PARSER_H_
#define NINFER_IR_TERM_PARSER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "ir/lexer.h"
#include "ir/module.h"

namespace ninfer::ir {

class TermParser {
 public:
  // `file` names the text in errors.
  TermParser(absl::string_view text, absl::string_view file, int first_line)
      : text_(text), file_(file), lexer_(text, first_line) {
    Advance();
  }

  // The dimensions that are declared so far.
  void set_symbols(absl::Span<const Symbol> symbols) { symbols_ = symbols; }

  const Token& token() const { return token_; }
  absl::string_view text() const { return text_; }
  const std::string& file() const { return file_; }
  size_t begin() const { return token_.end - token_.text.size(); }  // offset of the token
  size_t consumed() const { return consumed_; }  // offset behind the token before it
  // The comment that ends the statement just read.
  absl::string_view comment() const { return lexer_.comment(); }

  void Advance() {
    consumed_ = token_.end;
    token_ = lexer_.Next();
    token_.end += base_;
  }
  // Goes on at `position`, behind a text that another parser read, knowing that `known`, before it,
  // lies on `line`.
  void Restart(size_t position, size_t known, int line);

  absl::Status Error(absl::string_view expected) const;
  bool Is(absl::string_view text) const {
    return token_.text == text && token_.kind != TokenKind::kString;
  }
  bool IsKind(TokenKind kind) const { return token_.kind == kind; }
  bool Accept(absl::string_view text) {
    if (!Is(text)) return false;
    Advance();
    return true;
  }
  absl::Status Expect(absl::string_view text) {
    return Accept(text) ? absl::OkStatus() : Error(absl::StrCat("'", text, "'"));
  }
  // A word, or what stands behind a sigil or in quotes.
  absl::StatusOr<std::string> ParseName(TokenKind kind, absl::string_view what);
  absl::StatusOr<int64_t> ParseInt(absl::string_view what);
  absl::StatusOr<int64_t> ParseField(absl::string_view word);  // "ld 576"
  absl::StatusOr<int> ParseIndex(absl::string_view what);
  absl::StatusOr<int> ParseSymbol(absl::string_view what);
  absl::StatusOr<Dim> ParseDim();
  absl::StatusOr<Type> ParseType();

 private:
  absl::string_view text_;
  std::string file_;
  absl::Span<const Symbol> symbols_;
  Lexer lexer_;
  Token token_;
  size_t base_ = 0;  // where the lexer's text begins
  size_t consumed_ = 0;
};

}  // namespace ninfer::ir

#endif  // NINFER_IR_TERM_PARSER_H_
