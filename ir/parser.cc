// The text form, parsed by format: a statement is results, an op's name, operands, attributes, a
// body where the op is a region, and types; what an op wants of these is left to the verifier.
// Recursive descent with one token of lookahead; only bodies nest, and their depth is limited. The
// parser refuses what the graph cannot hold: unknown ops and dimensions, a name defined twice, a
// value used before its definition.
//
// Tested by tests/ir_text_test.cc, tests/fuzz/ir_text_fuzz.cc.
#include "ir/parser.h"

#include <charconv>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "ir/text.h"

namespace ninfer::ir {
namespace {

constexpr int kMaxDepth = 4;

}  // namespace

// --- the module ----------------------------------------------------------------------------------

absl::Status Parser::ParseHeader(std::string* name, Stage* stage) {
  NINFER_RETURN_IF_ERROR(Expect("module"));
  NINFER_ASSIGN_OR_RETURN(*name, ParseName(TokenKind::kString, "the module's name in quotes"));
  NINFER_RETURN_IF_ERROR(Expect("stage"));
  const absl::optional<Stage> found = StageFromName(token().text);
  if (!found.has_value()) {
    return Error("one of the stages imported, optimised, attention, fused");
  }
  *stage = *found;
  Advance();
  return absl::OkStatus();
}

absl::Status Parser::ParseItems() {
  while (!IsKind(TokenKind::kEnd)) {
    if (Is("dim")) {
      NINFER_RETURN_IF_ERROR(ParseDimension());
    } else if (Is("weight")) {
      NINFER_RETURN_IF_ERROR(ParseWeight());
    } else if (Is("func")) {
      NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Function> function, ParseFunction());
      module_->AddFunction(std::move(function));
    } else {
      return Error("dim, weight or func");
    }
  }
  return absl::OkStatus();
}

absl::Status Parser::ParseDimension() {
  NINFER_RETURN_IF_ERROR(Expect("dim"));
  if (module_->FindSymbol(token().text) >= 0) return Error("a dimension not declared above");
  NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kWord, "a dimension's name"));
  NINFER_RETURN_IF_ERROR(Expect("in"));
  NINFER_RETURN_IF_ERROR(Expect("["));
  NINFER_ASSIGN_OR_RETURN(const int64_t min, ParseInt("a lower bound"));
  NINFER_RETURN_IF_ERROR(Expect(","));
  NINFER_ASSIGN_OR_RETURN(const int64_t max, ParseInt("an upper bound"));
  NINFER_RETURN_IF_ERROR(Expect("]"));
  module_->AddSymbol(std::move(name), min, max);
  set_symbols(module_->symbols());
  return absl::OkStatus();
}

absl::Status Parser::ParseWeight() {
  NINFER_RETURN_IF_ERROR(Expect("weight"));
  if (IsKind(TokenKind::kGlobal) && module_->FindWeight(token().name) != nullptr) {
    return Error("a weight not declared above");
  }
  NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kGlobal, "a weight's name"));
  NINFER_RETURN_IF_ERROR(Expect(":"));
  NINFER_ASSIGN_OR_RETURN(const Type type, ParseType());
  Value* weight = nullptr;
  if (Is("=")) {
    const bool vector = !type.is_kv && type.dtype == DType::kF32 && type.rank() == 1;
    if (!vector || !type.shape[0].is_static()) return Error("no data for a weight not f32[n]");
    Advance();
    NINFER_ASSIGN_OR_RETURN(std::vector<float> elements, ParseLiteral());
    if (static_cast<int64_t>(elements.size()) != type.shape[0].offset) {
      return InvalidArgument(file(), ":", token().line, ": weight @", name, ": expected ",
                             type.shape[0].offset, " elements, found ", elements.size());
    }
    weight = module_->AddLiteral(std::move(name), std::move(elements));
  } else {
    weight = module_->AddWeight(std::move(name), type);
  }
  weight->set_provenance(Provenance());
  return absl::OkStatus();
}

// --- literals ------------------------------------------------------------------------------------

template <typename Float>
absl::StatusOr<Float> Parser::ParseFloat() {
  Float value = 0;
  const char* end = token().text.data() + token().text.size();
  const auto result = std::from_chars(token().text.data(), end, value);
  const bool number = IsKind(TokenKind::kNumber) || Is("inf") || Is("nan");
  if (!number || result.ec != std::errc() || result.ptr != end) return Error("a number");
  Advance();
  return value;
}

absl::StatusOr<std::vector<float>> Parser::ParseLiteral() {
  NINFER_RETURN_IF_ERROR(Expect("["));
  std::vector<float> elements;
  do {
    NINFER_ASSIGN_OR_RETURN(const float element, ParseFloat<float>());
    elements.push_back(element);
  } while (Accept(","));
  NINFER_RETURN_IF_ERROR(Expect("]"));
  return elements;
}

