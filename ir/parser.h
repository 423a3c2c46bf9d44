// The parser's inside: see text.h for its use and parser.cc for its idea.
// Tested by tests/ir_text_test.cc.
#ifndef NINFER_IR_PARSER_H_
#define NINFER_IR_PARSER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/lexer.h"
#include "ir/module.h"

namespace ninfer::ir {

// The values that statements may use: one scope a function, and one a body.
struct Scope {
  Function* function;
  absl::flat_hash_map<std::string, Value*> values;
  int depth = 0;
};

class Parser {
 public:
  // `module` is null when one function is parsed by itself: then no weights are known.
  Parser(absl::string_view text, absl::string_view file, int first_line, Module* module,
         absl::Span<const Symbol> symbols)
      : file_(file), module_(module), symbols_(symbols), lexer_(text, first_line) {
    Advance();
  }

  absl::Status ParseHeader(std::string* name, Stage* stage);
  absl::Status ParseItems();
  // From "func" to "}".
  absl::StatusOr<std::unique_ptr<Function>> ParseFunction();
  size_t consumed() const { return consumed_; }

 private:
  void Advance() {
    consumed_ = token_.end;
    token_ = lexer_.Next();
  }
  absl::Status Error(absl::string_view expected) const;
  bool Is(absl::string_view text) const {
    return token_.text == text && token_.kind != TokenKind::kString;
  }
  bool IsKind(TokenKind kind) const { return token_.kind == kind; }
  bool Accept(absl::string_view text);
  absl::Status Expect(absl::string_view text);
  absl::Status Expect(TokenKind kind, absl::string_view what, std::string* name);
  // Gives the comment that ends the statement just read.
  std::string Provenance() const { return std::string(lexer_.comment()); }

  absl::Status ParseDimension();
  absl::Status ParseWeight();
  absl::StatusOr<std::vector<float>> ParseLiteral();
  absl::StatusOr<int64_t> ParseInt(absl::string_view what);
  template <typename Float>
  absl::StatusOr<Float> ParseFloat();
  absl::StatusOr<Dim> ParseDim();
  absl::StatusOr<Type> ParseType();
  absl::Status ParseParameters(Scope& scope);
  absl::Status ParseBody(Scope& scope);
  absl::Status ParseNode(Scope& scope);
  absl::Status ParseReturn(Scope& scope);
  absl::Status Define(Scope& scope, const Token& token, Value* value);
  absl::StatusOr<Value*> ParseUse(const Scope& scope);
  absl::Status ParseOperands(const Scope& scope, std::vector<Value*>& operands);
  absl::Status ParseRegionOperands(const Scope& scope, std::vector<Value*>& operands, Scope& body);
  absl::Status ParseAttrs(const OpInfo& info, std::vector<Attr>& attrs);
  absl::StatusOr<AttrValue> ParseAttrValue(bool as_float);

  std::string file_;
  Module* module_;
  absl::Span<const Symbol> symbols_;
  Lexer lexer_;
  Token token_;
  size_t consumed_ = 0;
};

}  // namespace ninfer::ir

#endif  // NINFER_IR_PARSER_H_
