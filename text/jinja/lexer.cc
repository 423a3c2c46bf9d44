#include "text/jinja/lexer.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {
namespace {

// CRLF and CR become LF; one line end at the end is dropped.
std::string NormalizeLineEnds(absl::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

class Lexer {
 public:
  Lexer(absl::string_view source, Error* error)
      : source_(NormalizeLineEnds(source)), text_(source_), error_(error) {}

  std::vector<Token> Run() {
    while (error_->type.empty() && pos_ < text_.size()) LexData();
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void Add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void Fail(const std::string& message) {
    if (error_->type.empty()) *error_ = {kSyntaxError, message, line_};
  }
  // Goes on to `end`, counting lines.
  void Advance(size_t end) {
    for (; pos_ < end; ++pos_) line_ += text_[pos_] == '\n';
    line_starting_ = end > 0 && text_[end - 1] == '\n';
  }
  char At(size_t pos) const { return pos < text_.size() ? text_[pos] : '\0'; }
  size_t SkipSpace(size_t pos) const {
    while (pos < text_.size()) {
      const CodePoint c = DecodeAt(text_, pos);
      if (!IsPySpace(c.value)) break;
      pos += c.length;
    }
    return pos;
  }

  // The text up to a tag that begins with `sign`, without the blanks that the tag takes away.
  void AddData(absl::string_view data, char sign, bool variable) {
    absl::string_view kept = data;
    if (sign == '-') {
      kept = Strip(data, false, true);
    } else if (sign != '+' && !variable) {
      const size_t line_end = data.rfind('\n');
      const size_t start = line_end == absl::string_view::npos ? 0 : line_end + 1;
      if ((start > 0 || line_starting_) && Strip(data.substr(start), true, true).empty()) {
        kept = data.substr(0, start);
      }
    }
    if (!kept.empty()) Add(TokenKind::kData, std::string(kept));
  }
  char SignAt(size_t pos) const { return At(pos) == '-' || At(pos) == '+' ? At(pos) : '\0'; }

  // The end of a tag at `pos`: `+%}`, `-%}` with the blanks behind it, or `%}` with the line end
  // behind it. npos where there is none.
  size_t TagEnd(size_t pos, absl::string_view close, bool plus, bool trim) const {
    const absl::string_view rest = text_.substr(std::min(pos, text_.size()));
    if (absl::StartsWith(rest, close)) {
      pos += close.size();
      return trim && At(pos) == '\n' ? pos + 1 : pos;
    }
    if (!absl::StartsWith(rest.substr(std::min<size_t>(1, rest.size())), close)) {
      return absl::string_view::npos;
    }
    if (rest[0] == '-') return SkipSpace(pos + 1 + close.size());
    return rest[0] == '+' && plus ? pos + 1 + close.size() : absl::string_view::npos;
  }

  // `{% raw %}` or `{% endraw %}` at `pos`: where it ends, or npos.
  size_t RawTag(size_t pos, absl::string_view word) const {
    pos = SkipSpace(pos + 2 + (SignAt(pos + 2) != '\0'));
    if (!absl::StartsWith(text_.substr(pos), word)) return absl::string_view::npos;
    const bool ends = word == "endraw";
    return TagEnd(SkipSpace(pos + word.size()), "%}", ends, ends);
  }

  void LexData() {
    size_t tag = pos_;
    for (;; ++tag) {
      tag = text_.find('{', tag);
      if (tag == absl::string_view::npos) {
        Add(TokenKind::kData, std::string(text_.substr(pos_)));
        Advance(text_.size());
        return;
      }
      const char next = At(tag + 1);
      if (next == '{' || next == '%' || next == '#') break;
    }
    AddData(text_.substr(pos_, tag - pos_), SignAt(tag + 2), At(tag + 1) == '{');
    Advance(tag);
    const size_t raw = At(tag + 1) == '%' ? RawTag(tag, "raw") : absl::string_view::npos;
    if (raw != absl::string_view::npos) return LexRaw(raw);
    const char kind = At(tag + 1);
    if (kind == '%') Add(TokenKind::kBlockBegin, "");
    if (kind == '{') Add(TokenKind::kVariableBegin, "");
    Advance(tag + 2 + (SignAt(tag + 2) != '\0'));
    if (kind == '#') return LexComment();
    LexTag(kind == '{');
  }

  void LexComment() {
    for (size_t pos = pos_; pos < text_.size(); ++pos) {
      const size_t end = TagEnd(pos, "#}", true, true);
      if (end != absl::string_view::npos) return Advance(end);
    }
    Fail("Missing end of comment tag");
  }

  void LexRaw(size_t begin) {
    Advance(begin);
    for (size_t pos = text_.find("{%", pos_); pos != absl::string_view::npos;
         pos = text_.find("{%", pos + 1)) {
      const size_t end = RawTag(pos, "endraw");
      if (end == absl::string_view::npos) continue;
      AddData(text_.substr(pos_, pos - pos_), SignAt(pos + 2), false);
      return Advance(end);
    }
    Fail("Missing end of raw directive");
  }

  void LexTag(bool variable) {
    std::string open;  // the brackets that are to be closed
    while (error_->type.empty() && pos_ < text_.size()) {
      const size_t end = open.empty() ? TagEnd(pos_, variable ? "}}" : "%}", !variable, !variable)
                                      : absl::string_view::npos;
      if (end != absl::string_view::npos) {
        Add(variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "");
        return Advance(end);
      }
      const size_t after_space = SkipSpace(pos_);
      if (after_space != pos_) {
        Advance(after_space);
        continue;
      }
      if (!LexNumber() && !LexName() && !LexString() && !LexOperator(&open)) {
        const CodePoint c = DecodeAt(text_, pos_);
        Fail(absl::StrCat("unexpected char ", ReprString(text_.substr(pos_, c.length)), " at ",
                          CharCount(text_.substr(0, pos_))));
      }
    }
  }

  // Digits with single underscores between them; the end, or `pos` where there are none.
  size_t Digits(size_t pos, bool (*is_digit)(char)) const {
    if (!is_digit(At(pos))) return pos;
    while (true) {
      while (is_digit(At(pos))) ++pos;
      if (At(pos) != '_' || !is_digit(At(pos + 1))) return pos;
      ++pos;
    }
  }

  bool LexNumber() {
    if (!IsDigit(At(pos_))) return false;
    size_t end = Digits(pos_, IsDigit);
    const bool after_dot = pos_ > 0 && text_[pos_ - 1] == '.';
    size_t fraction = end;
    if (At(end) == '.') fraction = std::max(end, Digits(end + 1, IsDigit));
    if (fraction == end + 1) fraction = end;
    size_t exponent = fraction;
    if (absl::ascii_tolower(At(fraction)) == 'e') {
      const size_t sign = fraction + 1 + (SignAt(fraction + 1) != '\0');
      const size_t digits = Digits(sign, IsDigit);
      if (digits > sign) exponent = digits;
    }
    const size_t float_end = std::max(fraction, exponent);
    if (!after_dot && float_end > end) {
      Add(TokenKind::kFloat, std::string(text_.substr(pos_, float_end - pos_)));
      Advance(float_end);
      return true;
    }
    end = IntegerEnd();
    Add(TokenKind::kInteger, std::string(text_.substr(pos_, end - pos_)));
    Advance(end);
    return true;
  }

  size_t IntegerEnd() const {
    if (At(pos_) != '0') return Digits(pos_, IsDigit);
    const char base = absl::ascii_tolower(At(pos_ + 1));
    bool (*is_digit)(char) = base == 'x'   ? +[](char c) { return absl::ascii_isxdigit(c) != 0; }
                             : base == 'o' ? +[](char c) { return c >= '0' && c <= '7'; }
                             : base == 'b' ? +[](char c) { return c == '0' || c == '1'; }
                                           : nullptr;
    if (is_digit != nullptr) {
      const size_t start = pos_ + 2 + (At(pos_ + 2) == '_');
      const size_t end = Digits(start, is_digit);
      return end > start ? end : pos_ + 1;
    }
    return Digits(
        pos_, +[](char c) { return c == '0'; });  // 007 is 00 and 7
  }

  bool LexName() {
    size_t end = pos_;
    while (end < text_.size()) {
      const CodePoint c = DecodeAt(text_, end);
      if (!IsWord(c.value)) break;
      end += c.length;
    }
    if (end == pos_) return false;
    const char32_t first = DecodeAt(text_, pos_).value;
    if (IsCombiningMark(first) || IsNumber(first)) Fail("Invalid character in identifier");
    Add(TokenKind::kName, std::string(text_.substr(pos_, end - pos_)));
    Advance(end);
    return true;
  }

  bool LexString() {
    const char quote = At(pos_);
    if (quote != '\'' && quote != '"') return false;
    size_t end = pos_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return false;
    std::string decoded;
    std::string problem;
    if (!DecodeEscapes(text_.substr(pos_ + 1, end - pos_ - 1), &decoded, &problem)) Fail(problem);
    Add(TokenKind::kString, std::move(decoded));
    Advance(end + 1);
    return true;
  }

  bool LexOperator(std::string* open) {
    static constexpr absl::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const absl::string_view op : kOperators) {
      if (!absl::StartsWith(text_.substr(pos_), op)) continue;
      const char c = op[0];
      if (c == '(' || c == '[' || c == '{') *open += c == '(' ? ')' : c == '[' ? ']' : '}';
      if (c == ')' || c == ']' || c == '}') {
        if (open->empty()) Fail(absl::StrCat("unexpected '", op, "'"));
        if (!open->empty() && open->back() != c) {
          Fail(absl::StrCat("unexpected '", op, "', expected '", open->substr(open->size() - 1),
                            "'"));
        }
        if (!open->empty()) open->pop_back();
      }
      Add(TokenKind::kOperator, std::string(op));
      Advance(pos_ + op.size());
      return true;
    }
    return false;
  }

  const std::string source_;
  const absl::string_view text_;
  Error* error_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(absl::string_view source, Error* error) {
  return Lexer(source, error).Run();
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "template data / text";
    case TokenKind::kVariableBegin:
      return "begin of print statement";
    case TokenKind::kVariableEnd:
      return "end of print statement";
    case TokenKind::kBlockBegin:
      return "begin of statement block";
    case TokenKind::kBlockEnd:
      return "end of statement block";
    case TokenKind::kString:
      return "string";
    case TokenKind::kInteger:
      return "integer";
    case TokenKind::kFloat:
      return "float";
    case TokenKind::kEnd:
      return "end of template";
    default:
      return token.text;
  }
}

}  // namespace jinja
}  // namespace ninfer