// --- attributes ----------------------------------------------------------------------------------

absl::Status Parser::ParseAttrs(const OpInfo& info, std::vector<Attr>& attrs) {
  NINFER_RETURN_IF_ERROR(Expect("{"));
  if (Accept("}")) return absl::OkStatus();
  do {
    for (const Attr& attr : attrs) {
      if (token().text == attr.name) return Error("an attribute not given before");
    }
    Attr attr;
    NINFER_ASSIGN_OR_RETURN(attr.name, ParseName(TokenKind::kWord, "an attribute's name"));
    NINFER_RETURN_IF_ERROR(Expect("="));
    bool as_float = false;
    for (const AttrSpec& spec : info.attributes) {
      as_float |= spec.name == attr.name && spec.kind == AttrKind::kFloat;
    }
    NINFER_ASSIGN_OR_RETURN(attr.value, ParseAttrValue(as_float));
    attrs.push_back(std::move(attr));
  } while (Accept(","));
  return Expect("}");
}

absl::StatusOr<AttrValue> Parser::ParseAttrValue(bool as_float) {
  if (IsKind(TokenKind::kString)) {
    const std::string text = token().name;
    Advance();
    return AttrValue(text);
  }
  if (Accept("true")) return AttrValue(true);
  if (Accept("false")) return AttrValue(false);
  if (Accept("[")) {
    std::vector<int64_t> values;
    if (Accept("]")) return AttrValue(values);
    do {
      NINFER_ASSIGN_OR_RETURN(const int64_t value, ParseInt("an integer"));
      values.push_back(value);
    } while (Accept(","));
    NINFER_RETURN_IF_ERROR(Expect("]"));
    return AttrValue(values);
  }
  const bool fraction = token().text.find_first_of(".en") != absl::string_view::npos;
  if (as_float || fraction) {
    NINFER_ASSIGN_OR_RETURN(const double value, ParseFloat<double>());
    return AttrValue(value);
  }
  NINFER_ASSIGN_OR_RETURN(const int64_t value, ParseInt("an attribute's value"));
  return AttrValue(value);
}

// --- functions -----------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<Function>> Parser::ParseFunction() {
  NINFER_RETURN_IF_ERROR(Expect("func"));
  if (IsKind(TokenKind::kGlobal) && module_ != nullptr &&
      module_->FindFunction(token().name) != nullptr) {
    return Error("a function not defined above");
  }
  NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kGlobal, "a function's name"));
  auto function = std::make_unique<Function>(std::move(name));
  Scope scope{function.get(), {}, 0};
  NINFER_RETURN_IF_ERROR(ParseParameters(scope));
  NINFER_RETURN_IF_ERROR(ParseBody(scope));
  return function;
}

absl::Status Parser::ParseParameters(Scope& scope) {
  NINFER_RETURN_IF_ERROR(Expect("("));
  if (Accept(")")) return absl::OkStatus();
  do {
    const Token first = token();
    NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kValue, "a parameter's name"));
    NINFER_RETURN_IF_ERROR(Expect(":"));
    NINFER_ASSIGN_OR_RETURN(const Type type, ParseType());
    NINFER_RETURN_IF_ERROR(Define(scope, first, scope.function->AddParameter(name, type)));
  } while (Accept(","));
  return Expect(")");
}

absl::Status Parser::ParseBody(Scope& scope) {
  NINFER_RETURN_IF_ERROR(Expect("{"));
  while (!Is("return")) {
    if (!IsKind(TokenKind::kValue)) return Error("a statement or return");
    NINFER_RETURN_IF_ERROR(ParseNode(scope));
  }
  NINFER_RETURN_IF_ERROR(ParseReturn(scope));
  return Expect("}");
}

absl::Status Parser::ParseReturn(Scope& scope) {
  NINFER_RETURN_IF_ERROR(Expect("return"));
  return ParseOperands(scope, scope.function->results());
}

