#include <algorithm>
#include <limits>

#include "absl/strings/str_replace.h"
#include "text/jinja/parser.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {

const Node* Parser::ParseExpression(bool with_choice) {
  ++depth_;
  const Node* node = TooDeep() ? Nothing() : with_choice ? ParseChoice() : ParseOr();
  --depth_;
  return node;
}

const Node* Parser::ParseChoice() {
  const Node* then = ParseOr();
  while (!failed() && AtName("if")) {
    Node* node = Make(NodeKind::kChoice);
    Next();
    const Node* condition = ParseOr();
    const Node* otherwise = nullptr;
    if (SkipName("else")) {
      ++depth_;
      otherwise = TooDeep() ? Nothing() : ParseChoice();
      --depth_;
    }
    node->kids = {condition, then, otherwise};
    then = node;
  }
  return then;
}

const Node* Parser::ParseOr() {
  const Node* left = ParseAnd();
  while (!failed() && AtName("or")) {
    Node* node = Make(NodeKind::kOr);
    Next();
    node->kids = {left, ParseAnd()};
    left = node;
  }
  return left;
}

const Node* Parser::ParseAnd() {
  const Node* left = ParseNot();
  while (!failed() && AtName("and")) {
    Node* node = Make(NodeKind::kAnd);
    Next();
    node->kids = {left, ParseNot()};
    left = node;
  }
  return left;
}

const Node* Parser::ParseNot() {
  if (!AtName("not")) return ParseCompare();
  Node* node = Make(NodeKind::kNot);
  Next();
  ++depth_;
  node->kids = {TooDeep() || failed() ? Nothing() : ParseNot()};
  --depth_;
  return node;
}

const Node* Parser::ParseCompare() {
  Node* node = Make(NodeKind::kCompare);
  node->kids.push_back(ParseSum());
  while (!failed()) {
    static constexpr absl::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
    std::string op;
    for (const absl::string_view each : kOperators) {
      if (AtOp(each)) op = std::string(each);
    }
    if (AtName("in")) op = "in";
    if (AtName("not") && NextIsName("in")) {
      op = "not in";
      Next();
    }
    if (op.empty()) break;
    Next();
    node->names.push_back(op);
    node->kids.push_back(ParseSum());
  }
  return node->names.empty() ? node->kids[0] : node;
}

const Node* Parser::ParseSum() {
  const Node* left = ParseConcat();
  while (!failed() && (AtOp("+") || AtOp("-"))) {
    Node* node = Make(NodeKind::kBinary);
    node->op = AtOp("+") ? BinaryOp::kAdd : BinaryOp::kSub;
    Next();
    node->kids = {left, ParseConcat()};
    left = node;
  }
  return left;
}

const Node* Parser::ParseConcat() {
  Node* node = Make(NodeKind::kConcat);
  node->kids.push_back(ParseProduct());
  while (!failed() && SkipOp("~")) node->kids.push_back(ParseProduct());
  return node->kids.size() == 1 ? node->kids[0] : node;
}

const Node* Parser::ParseProduct() {
  const Node* left = ParsePower();
  while (!failed() && (AtOp("*") || AtOp("/") || AtOp("//") || AtOp("%"))) {
    Node* node = Make(NodeKind::kBinary);
    node->op = AtOp("*")    ? BinaryOp::kMul
               : AtOp("/")  ? BinaryOp::kDiv
               : AtOp("//") ? BinaryOp::kFloorDiv
                            : BinaryOp::kMod;
    Next();
    node->kids = {left, ParsePower()};
    left = node;
  }
  return left;
}

const Node* Parser::ParsePower() {
  const Node* left = ParseUnary();
  while (!failed() && AtOp("**")) {
    Node* node = Make(NodeKind::kBinary);
    node->op = BinaryOp::kPow;
    Next();
    node->kids = {left, ParseUnary()};
    left = node;
  }
  return left;
}

const Node* Parser::ParseUnary(bool with_filter) {
  const Node* node = nullptr;
  if (AtOp("-") || AtOp("+")) {
    Node* sign = Make(AtOp("-") ? NodeKind::kNegate : NodeKind::kPlus);
    Next();
    ++depth_;
    sign->kids = {TooDeep() || failed() ? Nothing() : ParseUnary(false)};
    --depth_;
    node = sign;
  } else {
    node = ParsePrimary();
  }
  node = ParsePostfix(node);
  return with_filter ? ParseFilters(node) : node;
}

