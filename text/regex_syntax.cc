// Oniguruma's regular expressions (Ruby syntax), as tokenizer.json has them, rewritten for PCRE2.
//
// The two agree on most of what tokenizers use. What is rewritten: \s, \w, \b and \h (their sets of
// characters differ), \uHHHH, nested character classes, (?m), {,n}, and a plus or question mark
// behind {n,m} (a second quantifier for Oniguruma, possessive or lazy for PCRE2). What has no
// counterpart is refused: && in a class, a negated class inside a class, (?x), unknown escapes.
// Source: Oniguruma's doc/RE and pcre2pattern(3).
// Tested by tests/text_pattern_test.cc.
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "text/pattern.h"

namespace ninfer {
namespace {

constexpr char kWord[] = "\\p{Alphabetic}\\p{M}\\p{N}\\p{Pc}";

class Translator {
 public:
  explicit Translator(absl::string_view in) : in_(in) {}

  absl::StatusOr<std::string> Run() {
    while (pos_ < in_.size()) NINFER_RETURN_IF_ERROR(Element());
    return out_;
  }

 private:
  absl::Status Refuse(absl::string_view what) const {
    return InvalidArgument("regular expression not understood: ", what, " near character ", pos_);
  }
  char At(size_t pos) const { return pos < in_.size() ? in_[pos] : '\0'; }

  absl::Status Element() {
    const char c = in_[pos_];
    if (c == '(') return Group();
    if (c == ')') {
      if (groups_.empty()) return Refuse("unmatched )");
      atom_ = groups_.back();
      groups_.pop_back();
      out_ += c;
      ++pos_;
      return absl::OkStatus();
    }
    if (c == '{' && IsInterval()) return Interval();
    if (c == '*' || c == '+' || c == '?' || c == '|') {
      out_ += c;
      ++pos_;
      return absl::OkStatus();
    }
    atom_ = out_.size();
    if (c == '[') return Class(0);
    if (c == '\\') return Escape(false);
    if (c == '{') out_ += '\\';
    out_ += c;
    ++pos_;
    while (pos_ < in_.size() && (in_[pos_] & 0xC0) == 0x80) out_ += in_[pos_++];
    return absl::OkStatus();
  }

  absl::Status Group() {
    groups_.push_back(out_.size());
    if (groups_.size() > 100) return Refuse("groups nested too deeply");
    out_ += in_[pos_++];
    if (At(pos_) != '?') return absl::OkStatus();
    // Flags: Oniguruma's m is PCRE2's s. Anything else behind (? is copied.
    out_ += in_[pos_++];
    while (At(pos_) == 'i' || At(pos_) == 'm' || At(pos_) == 'x' || At(pos_) == '-') {
      if (in_[pos_] == 'x') return Refuse("(?x)");
      out_ += in_[pos_] == 'm' ? 's' : in_[pos_];
      ++pos_;
    }
    if (At(pos_) == ':' || At(pos_) == '=' || At(pos_) == '!' || At(pos_) == '>' ||
        At(pos_) == '<') {
      const bool lookbehind_or_name = in_[pos_] == '<';
      out_ += in_[pos_++];
      if (lookbehind_or_name) {
        while (pos_ < in_.size() && (absl::ascii_isalnum(in_[pos_]) || in_[pos_] == '_')) {
          out_ += in_[pos_++];
        }
        if (At(pos_) == '=' || At(pos_) == '!' || At(pos_) == '>') out_ += in_[pos_++];
      }
      return absl::OkStatus();
    }
    if (At(pos_) == ')') return absl::OkStatus();  // (?i): to the end of the group around
    return Refuse("a group of an unknown kind");
  }

  // {n}, {n,}, {,m} or {n,m} at pos_; anything else in braces is literal text.
  bool IsInterval() const {
    size_t i = pos_ + 1;
    size_t digits = 0;
    while (absl::ascii_isdigit(At(i))) ++i, ++digits;
    if (At(i) == ',') {
      ++i;
      while (absl::ascii_isdigit(At(i))) ++i, ++digits;
    }
    return digits > 0 && At(i) == '}';
  }

  absl::Status Interval() {
    std::string interval = "{";
    if (At(pos_ + 1) == ',') interval += '0';
    ++pos_;
    bool exact = true;
    while (in_[pos_] != '}') {
      exact = exact && in_[pos_] != ',';
      interval += in_[pos_++];
    }
    ++pos_;
    out_ += interval + "}";
    if (At(pos_) == '+' || (exact && At(pos_) == '?')) {
      out_.insert(atom_, "(?:");
      out_ += ")";
    }
    return absl::OkStatus();
  }

