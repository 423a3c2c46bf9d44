// Tested by tests/ir_text_test.cc, tests/program_text_test.cc, tests/fuzz/ir_text_fuzz.cc,
// tests/fuzz/program_text_fuzz.cc.
#include "ir/term_parser.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "absl/strings/escaping.h"

namespace ninfer::ir {
namespace {

constexpr int kMaxRank = 8;

}  // namespace

void TermParser::Restart(size_t position, size_t known, int line) {
  base_ = position;
  const auto lines = std::count(text_.begin() + known, text_.begin() + position, '\n');
  lexer_ = Lexer(text_.substr(position), line + static_cast<int>(lines));
  Advance();
}

absl::Status TermParser::Error(absl::string_view expected) const {
  std::string found(token_.text.substr(0, 60));
  if (IsKind(TokenKind::kEnd)) found = "the end of the text";
  return InvalidArgument(file_, ":", token_.line, ": expected ", expected, ", found ",
                         absl::Utf8SafeCHexEscape(found));
}

absl::StatusOr<std::string> TermParser::ParseName(TokenKind kind, absl::string_view what) {
  if (!IsKind(kind)) return Error(what);
  std::string name = kind == TokenKind::kWord ? std::string(token_.text) : token_.name;
  Advance();
  return name;
}

absl::StatusOr<int64_t> TermParser::ParseInt(absl::string_view what) {
  int64_t value = 0;
  const char* end = token_.text.data() + token_.text.size();
  const auto result = std::from_chars(token_.text.data(), end, value);
  if (!IsKind(TokenKind::kNumber) || result.ec != std::errc() || result.ptr != end) {
    return Error(what);
  }
  Advance();
  return value;
}

absl::StatusOr<int64_t> TermParser::ParseField(absl::string_view word) {
  NINFER_RETURN_IF_ERROR(Expect(word));
  return ParseInt("an integer");
}

absl::StatusOr<int> TermParser::ParseIndex(absl::string_view what) {
  const Token token = token_;
  NINFER_ASSIGN_OR_RETURN(const int64_t value, ParseInt(what));
  if (value >= 0 && value <= std::numeric_limits<int>::max()) return static_cast<int>(value);
  return InvalidArgument(file_, ":", token.line, ": expected ", what, ", found ", token.text);
}

absl::StatusOr<int> TermParser::ParseSymbol(absl::string_view what) {
  for (size_t i = 0; i < symbols_.size(); ++i) {
    if (!IsKind(TokenKind::kWord) || symbols_[i].name != token_.text) continue;
    Advance();
    return static_cast<int>(i);
  }
  return Error(what);
}

absl::StatusOr<Dim> TermParser::ParseDim() {
  if (IsKind(TokenKind::kNumber)) {
    NINFER_ASSIGN_OR_RETURN(const int64_t size, ParseInt("a size"));
    return Dim::Static(size);
  }
  NINFER_ASSIGN_OR_RETURN(const int symbol, ParseSymbol("a size or a declared dimension"));
  if (!Is("+") && !IsKind(TokenKind::kNumber)) return Dim::Symbolic(symbol);
  Accept("+");
  NINFER_ASSIGN_OR_RETURN(const int64_t offset, ParseInt("an integer"));
  return Dim::Symbolic(symbol, offset);
}

absl::StatusOr<Type> TermParser::ParseType() {
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

}  // namespace ninfer::ir
