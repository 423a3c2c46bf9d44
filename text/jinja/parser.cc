#include "text/jinja/parser.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {

constexpr int kParseDepth = 200;  // nested tags and brackets

bool Parse(absl::string_view source, Tree* tree, Error* error) {
  Error lexer_error;
  std::vector<Token> tokens = Tokenize(source, &lexer_error);
  tree->root = Parser(std::move(tokens), lexer_error, tree, error).ParseTemplate();
  if (error->type.empty()) CheckTree(tree, error);
  return error->type.empty();
}

bool Parser::AtOp(absl::string_view op) const {
  return Current().kind == TokenKind::kOperator && Current().text == op;
}
bool Parser::AtName(absl::string_view name) const {
  return Current().kind == TokenKind::kName && Current().text == name;
}
bool Parser::NextIsOp(absl::string_view op) const {
  return pos_ + 1 < tokens_.size() && tokens_[pos_ + 1].kind == TokenKind::kOperator &&
         tokens_[pos_ + 1].text == op;
}
bool Parser::NextIsName(absl::string_view name) const {
  return pos_ + 1 < tokens_.size() && tokens_[pos_ + 1].kind == TokenKind::kName &&
         tokens_[pos_ + 1].text == name;
}

void Parser::Next() {
  if (pos_ + 1 < tokens_.size()) ++pos_;
  // What the lexer could not read is wrong only once everything before it has been parsed.
  if (pos_ + 1 == tokens_.size() && !lexer_error_.type.empty() && !failed()) {
    *error_ = lexer_error_;
  }
}

bool Parser::SkipOp(absl::string_view op) {
  const bool there = AtOp(op);
  if (there) Next();
  return there;
}
bool Parser::SkipName(absl::string_view name) {
  const bool there = AtName(name);
  if (there) Next();
  return there;
}

void Parser::Fail(const std::string& message, int line) {
  if (!failed()) *error_ = {kSyntaxError, message, line > 0 ? line : Current().line};
}

bool Parser::Expected(absl::string_view what) {
  if (Current().kind == TokenKind::kEnd) {
    Fail(absl::StrCat("unexpected end of template, expected ", ReprString(what), "."));
  } else {
    Fail(absl::StrCat("expected token ", ReprString(what), ", got ",
                      ReprString(Describe(Current()))));
  }
  return false;
}
bool Parser::ExpectOp(absl::string_view op) { return SkipOp(op) || Expected(op); }
bool Parser::ExpectName(absl::string_view name) { return SkipName(name) || Expected(name); }
bool Parser::ExpectKind(TokenKind kind, absl::string_view described) {
  if (Current().kind != kind) return Expected(described);
  Next();
  return true;
}
std::string Parser::ExpectAnyName() {
  const std::string name = Current().text;
  return ExpectKind(TokenKind::kName, "name") ? name : std::string();
}

const Node* Parser::Constant(Value value) {
  Node* node = Make(NodeKind::kConst);
  node->value = value;
  return node;
}

const Node* Parser::StringConstant(std::string text) {
  Str& string = tree_->strings.emplace_back();
  string.ascii = CharCount(text) == text.size();
  string.text = std::move(text);
  Value value;
  value.kind = Kind::kString;
  value.string = &string;
  return Constant(value);
}

bool Parser::TooDeep() {
  if (depth_ <= kParseDepth) return false;
  Fail(absl::StrCat("nested deeper than ", kParseDepth, " levels"));
  return true;
}

const Node* Parser::ParseTemplate() {
  if (pos_ + 1 == tokens_.size() && !lexer_error_.type.empty()) *error_ = lexer_error_;
  const Node* body = ParseBody({}, false);
  return failed() ? Nothing() : body;
}

// Statements up to a tag of `ends`, which is then the current token.
const Node* Parser::ParseBody(const std::vector<absl::string_view>& ends, bool drop_end) {
  Node* body = Make(NodeKind::kBody);
  ++depth_;
  if (!ends.empty()) ends_.push_back(ends);
  while (!failed() && !TooDeep() && Current().kind != TokenKind::kEnd) {
    const TokenKind kind = Current().kind;
    if (kind == TokenKind::kData) {
      Node* data = Make(NodeKind::kData);
      data->text = Current().text;
      body->kids.push_back(data);
      Next();
    } else if (kind == TokenKind::kVariableBegin) {
      Next();
      Node* print = Make(NodeKind::kPrint);
      print->kids.push_back(ParseTuple(true));
      body->kids.push_back(print);
      ExpectKind(TokenKind::kVariableEnd, "end of print statement");
    } else {
      Next();
      const bool ends_here = Current().kind == TokenKind::kName &&
                             std::find(ends.begin(), ends.end(), Current().text) != ends.end();
      if (ends_here && !failed()) break;
      body->kids.push_back(ParseStatement());
      ExpectKind(TokenKind::kBlockEnd, "end of statement block");
    }
  }
  if (!ends.empty()) {
    if (Current().kind == TokenKind::kEnd) FailUnknownTag(nullptr, Current().line);
    ends_.pop_back();
  }
  --depth_;
  if (drop_end && !failed()) Next();
  return body;
}