const Node* Parser::ParseNumber() {
  const Token token = Current();
  Next();
  if (token.kind == TokenKind::kFloat) {
    return Constant(Value::Number(ParseFloat(token.text).value_or(0)));
  }
  const auto value = ParseInt(absl::StrReplaceAll(token.text, {{"_", ""}}), 0);
  if (!value.has_value()) Fail("the integer is too large", token.line);
  return Constant(Value::Integer(value.value_or(0)));
}

const Node* Parser::ParsePrimary() {
  const Token token = Current();
  switch (token.kind) {
    case TokenKind::kName: {
      Node* node = Make(NodeKind::kName);
      Next();
      const std::string& name = token.text;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        node->kind = NodeKind::kConst;
        node->value = Value::Bool(name == "true" || name == "True");
      } else if (name == "none" || name == "None") {
        node->kind = NodeKind::kConst;
        node->value = Value::None();
      } else {
        node->text = name;
      }
      return node;
    }
    case TokenKind::kString: {
      std::string text;
      while (!failed() && Current().kind == TokenKind::kString) {
        text += Current().text;
        Next();
      }
      return StringConstant(std::move(text));
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseNumber();
    default:
      break;
  }
  if (AtOp("[") || AtOp("{")) return ParseListOrDict();
  if (!AtOp("(")) {
    Fail(absl::StrCat("unexpected ", ReprString(Describe(token))));
    return Nothing();
  }
  Next();
  const Node* node = ParseTuple(true, "", true);
  ExpectOp(")");
  return node;
}

const Node* Parser::ParseListOrDict() {
  const bool dict = AtOp("{");
  const absl::string_view close = dict ? "}" : "]";
  Node* node = Make(dict ? NodeKind::kDict : NodeKind::kList);
  Next();
  while (!failed() && !AtOp(close)) {
    if (!node->kids.empty() && !ExpectOp(",")) break;
    if (AtOp(close)) break;
    node->kids.push_back(ParseExpression());
    if (!dict) continue;
    ExpectOp(":");
    node->kids.push_back(ParseExpression());
  }
  ExpectOp(close);
  return node;
}

bool Parser::AtTupleEnd(absl::string_view end) const {
  const TokenKind kind = Current().kind;
  return kind == TokenKind::kVariableEnd || kind == TokenKind::kBlockEnd || AtOp(")") ||
         (!end.empty() && AtName(end));
}

