// Tested by tests/program_text_test.cc.
#include "program/term_parser.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "absl/strings/escaping.h"

namespace ninfer::program {
namespace {

constexpr int kMaxRank = 8;

}  // namespace

void TermParser::Restart(size_t position, size_t known, int line) {
  base_ = position;
  const auto lines = std::count(text_.begin() + known, text_.begin() + position, '\n');
  lexer_ = ir::Lexer(text_.substr(position), line + static_cast<int>(lines));
  Advance();
}

absl::Status TermParser::Error(absl::string_view expected) const {
  std::string found(token_.text.substr(0, 60));
  if (token_.kind == ir::TokenKind::kEnd) found = "the end of the text";
  return InvalidArgument(file_, ":", token_.line, ": expected ", expected, ", found ",
                         absl::Utf8SafeCEscape(found));
}

absl::StatusOr<std::string> TermParser::Name(ir::TokenKind kind, absl::string_view what) {
  if (token_.kind != kind) return Error(what);
  std::string name = kind == ir::TokenKind::kWord ? std::string(token_.text) : token_.name;
  Advance();
  return name;
}

absl::StatusOr<int64_t> TermParser::Int(absl::string_view what) {
  int64_t value = 0;
  const char* end = token_.text.data() + token_.text.size();
  const auto result = std::from_chars(token_.text.data(), end, value);
  if (token_.kind != ir::TokenKind::kNumber || result.ec != std::errc() || result.ptr != end) {
    return Error(what);
  }
  Advance();
  return value;
}

absl::StatusOr<int64_t> TermParser::Field(absl::string_view word) {
  NINFER_RETURN_IF_ERROR(Expect(word));
  return Int("an integer");
}

absl::StatusOr<int> TermParser::Index(absl::string_view what) {
  const ir::Token token = token_;
  NINFER_ASSIGN_OR_RETURN(const int64_t value, Int(what));
  if (value >= 0 && value <= std::numeric_limits<int>::max()) return static_cast<int>(value);
  return InvalidArgument(file_, ":", token.line, ": expected ", what, ", found ", token.text);
}

absl::StatusOr<int> TermParser::Symbol() {
  for (size_t i = 0; i < symbols_->size(); ++i) {
    if (token_.kind != ir::TokenKind::kWord || (*symbols_)[i].name != token_.text) continue;
    Advance();
    return static_cast<int>(i);
  }
  return Error("a declared dimension");
}

absl::StatusOr<ir::Dim> TermParser::Dim() {
  if (token_.kind == ir::TokenKind::kNumber) {
    NINFER_ASSIGN_OR_RETURN(const int64_t size, Int("a size"));
    return ir::Dim::Static(size);
  }
  NINFER_ASSIGN_OR_RETURN(const int symbol, Symbol());
  if (!Is("+") && token_.kind != ir::TokenKind::kNumber) return ir::Dim::Symbolic(symbol);
  Accept("+");
  NINFER_ASSIGN_OR_RETURN(const int64_t offset, Int("an integer"));
  return ir::Dim::Symbolic(symbol, offset);
}

absl::StatusOr<ir::Type> TermParser::Type() {
  ir::Type type;
  type.is_kv = Accept("kv");
  if (type.is_kv) NINFER_RETURN_IF_ERROR(Expect("<"));
  const auto dtype = DTypeFromName(token_.text);
  if (!dtype.has_value()) return Error("a type such as f32[T,576]");
  type.dtype = *dtype;
  Advance();
  if (type.is_kv) NINFER_RETURN_IF_ERROR(Expect(">"));
  NINFER_RETURN_IF_ERROR(Expect("["));
  if (Accept("]")) return type;
  do {
    if (type.rank() == kMaxRank) return Error(absl::StrCat("at most ", kMaxRank, " dimensions"));
    NINFER_ASSIGN_OR_RETURN(const ir::Dim dim, Dim());
    type.shape.push_back(dim);
  } while (Accept(","));
  NINFER_RETURN_IF_ERROR(Expect("]"));
  return type;
}

absl::StatusOr<formats::Format> TermParser::Format() {
  const absl::optional<formats::Format> format = formats::FormatFromName(token_.text);
  if (!format.has_value()) return Error("a weight format such as panel_bf16");
  Advance();
  return *format;
}

}  // namespace ninfer::program
