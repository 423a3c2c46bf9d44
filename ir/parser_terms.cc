// The parser's terms: tokens, numbers, types and attributes.
// Tested by tests/ir_text_test.cc, tests/fuzz/ir_text_fuzz.cc.
#include <charconv>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "ir/parser.h"

namespace ninfer::ir {
namespace {

constexpr int kMaxRank = 8;

}  // namespace

absl::Status Parser::Error(absl::string_view expected) const {
  std::string found(token_.text.substr(0, 60));
  if (IsKind(TokenKind::kEnd)) found = "the end of the text";
  return InvalidArgument(file_, ":", token_.line, ": expected ", expected, ", found ",
                         absl::Utf8SafeCHexEscape(found));
}

bool Parser::Accept(absl::string_view text) {
  if (!Is(text)) return false;
  Advance();
  return true;
}

absl::Status Parser::Expect(absl::string_view text) {
  if (Accept(text)) return absl::OkStatus();
  return Error(absl::StrCat("'", text, "'"));
}

absl::Status Parser::Expect(TokenKind kind, absl::string_view what, std::string* name) {
  if (!IsKind(kind)) return Error(what);
  *name = kind == TokenKind::kWord ? std::string(token_.text) : token_.name;
  Advance();
  return absl::OkStatus();
}

// --- numbers and types ---------------------------------------------------------------------------

absl::StatusOr<int64_t> Parser::ParseInt(absl::string_view what) {
  int64_t value = 0;
  const char* end = token_.text.data() + token_.text.size();
  const auto result = std::from_chars(token_.text.data(), end, value);
  if (!IsKind(TokenKind::kNumber) || result.ec != std::errc() || result.ptr != end) {
    return Error(what);
  }
  Advance();
  return value;
}

template <typename Float>
absl::StatusOr<Float> Parser::ParseFloat() {
  Float value = 0;
  const char* end = token_.text.data() + token_.text.size();
  const auto result = std::from_chars(token_.text.data(), end, value);
  const bool number = IsKind(TokenKind::kNumber) || Is("inf") || Is("nan");
  if (!number || result.ec != std::errc() || result.ptr != end) return Error("a number");
  Advance();
  return value;
}

absl::StatusOr<Dim> Parser::ParseDim() {
  if (IsKind(TokenKind::kNumber)) {
    NINFER_ASSIGN_OR_RETURN(const int64_t size, ParseInt("a size"));
    return Dim::Static(size);
  }
  int symbol = -1;
  for (size_t i = 0; i < symbols_.size(); ++i) {
    if (IsKind(TokenKind::kWord) && symbols_[i].name == token_.text) symbol = static_cast<int>(i);
  }
  if (symbol < 0) return Error("a size or a declared dimension");
  Advance();
  if (!Is("+") && !IsKind(TokenKind::kNumber)) return Dim::Symbolic(symbol);
  Accept("+");
  NINFER_ASSIGN_OR_RETURN(const int64_t offset, ParseInt("an integer"));
  return Dim::Symbolic(symbol, offset);
}

absl::StatusOr<Type> Parser::ParseType() {
  Type type;
  type.is_kv = Accept("kv");
  if (type.is_kv) NINFER_RETURN_IF_ERROR(Expect("<"));
  const std::optional<DType> dtype = DTypeFromName(token_.text);
  if (!dtype.has_value()) return Error("a type such as f32[T,576]");
  type.dtype = *dtype;
  Advance();
  if (type.is_kv) NINFER_RETURN_IF_ERROR(Expect(">"));
  NINFER_RETURN_IF_ERROR(Expect("["));
  if (Accept("]")) return type;
  do {
    if (type.rank() == kMaxRank) return Error(absl::StrCat("at most ", kMaxRank, " dimensions"));
    NINFER_ASSIGN_OR_RETURN(const Dim dim, ParseDim());
    type.shape.push_back(dim);
  } while (Accept(","));
  NINFER_RETURN_IF_ERROR(Expect("]"));
  return type;
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
      if (token_.text == attr.name) return Error("an attribute not given before");
    }
    Attr attr;
    NINFER_RETURN_IF_ERROR(Expect(TokenKind::kWord, "an attribute's name", &attr.name));
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
    const std::string text = token_.name;
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
  const bool fraction = token_.text.find_first_of(".en") != absl::string_view::npos;
  if (as_float || fraction) {
    NINFER_ASSIGN_OR_RETURN(const double value, ParseFloat<double>());
    return AttrValue(value);
  }
  NINFER_ASSIGN_OR_RETURN(const int64_t value, ParseInt("an attribute's value"));
  return AttrValue(value);
}

}  // namespace ninfer::ir