// The rest of a tag, and the statements up to one of `ends`.
const Node* Parser::ParseStatements(const std::vector<absl::string_view>& ends) {
  SkipOp(":");
  ExpectKind(TokenKind::kBlockEnd, "end of statement block");
  return ParseBody(ends, false);
}

void Parser::FailUnknownTag(const std::string* tag, int line) {
  std::string message = tag == nullptr
                            ? "Unexpected end of template."
                            : absl::StrCat("Encountered unknown tag ", ReprString(*tag), ".");
  if (!ends_.empty()) {
    std::vector<std::string> wanted;
    bool expected_outside = false;
    for (const absl::string_view end : ends_.back()) wanted.push_back(ReprString(end));
    for (const auto& outer : ends_) {
      expected_outside |=
          tag != nullptr && std::find(outer.begin(), outer.end(), *tag) != outer.end();
    }
    const std::string looking = absl::StrJoin(wanted, " or ");
    if (expected_outside) {
      absl::StrAppend(&message,
                      " You probably made a nesting mistake. Jinja is expecting this tag, but "
                      "currently looking for ",
                      looking, ".");
    } else {
      absl::StrAppend(&message, " Jinja was looking for the following tags: ", looking, ".");
    }
  }
  if (!tags_.empty()) {
    absl::StrAppend(&message, " The innermost block that needs to be closed is ",
                    ReprString(tags_.back()), ".");
  }
  Fail(message, line);
}

const Node* Parser::ParseStatement() {
  if (Current().kind != TokenKind::kName) {
    Fail("tag name expected");
    return Nothing();
  }
  const std::string tag = Current().text;
  const int line = Current().line;
  tags_.push_back(tag);
  const Node* node = ParseTag(tag);
  tags_.pop_back();
  if (node == nullptr) {
    FailUnknownTag(&tag, line);
    return Nothing();
  }
  return node;
}

// Null for a tag that there is not.
const Node* Parser::ParseTag(const std::string& tag) {
  if (tag == "for") return ParseFor();
  if (tag == "if") return ParseIf();
  if (tag == "set") return ParseSet();
  if (tag == "with") return ParseWith();
  if (tag == "macro") return ParseMacro();
  if (tag == "call") return ParseCallBlock();
  if (tag == "filter") return ParseFilterBlock();
  if (tag == "print") return ParsePrint();
  if (tag == "generation") return ParseGeneration();
  if (tag == "block") return ParseBlock();
  if (tag == "include" || tag == "import" || tag == "from" || tag == "extends") {
    return ParseLoader(tag);
  }
  if (tag == "break" || tag == "continue") {
    Node* node = Make(tag == "break" ? NodeKind::kBreak : NodeKind::kContinue);
    Next();
    return node;
  }
  return nullptr;
}

const Node* Parser::ParseTargetItem(bool with_namespace) {
  const Token token = Current();
  if (token.kind == TokenKind::kName) {
    static constexpr absl::string_view kConstants[] = {"true",  "True", "false",
                                                       "False", "none", "None"};
    if (std::find(std::begin(kConstants), std::end(kConstants), token.text) !=
        std::end(kConstants)) {
      Fail("can't assign to 'const'", token.line);
    }
    Node* node = Make(NodeKind::kName);
    node->text = token.text;
    Next();
    if (with_namespace && SkipOp(".")) {
      node->kind = NodeKind::kNamespaceRef;
      node->names.push_back(ExpectAnyName());
    }
    return node;
  }
  if (SkipOp("(")) {
    const Node* node = ParseTarget(with_namespace);
    ExpectOp(")");
    return node;
  }
  if (token.kind == TokenKind::kString || token.kind == TokenKind::kInteger ||
      token.kind == TokenKind::kFloat) {
    Fail("can't assign to 'const'");
  } else {
    Fail(absl::StrCat("unexpected ", ReprString(Describe(token))));
  }
  return Nothing();
}

const Node* Parser::ParseTarget(bool with_namespace, absl::string_view end) {
  ++depth_;
  Node* tuple = Make(NodeKind::kTuple);
  bool is_tuple = false;
  while (!failed() && !TooDeep()) {
    if (AtTupleEnd(end)) break;
    tuple->kids.push_back(ParseTargetItem(with_namespace));
    if (!SkipOp(",")) break;
    is_tuple = true;
  }
  --depth_;
  if (is_tuple) return tuple;
  if (!tuple->kids.empty()) return tuple->kids[0];
  Fail(absl::StrCat("Expected an expression, got ", ReprString(Describe(Current()))));
  return tuple;
}

const Node* Parser::ParseFor() {
  Node* node = Make(NodeKind::kFor);
  Next();
  const Node* target = ParseTarget(false, "in");
  ExpectName("in");
  const Node* items = ParseTuple(false, "recursive");
  const Node* filter = SkipName("if") ? ParseExpression() : nullptr;
  node->flag = SkipName("recursive");
  const Node* body = ParseStatements({"endfor", "else"});
  const Node* otherwise = nullptr;
  if (!failed() && SkipName("else")) otherwise = ParseStatements({"endfor"});
  if (!failed()) Next();
  node->kids = {target, items, filter, body, otherwise};
  return node;
}

