// Oniguruma's regular expressions (Ruby syntax), as tokenizer.json has them, rewritten for PCRE2.
//
// The two agree on most of what tokenizers use. What is rewritten: \s, \w, \b and \h (their sets of
// characters differ), \uHHHH, classes inside classes and their intersections, names of properties
// (a script's name means that script alone, not its extensions), (?m), {,n}, and a plus or question
// mark behind {n,m} (a second quantifier for Oniguruma, possessive or lazy for PCRE2). What has no
// counterpart is refused: (?x), absent groups, unknown escapes.
// Source: Oniguruma's doc/RE and pcre2pattern(3).
// Tested by tests/text_pattern_test.cc.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "text/pattern.h"

namespace ninfer {
namespace {

// \w in a class; by itself, and for \b, it has six numbers of Latin-1 besides.
constexpr char kWord[] = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr char kWordAlone[] =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";

// Oniguruma's names, lower case and without blanks, and the members of a class that mean the same.
struct Property {
  const char* name;
  const char* members;
};
constexpr Property kProperties[] = {
    {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"alpha", "\\p{Alphabetic}"},
    {"blank", "\\p{Zs}\\t"},
    {"cntrl", "\\p{Cc}"},
    {"digit", "\\p{Nd}"},
    {"graph", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}"},
    {"lower", "\\p{Lowercase}"},
    {"print", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Zs}\\p{Cf}\\p{Co}"},
    {"punct", "\\p{P}"},
    {"space", "\\p{White_Space}"},
    {"upper", "\\p{Uppercase}"},
    {"word", kWord},
    {"xdigit", "0-9A-Fa-f"},
    {"letter", "\\p{L}"},
    {"uppercaseletter", "\\p{Lu}"},
    {"lowercaseletter", "\\p{Ll}"},
    {"titlecaseletter", "\\p{Lt}"},
    {"modifierletter", "\\p{Lm}"},
    {"otherletter", "\\p{Lo}"},
    {"mark", "\\p{M}"},
    {"nonspacingmark", "\\p{Mn}"},
    {"spacingmark", "\\p{Mc}"},
    {"enclosingmark", "\\p{Me}"},
    {"number", "\\p{N}"},
    {"decimalnumber", "\\p{Nd}"},
    {"letternumber", "\\p{Nl}"},
    {"othernumber", "\\p{No}"},
    {"punctuation", "\\p{P}"},
    {"connectorpunctuation", "\\p{Pc}"},
    {"dashpunctuation", "\\p{Pd}"},
    {"openpunctuation", "\\p{Ps}"},
    {"closepunctuation", "\\p{Pe}"},
    {"initialpunctuation", "\\p{Pi}"},
    {"finalpunctuation", "\\p{Pf}"},
    {"otherpunctuation", "\\p{Po}"},
    {"symbol", "\\p{S}"},
    {"mathsymbol", "\\p{Sm}"},
    {"currencysymbol", "\\p{Sc}"},
    {"modifiersymbol", "\\p{Sk}"},
    {"othersymbol", "\\p{So}"},
    {"separator", "\\p{Z}"},
    {"spaceseparator", "\\p{Zs}"},
    {"lineseparator", "\\p{Zl}"},
    {"paragraphseparator", "\\p{Zp}"},
    {"other", "\\p{C}"},
    {"control", "\\p{Cc}"},
    {"format", "\\p{Cf}"},
    {"privateuse", "\\p{Co}"},
    {"unassigned", "\\p{Cn}"},
};

bool Compiles(const std::string& expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()),
                                   expression.size(), PCRE2_UTF, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// The members of a class that the property `name` means.
std::string PropertyMembers(absl::string_view name) {
  std::string folded;
  for (const char c : name) {
    if (c != ' ' && c != '_' && c != '-') folded += absl::ascii_tolower(c);
  }
  for (const Property& property : kProperties) {
    if (folded == property.name) return property.members;
  }
  const std::string script = absl::StrCat("\\p{sc:", name, "}");
  if (folded.size() > 2 && Compiles(script)) return script;
  return absl::StrCat("\\p{", name, "}");
}

// The same for the bracket [:name:], which differs in one case.
std::string BracketMembers(absl::string_view name) {
  if (name == "punct") return "\\p{P}\\p{S}";
  for (const Property& property : kProperties) {
    if (name == property.name) return property.members;
  }
  return absl::StrCat("[:", name, ":]");
}

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
    if (c == '[') return Class();
    if (c == '\\') return Escape(nullptr);
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

  // What stands between two && of a class: members of a PCRE2 class, and whole classes beside them.
  struct Operand {
    std::string members;
    std::vector<std::string> classes;

    bool plain() const { return classes.empty(); }
    // An expression for one character.
    std::string Expression() const {
      std::string all = members.empty() ? "" : absl::StrCat("[", members, "]");
      if (plain()) return all;
      for (const std::string& one : classes) absl::StrAppend(&all, all.empty() ? "" : "|", one);
      return absl::StrCat("(?:", all, ")");
    }
  };

  absl::Status Class() {
    Operand whole;
    NINFER_RETURN_IF_ERROR(ReadClass(0, &whole));
    out_ += whole.Expression();
    return absl::OkStatus();
  }