const Node* Parser::ParseTuple(bool with_choice, absl::string_view end, bool in_brackets) {
  Node* tuple = Make(NodeKind::kTuple);
  bool is_tuple = false;
  while (!failed()) {
    if (AtTupleEnd(end)) break;
    tuple->kids.push_back(ParseExpression(with_choice));
    if (!SkipOp(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return tuple;
  if (!tuple->kids.empty()) return tuple->kids[0];
  if (!in_brackets) {
    Fail(absl::StrCat("Expected an expression, got ", ReprString(Describe(Current()))));
  }
  return tuple;
}

const Node* Parser::ParsePostfix(const Node* node) {
  while (!failed()) {
    if (AtOp(".") || AtOp("[")) {
      node = ParseSubscript(node);
    } else if (AtOp("(")) {
      node = ParseCall(node);
    } else {
      break;
    }
  }
  return node;
}

const Node* Parser::ParseFilters(const Node* node) {
  while (!failed()) {
    if (AtOp("|")) {
      node = ParseFilter(node, false);
    } else if (AtName("is")) {
      node = ParseTest(node);
    } else if (AtOp("(")) {
      node = ParseCall(node);
    } else {
      break;
    }
  }
  return node;
}

const Node* Parser::ParseSubscript(const Node* object) {
  if (SkipOp(".")) {
    const Token attribute = Current();
    Node* node = Make(NodeKind::kGetAttr);
    if (attribute.kind == TokenKind::kName) {
      node->text = attribute.text;
      node->kids = {object};
      Next();
      return node;
    }
    if (attribute.kind != TokenKind::kInteger) Fail("expected name or number");
    node->kind = NodeKind::kGetItem;
    node->kids = {object, failed() ? Nothing() : ParseNumber()};
    return node;
  }
  Node* node = Make(NodeKind::kGetItem);
  Next();
  Node* index = Make(NodeKind::kTuple);
  while (!failed() && !AtOp("]")) {
    if (!index->kids.empty() && !ExpectOp(",")) break;
    index->kids.push_back(ParseSubscribed());
  }
  ExpectOp("]");
  node->kids = {object, index->kids.size() == 1 ? index->kids[0] : index};
  return node;
}

const Node* Parser::ParseSubscribed() {
  Node* slice = Make(NodeKind::kSlice);
  slice->kids = {nullptr, nullptr, nullptr};
  if (!AtOp(":")) {
    const Node* first = ParseExpression();
    if (!AtOp(":")) return first;
    slice->kids[0] = first;
  }
  for (int part = 1; part < 3 && SkipOp(":"); ++part) {
    if (!AtOp(":") && !AtOp("]") && !AtOp(",")) slice->kids[part] = ParseExpression();
  }
  return slice;
}

void Parser::ParseArguments(Node* node) {
  const int line = Current().line;
  ExpectOp("(");
  bool first = true;
  const auto ensure = [&](bool fine) {
    if (!fine) Fail("invalid syntax for function call expression", line);
  };
  while (!failed() && !AtOp(")")) {
    if (!first) {
      if (!ExpectOp(",") || AtOp(")")) break;
    }
    first = false;
    if (SkipOp("*")) {
      ensure(node->more == nullptr && node->more_named == nullptr);
      node->more = ParseExpression();
    } else if (SkipOp("**")) {
      ensure(node->more_named == nullptr);
      node->more_named = ParseExpression();
    } else if (Current().kind == TokenKind::kName && NextIsOp("=")) {
      ensure(node->more_named == nullptr);
      const std::string name = Current().text;
      Next();
      Next();
      node->named.emplace_back(name, ParseExpression());
    } else {
      ensure(node->more == nullptr && node->more_named == nullptr && node->named.empty());
      node->kids.push_back(ParseExpression());
    }
  }
  ExpectOp(")");
}

const Node* Parser::ParseCall(const Node* callee) {
  Node* node = Make(NodeKind::kCall);
  node->kids = {callee};
  ParseArguments(node);
  return node;
}

// One filter behind `|`, or within a tag a chain of them, whose first needs no `|`.
const Node* Parser::ParseFilter(const Node* input, bool inline_name) {
  const bool chain = input == nullptr;
  while (!failed() && (AtOp("|") || inline_name)) {
    if (!inline_name) Next();
    inline_name = false;
    Node* node = Make(NodeKind::kFilter);
    node->text = ExpectAnyName();
    while (SkipOp(".")) absl::StrAppend(&node->text, ".", ExpectAnyName());
    node->kids = {input};
    if (AtOp("(")) ParseArguments(node);
    input = node;
    if (!chain) break;
  }
  return input == nullptr ? Nothing() : input;
}

const Node* Parser::ParseTest(const Node* input) {
  Next();
  const bool negated = SkipName("not");
  Node* node = Make(NodeKind::kTest);
  node->text = ExpectAnyName();
  while (SkipOp(".")) absl::StrAppend(&node->text, ".", ExpectAnyName());
  node->kids = {input};
  const TokenKind kind = Current().kind;
  if (AtOp("(")) {
    ParseArguments(node);
  } else if ((kind == TokenKind::kName || kind == TokenKind::kString ||
              kind == TokenKind::kInteger || kind == TokenKind::kFloat || AtOp("[") || AtOp("{")) &&
             !AtName("else") && !AtName("or") && !AtName("and")) {
    if (AtName("is")) Fail("You cannot chain multiple tests with is");
    if (!failed()) node->kids.push_back(ParsePostfix(ParsePrimary()));
  }
  if (!negated) return node;
  Node* negation = Make(NodeKind::kNot);
  negation->kids = {node};
  return negation;
}

}  // namespace jinja
}  // namespace ninfer