const Node* Parser::ParseIf() {
  Node* first = Make(NodeKind::kIf);
  Node* node = first;
  Next();
  while (true) {
    const Node* condition = ParseTuple(false);
    const Node* body = ParseStatements({"elif", "else", "endif"});
    node->kids = {condition, body, nullptr};
    if (failed() || !AtName("elif")) break;
    Node* next = Make(NodeKind::kIf);
    Next();
    node->kids[2] = next;
    node = next;
  }
  if (!failed() && SkipName("else")) node->kids[2] = ParseStatements({"endif"});
  if (!failed()) Next();
  return first;
}

const Node* Parser::ParseSet() {
  Node* node = Make(NodeKind::kSet);
  Next();
  const Node* target = ParseTarget(true);
  if (SkipOp("=")) {
    node->kids = {target, ParseTuple(true)};
    return node;
  }
  node->kind = NodeKind::kSetBlock;
  const Node* filter = AtOp("|") ? ParseFilter(nullptr, false) : nullptr;
  const Node* body = ParseStatements({"endset"});
  if (!failed()) Next();
  node->kids = {target, filter, body};
  return node;
}

const Node* Parser::ParseWith() {
  Node* node = Make(NodeKind::kWith);
  Next();
  node->kids.push_back(nullptr);
  while (!failed() && Current().kind != TokenKind::kBlockEnd) {
    if (node->kids.size() > 1 && !ExpectOp(",")) break;
    node->kids.push_back(ParseTarget(false));
    ExpectOp("=");
    node->kids.push_back(ParseExpression());
  }
  node->kids[0] = ParseStatements({"endwith"});
  if (!failed()) Next();
  return node;
}

void Parser::ParseSignature(Node* macro) {
  ExpectOp("(");
  while (!failed() && !AtOp(")")) {
    if (!macro->names.empty() && !ExpectOp(",")) return;
    macro->names.push_back(ExpectAnyName());
    if (SkipOp("=")) {
      macro->kids.push_back(ParseExpression());
    } else if (macro->kids.size() > 1) {
      Fail("non-default argument follows default argument");
    }
  }
  ExpectOp(")");
}

const Node* Parser::ParseMacro() {
  Node* node = Make(NodeKind::kMacro);
  Next();
  node->text = ExpectAnyName();
  node->kids.push_back(nullptr);
  ParseSignature(node);
  node->kids[0] = ParseStatements({"endmacro"});
  if (!failed()) Next();
  return node;
}

const Node* Parser::ParseCallBlock() {
  Node* node = Make(NodeKind::kCallBlock);
  Next();
  Node* macro = Make(NodeKind::kMacro);
  macro->text = "caller";
  macro->kids.push_back(nullptr);
  if (AtOp("(")) ParseSignature(macro);
  const Node* call = ParseExpression();
  if (call->kind != NodeKind::kCall) Fail("expected call", node->line);
  macro->kids[0] = ParseStatements({"endcall"});
  if (!failed()) Next();
  node->kids = {call, macro};
  return node;
}

const Node* Parser::ParseFilterBlock() {
  Node* node = Make(NodeKind::kFilterBlock);
  Next();
  const Node* filter = ParseFilter(nullptr, true);
  const Node* body = ParseStatements({"endfilter"});
  if (!failed()) Next();
  node->kids = {filter, body};
  return node;
}

const Node* Parser::ParsePrint() {
  Node* node = Make(NodeKind::kPrint);
  Next();
  while (!failed() && Current().kind != TokenKind::kBlockEnd) {
    if (!node->kids.empty() && !ExpectOp(",")) break;
    node->kids.push_back(ParseExpression());
  }
  return node;
}

const Node* Parser::ParseGeneration() {
  Node* node = Make(NodeKind::kGeneration);
  Next();
  node->kids.push_back(ParseStatements({"endgeneration"}));
  if (!failed()) Next();
  return node;
}

const Node* Parser::ParseBlock() {
  Node* node = Make(NodeKind::kScope);
  Next();
  const std::string name = ExpectAnyName();
  node->flag = SkipName("scoped");
  SkipName("required");
  node->kids.push_back(ParseStatements({"endblock"}));
  if (!failed()) Next();
  SkipName(name);
  return node;
}

const Node* Parser::ParseLoader(const std::string& tag) {
  Node* node = Make(NodeKind::kLoader);
  Next();
  node->kids.push_back(ParseExpression());
  if (tag == "from") ExpectName("import");
  if (tag == "import") ExpectName("as");
  // What would be imported does not matter: nothing can be.
  while (!failed() && Current().kind != TokenKind::kBlockEnd &&
         (Current().kind == TokenKind::kName || (tag == "from" && AtOp(",")))) {
    if (tag == "extends") break;
    Next();
  }
  return node;
}

}  // namespace jinja
}  // namespace ninfer