  // A class from its bracket. A nested class that is not negated is a union: its members are
  // copied.
  absl::Status Class(int depth) {
    if (depth > 20) return Refuse("classes nested too deeply");
    ++pos_;
    const bool negated = At(pos_) == '^';
    if (negated && depth > 0) return Refuse("a negated class inside a class");
    if (depth == 0) out_ += negated ? "[^" : "[";
    if (negated) ++pos_;
    if (At(pos_) == ']') {
      out_ += "\\]";
      ++pos_;
    }
    while (pos_ < in_.size()) {
      const char c = in_[pos_];
      if (c == ']') {
        if (depth == 0) out_ += c;
        ++pos_;
        return absl::OkStatus();
      }
      if (c == '&' && At(pos_ + 1) == '&') return Refuse("&& in a class");
      if (c == '[' && At(pos_ + 1) == ':') {
        const size_t end = in_.find(":]", pos_);
        if (end == absl::string_view::npos) return Refuse("[: without its end");
        absl::StrAppend(&out_, in_.substr(pos_, end + 2 - pos_));
        pos_ = end + 2;
      } else if (c == '[') {
        NINFER_RETURN_IF_ERROR(Class(depth + 1));
      } else if (c == '\\') {
        NINFER_RETURN_IF_ERROR(Escape(true));
      } else {
        out_ += c;
        ++pos_;
      }
    }
    return Refuse("a class without its end");
  }

  absl::Status Escape(bool in_class) {
    const char c = At(pos_ + 1);
    if (c == '\0') return Refuse("a backslash at the end");
    const size_t start = pos_;
    pos_ += 2;
    switch (c) {
      case 's':
        out_ += "\\p{White_Space}";
        return absl::OkStatus();
      case 'S':
        out_ += "\\P{White_Space}";
        return absl::OkStatus();
      case 'w':
        out_ += in_class ? std::string(kWord) : absl::StrCat("[", kWord, "]");
        return absl::OkStatus();
      case 'W':
        if (in_class) return Refuse("\\W in a class");
        out_ += absl::StrCat("[^", kWord, "]");
        return absl::OkStatus();
      case 'h':
        out_ += in_class ? "0-9a-fA-F" : "[0-9a-fA-F]";
        return absl::OkStatus();
      case 'b':
      case 'B':
        if (in_class) break;
        out_ += absl::StrCat("(?:(?<=[", kWord, "])", c == 'b' ? "(?!" : "(?=", "[", kWord,
                             "])|(?<![", kWord, "])", c == 'b' ? "(?=" : "(?!", "[", kWord, "]))");
        return absl::OkStatus();
      case 'u': {
        std::string digits(in_.substr(pos_, 4));
        for (const char digit : digits) {
          if (!absl::ascii_isxdigit(digit)) return Refuse("\\u without four digits");
        }
        if (digits.size() != 4) return Refuse("\\u without four digits");
        out_ += absl::StrCat("\\x{", digits, "}");
        pos_ += 4;
        return absl::OkStatus();
      }
      default:
        break;
    }
    constexpr absl::string_view kSame = "dDpPtnrfvaexkAzZG0123456789";
    if (absl::ascii_isalnum(c) && kSame.find(c) == absl::string_view::npos) {
      pos_ = start;
      return Refuse(absl::StrCat("\\", absl::string_view(&c, 1)));
    }
    absl::StrAppend(&out_, in_.substr(start, 2));
    if ((c & 0x80) != 0) out_.erase(out_.size() - 2, 1);  // an escaped character beyond ASCII
    if ((c == 'p' || c == 'P' || c == 'x' || c == 'k') && (At(pos_) == '{' || At(pos_) == '<')) {
      const size_t end = in_.find(in_[pos_] == '{' ? '}' : '>', pos_);
      if (end == absl::string_view::npos) return Refuse("an escape without its end");
      absl::StrAppend(&out_, in_.substr(pos_, end + 1 - pos_));
      pos_ = end + 1;
    }
    return absl::OkStatus();
  }

  absl::string_view in_;
  size_t pos_ = 0;
  std::string out_;
  size_t atom_ = 0;             // where the last atom starts in out_
  std::vector<size_t> groups_;  // where the open groups start in out_
};

}  // namespace

absl::StatusOr<std::string> TranslateRegex(absl::string_view expression) {
  return Translator(expression).Run();
}

}  // namespace ninfer