absl::Status Parser::Define(Scope& scope, const Token& token, Value* value) {
  if (value->is_parameter() && IsNumberName(token.name)) {
    return InvalidArgument(file(), ":", token.line, ": expected a parameter's name, found ",
                           token.text);
  }
  if (!scope.values.emplace(token.name, value).second) {
    return InvalidArgument(file(), ":", token.line, ": expected a name not defined above, found ",
                           absl::Utf8SafeCHexEscape(token.text));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value*> Parser::ParseUse(const Scope& scope) {
  Value* value = nullptr;
  if (IsKind(TokenKind::kGlobal)) {
    value = module_ == nullptr ? nullptr : module_->FindWeight(token().name);
    if (value == nullptr) return Error("a weight declared above");
  } else if (IsKind(TokenKind::kValue)) {
    const auto it = scope.values.find(token().name);
    if (it == scope.values.end()) return Error("a value defined above");
    value = it->second;
  } else {
    return Error("a value or a weight");
  }
  Advance();
  return value;
}

absl::Status Parser::ParseOperands(const Scope& scope, std::vector<Value*>& operands) {
  if (!IsKind(TokenKind::kValue) && !IsKind(TokenKind::kGlobal)) return absl::OkStatus();
  do {
    NINFER_ASSIGN_OR_RETURN(Value * value, ParseUse(scope));
    operands.push_back(value);
  } while (Accept(","));
  return absl::OkStatus();
}

absl::Status Parser::ParseRegionOperands(const Scope& scope, std::vector<Value*>& operands,
                                         Scope& body) {
  NINFER_RETURN_IF_ERROR(Expect("("));
  if (Accept(")")) return absl::OkStatus();
  do {
    const Token first = token();
    NINFER_ASSIGN_OR_RETURN(std::string name, ParseName(TokenKind::kValue, "a parameter's name"));
    NINFER_RETURN_IF_ERROR(Expect("="));
    NINFER_ASSIGN_OR_RETURN(Value * value, ParseUse(scope));
    operands.push_back(value);
    NINFER_RETURN_IF_ERROR(Define(body, first, body.function->AddParameter(name, value->type())));
  } while (Accept(","));
  return Expect(")");
}

absl::Status Parser::ParseNode(Scope& scope) {
  const int line = token().line;
  std::vector<Token> names;
  do {
    names.push_back(token());
    NINFER_RETURN_IF_ERROR(ParseName(TokenKind::kValue, "a result's name").status());
  } while (Accept(","));
  NINFER_RETURN_IF_ERROR(Expect("="));
  const absl::optional<Op> op = IsKind(TokenKind::kWord) ? OpFromName(token().text) : absl::nullopt;
  if (!op.has_value()) return Error("an op");
  Advance();

  const OpInfo& info = InfoOf(*op);
  std::vector<Value*> operands;
  std::vector<Attr> attrs;
  std::unique_ptr<Function> body;
  if (info.op_class == OpClass::kRegion) {
    if (scope.depth == kMaxDepth)
      return Error(absl::StrCat("regions at most ", kMaxDepth, " deep"));
    body = std::make_unique<Function>("body");
    Scope inner{body.get(), {}, scope.depth + 1};
    NINFER_RETURN_IF_ERROR(ParseRegionOperands(scope, operands, inner));
    NINFER_RETURN_IF_ERROR(ParseAttrs(info, attrs));
    NINFER_RETURN_IF_ERROR(ParseBody(inner));
  } else {
    NINFER_RETURN_IF_ERROR(ParseOperands(scope, operands));
    if (Is("{")) NINFER_RETURN_IF_ERROR(ParseAttrs(info, attrs));
  }

  NINFER_RETURN_IF_ERROR(Expect(":"));
  std::vector<Type> types;
  do {
    NINFER_ASSIGN_OR_RETURN(Type type, ParseType());
    types.push_back(std::move(type));
  } while (Accept(","));
  if (types.size() != names.size()) {
    return InvalidArgument(file(), ":", line, ": expected ", names.size(), " result types, found ",
                           types.size());
  }
  Node* node = scope.function->Insert(*op, operands, types, std::move(attrs));
  node->set_line(line);
  if (body != nullptr) node->set_body(std::move(body));
  for (size_t i = 0; i < names.size(); ++i) {
    Value* result = node->result(static_cast<int>(i));
    if (!IsNumberName(names[i].name)) result->set_name(names[i].name);
    result->set_provenance(Provenance());
    NINFER_RETURN_IF_ERROR(Define(scope, names[i], result));
  }
  return absl::OkStatus();
}

absl::StatusOr<Module> Parse(absl::string_view text, absl::string_view file) {
  Module module("");
  Parser parser(text, file, 1, &module, {});
  std::string name;
  Stage stage = Stage::kImported;
  NINFER_RETURN_IF_ERROR(parser.ParseHeader(&name, &stage));
  module.set_name(std::move(name));
  module.set_stage(stage);
  NINFER_RETURN_IF_ERROR(parser.ParseItems());
  return module;
}

absl::StatusOr<std::unique_ptr<Function>> ParseFunction(absl::string_view text,
                                                        absl::string_view file, int first_line,
                                                        absl::Span<const Symbol> symbols,
                                                        size_t* consumed) {
  Parser parser(text, file, first_line, nullptr, symbols);
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<Function> function, parser.ParseFunction());
  *consumed = parser.consumed();
  return function;
}

}  // namespace ninfer::ir