  // A class from its bracket, added to what the class around it holds.
  absl::Status ReadClass(int depth, Operand* around) {
    if (depth > 20) return Refuse("classes nested too deeply");
    ++pos_;
    const bool negated = At(pos_) == '^';
    if (negated) ++pos_;
    std::vector<Operand> operands(1);
    if (At(pos_) == ']') {
      operands[0].members += "\\]";
      ++pos_;
    }
    while (At(pos_) != ']' || pos_ >= in_.size()) {
      if (pos_ >= in_.size()) return Refuse("a class without its end");
      if (in_[pos_] == '&' && At(pos_ + 1) == '&') {
        operands.emplace_back();
        pos_ += 2;
      } else {
        NINFER_RETURN_IF_ERROR(ClassMember(depth, &operands.back()));
      }
    }
    ++pos_;
    for (const Operand& operand : operands) {
      if (operand.members.empty() && operand.plain()) return Refuse("an empty class");
    }
    AddClass(operands, negated, around);
    return absl::OkStatus();
  }

  absl::Status ClassMember(int depth, Operand* operand) {
    const char c = in_[pos_];
    if (c == '[' && At(pos_ + 1) == ':') {
      const size_t end = in_.find(":]", pos_);
      if (end == absl::string_view::npos) return Refuse("[: without its end");
      absl::string_view name = in_.substr(pos_ + 2, end - pos_ - 2);
      const bool outside = absl::ConsumePrefix(&name, "^");
      AddMembers(BracketMembers(name), outside, operand);
      pos_ = end + 2;
      return absl::OkStatus();
    }
    if (c == '[') return ReadClass(depth + 1, operand);
    if (c == '\\') {
      std::string before;
      before.swap(out_);
      const absl::Status status = Escape(operand);
      operand->members += out_;
      out_ = std::move(before);
      return status;
    }
    operand->members += c;
    ++pos_;
    return absl::OkStatus();
  }

  static void AddMembers(absl::string_view members, bool negated, Operand* operand) {
    if (negated) {
      operand->classes.push_back(absl::StrCat("[^", members, "]"));
    } else {
      absl::StrAppend(&operand->members, members);
    }
  }

  static void AddClass(const std::vector<Operand>& operands, bool negated, Operand* around) {
    if (operands.size() == 1 && operands[0].plain()) {
      AddMembers(operands[0].members, negated, around);
      return;
    }
    std::string all;
    for (size_t i = 0; i < operands.size(); ++i) {
      const std::string one = operands[i].Expression();
      absl::StrAppend(&all, i + 1 < operands.size() ? absl::StrCat("(?=", one, ")") : one);
    }
    around->classes.push_back(negated ? absl::StrCat("(?:(?!", all, ")(?s:.))")
                                      : absl::StrCat("(?:", all, ")"));
  }

  // `operand`: of the class that the escape is in, or null. What belongs to a PCRE2 class or stands
  // alone goes to out_.
  absl::Status Escape(Operand* operand) {
    const bool in_class = operand != nullptr;
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
        out_ += in_class ? std::string(kWord) : absl::StrCat("[", kWordAlone, "]");
        return absl::OkStatus();
      case 'W':
        if (in_class) {
          AddMembers(kWord, /*negated=*/true, operand);
        } else {
          out_ += absl::StrCat("[^", kWordAlone, "]");
        }
        return absl::OkStatus();
      case 'h':
        out_ += in_class ? "0-9a-fA-F" : "[0-9a-fA-F]";
        return absl::OkStatus();
      case 'b':
      case 'B':
        if (in_class) break;
        out_ += absl::StrCat("(?:(?<=[", kWordAlone, "])", c == 'b' ? "(?!" : "(?=", "[",
                             kWordAlone, "])|(?<![", kWordAlone, "])", c == 'b' ? "(?=" : "(?!",
                             "[", kWordAlone, "]))");
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
      case 'p':
      case 'P':
        if (At(pos_) == '{') return PropertyEscape(c == 'P', operand);
        break;
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
    if ((c == 'x' || c == 'k') && (At(pos_) == '{' || At(pos_) == '<')) {
      const size_t end = in_.find(in_[pos_] == '{' ? '}' : '>', pos_);
      if (end == absl::string_view::npos) return Refuse("an escape without its end");
      absl::StrAppend(&out_, in_.substr(pos_, end + 1 - pos_));
      pos_ = end + 1;
    }
    return absl::OkStatus();
  }

  // \p{name} at its brace.
  absl::Status PropertyEscape(bool negated, Operand* operand) {
    const size_t end = in_.find('}', pos_);
    if (end == absl::string_view::npos) return Refuse("an escape without its end");
    absl::string_view name = in_.substr(pos_ + 1, end - pos_ - 1);
    if (absl::ConsumePrefix(&name, "^")) negated = !negated;
    const std::string members = PropertyMembers(name);
    if (operand != nullptr) {
      AddMembers(members, negated, operand);
    } else {
      absl::StrAppend(&out_, negated ? "[^" : "[", members == kWord ? kWordAlone : members, "]");
    }
    pos_ = end + 1;
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
