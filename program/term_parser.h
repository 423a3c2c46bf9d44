// Inside the program's parser: tokens, numbers and types, which know the dimensions declared so
// far.
// Tested by tests/program_text_test.cc.
#ifndef NINFER_PROGRAM_TERM_PARSER_H_
#define NINFER_PROGRAM_TERM_PARSER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "ir/lexer.h"
#include "program/program.h"

namespace ninfer::program {

class TermParser {
 public:
  TermParser(absl::string_view text, absl::string_view file, const std::vector<ir::Symbol>* symbols)
      : text_(text), file_(file), symbols_(symbols), lexer_(text, 1) {
    Advance();
  }

  const ir::Token& token() const { return token_; }
  absl::string_view text() const { return text_; }
  const std::string& file() const { return file_; }
  size_t begin() const { return token_.end - token_.text.size(); }  // offset of the token
  absl::string_view comment() const { return lexer_.comment(); }

  void Advance() {
    token_ = lexer_.Next();
    token_.end += base_;
  }
  // Goes on at `position`, behind a text that another parser read, knowing that `known`, before it,
  // lies on `line`.
  void Restart(size_t position, size_t known, int line);

  absl::Status Error(absl::string_view expected) const;
  bool Is(absl::string_view text) const {
    return token_.text == text && token_.kind != ir::TokenKind::kString;
  }
  bool IsKind(ir::TokenKind kind) const { return token_.kind == kind; }
  bool Accept(absl::string_view text) {
    if (!Is(text)) return false;
    Advance();
    return true;
  }
  absl::Status Expect(absl::string_view text) {
    return Accept(text) ? absl::OkStatus() : Error(absl::StrCat("'", text, "'"));
  }
  absl::StatusOr<std::string> Name(ir::TokenKind kind, absl::string_view what);
  absl::StatusOr<int64_t> Int(absl::string_view what);
  absl::StatusOr<int64_t> Field(absl::string_view word);  // "ld 576"
  absl::StatusOr<int> Index(absl::string_view what);
  absl::StatusOr<int> Symbol();
  absl::StatusOr<ir::Type> Type();
  absl::StatusOr<formats::Format> Format();

 private:
  absl::StatusOr<ir::Dim> Dim();

  absl::string_view text_;
  std::string file_;
  const std::vector<ir::Symbol>* symbols_;
  ir::Lexer lexer_;
  ir::Token token_;
  size_t base_ = 0;  // where the lexer's text begins
};

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_TERM_PARSER_H_
