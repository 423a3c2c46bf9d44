// Jinja's grammar by recursive descent, with its messages. Tested by
// tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_PARSER_H_
#define NINFER_TEXT_JINJA_PARSER_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace ninfer {
namespace jinja {

// Parses and checks the whole template. False with `error` set where it is wrong.
bool Parse(absl::string_view source, Tree* tree, Error* error);

// What is wrong with a template that its grammar allows: filters and tests that there are not,
// `break` outside of a loop. Also notes what each macro uses.
void CheckTree(Tree* tree, Error* error);

class Parser {
 public:
  Parser(std::vector<Token> tokens, const Error& lexer_error, Tree* tree, Error* error)
      : tokens_(std::move(tokens)), lexer_error_(lexer_error), tree_(tree), error_(error) {}
  const Node* ParseTemplate();

 private:
  // Tokens.
  const Token& Current() const { return tokens_[pos_]; }
  bool AtOp(absl::string_view op) const;
  bool AtName(absl::string_view name) const;
  bool NextIsOp(absl::string_view op) const;
  bool NextIsName(absl::string_view name) const;
  void Next();
  bool SkipOp(absl::string_view op);
  bool SkipName(absl::string_view name);
  bool ExpectOp(absl::string_view op);
  bool ExpectName(absl::string_view name);
  std::string ExpectAnyName();
  bool ExpectKind(TokenKind kind, absl::string_view described);
  bool Expected(absl::string_view what);
  void Fail(const std::string& message, int line = 0);
  bool failed() const { return !error_->type.empty(); }
  Node* Make(NodeKind kind) { return tree_->Add(kind, Current().line); }
  const Node* Constant(Value value);
  const Node* StringConstant(std::string text);

  // Expressions (parser_expression.cc). Every function gives a node, also after an error.
  const Node* ParseExpression(bool with_choice = true);
  const Node* ParseChoice();
  const Node* ParseOr();
  const Node* ParseAnd();
  const Node* ParseNot();
  const Node* ParseCompare();
  const Node* ParseSum();
  const Node* ParseConcat();
  const Node* ParseProduct();
  const Node* ParsePower();
  const Node* ParseUnary(bool with_filter = true);
  const Node* ParsePrimary();
  const Node* ParseNumber();
  const Node* ParseListOrDict();
  const Node* ParsePostfix(const Node* node);
  const Node* ParseFilters(const Node* node);
  const Node* ParseSubscript(const Node* node);
  const Node* ParseSubscribed();
  const Node* ParseCall(const Node* callee);
  void ParseArguments(Node* node);
  const Node* ParseFilter(const Node* input, bool inline_name);
  const Node* ParseTest(const Node* input);
  // A tuple without brackets, or the expression if there is no comma. `end`: a name that ends it.
  const Node* ParseTuple(bool with_choice, absl::string_view end = "", bool in_brackets = false);
  bool AtTupleEnd(absl::string_view end) const;

  // Statements (parser.cc).
  const Node* ParseBody(const std::vector<absl::string_view>& ends, bool drop_end);
  const Node* ParseStatements(const std::vector<absl::string_view>& ends);
  const Node* ParseStatement();
  const Node* ParseTag(const std::string& tag);
  const Node* ParseFor();
  const Node* ParseIf();
  const Node* ParseSet();
  const Node* ParseWith();
  const Node* ParseMacro();
  void ParseSignature(Node* macro);
  const Node* ParseCallBlock();
  const Node* ParseFilterBlock();
  const Node* ParsePrint();
  const Node* ParseGeneration();
  const Node* ParseBlock();
  const Node* ParseLoader(const std::string& tag);
  const Node* ParseTarget(bool with_namespace, absl::string_view end = "");
  const Node* ParseTargetItem(bool with_namespace);
  void FailUnknownTag(const std::string* tag, int line);

  // A node after an error, so that nobody meets null.
  const Node* Nothing() { return Make(NodeKind::kConst); }
  bool TooDeep();

  std::vector<Token> tokens_;
  const Error& lexer_error_;
  Tree* tree_;
  Error* error_;
  size_t pos_ = 0;
  int depth_ = 0;
  std::vector<std::string> tags_;                     // those that are open
  std::vector<std::vector<absl::string_view>> ends_;  // the tags that each waits for
};

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_PARSER_H_
