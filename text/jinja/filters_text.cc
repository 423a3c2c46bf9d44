#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace ninfer {
namespace jinja {
namespace {

constexpr int kMostIndent = 10000;

template <std::string (*map)(absl::string_view)>
Value Mapped(Run& run, const Value& self, Args& args) {
  Bound(run, "the filter", args, {});
  return run.String(map(ToText(run, self)));
}

// The filter's title: a word begins after blanks, hyphens and opening brackets only.
std::string TitleWords(absl::string_view text) {
  std::string out;
  std::string word;
  const auto end_word = [&] {
    if (word.empty()) return;
    const size_t first = Utf8Length(word[0]);
    absl::StrAppend(&out, Upper(word.substr(0, first)), Lower(word.substr(first)));
    word.clear();
  };
  for (const absl::string_view c : Characters(text)) {
    const bool between = IsPySpace(DecodeAt(c, 0).value) || absl::StrContains("-({[<", c);
    if (!between) {
      absl::StrAppend(&word, c);
      continue;
    }
    end_word();
    absl::StrAppend(&out, c);
  }
  end_word();
  return out;
}

Value Trim(Run& run, const Value& self, Args& args) {
  Bound bound(run, "trim", args, {"chars"});
  const std::string text = ToText(run, self);
  if (!bound.has(0) || bound[0].is_none()) return run.String(std::string(Strip(text, true, true)));
  return run.String(std::string(StripChars(text, bound.Text(0), true, true)));
}

Value Replace(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "replace", args, {"old", "new", "count"}, 2);
  Args call;
  call.positional = {run.String(ToText(run, bound[0])), run.String(ToText(run, bound[1]))};
  if (bound.has(2) && !bound[2].is_none()) call.positional.push_back(bound[2]);
  if (run.failed()) return Value();
  return FindStringMethod("replace")(run, run.String(ToText(run, self)), call);
}

Value Center(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "center", args, {"width"});
  Args call;
  call.positional = {bound.has(0) ? bound[0] : Value::Integer(80)};
  return FindStringMethod("center")(run, run.String(ToText(run, self)), call);
}

Value Indent(Run& run, const Value& self, Args& args) {
  Bound bound(run, "indent", args, {"width", "first", "blank"});
  if (self.is_undefined()) return run.FailUndefined(self);
  if (!self.is_string()) return run.Fail(kTypeError, "indent: expected a string");
  std::string indent(4, ' ');
  if (bound.has(0) && bound[0].is_string()) {
    indent = bound[0].text();
  } else {
    const Int width = std::max<Int>(bound.Integer(0, 4), 0);
    if (width > kMostIndent) {
      return run.Fail(kLimitError, "an indent of more than ", kMostIndent);
    }
    indent.assign(static_cast<size_t>(width), ' ');
  }
  const bool blank = bound.Flag(2, false);
  std::string out;
  const std::string text = absl::StrCat(self.text(), "\n");
  bool first = true;
  for (const absl::string_view line : SplitLines(text, false)) {
    if (!run.Charge(line.size() + indent.size())) break;
    if (!first) out += '\n';
    if (first ? bound.Flag(1, false) : blank || !line.empty()) out += indent;
    absl::StrAppend(&out, line);
    first = false;
  }
  return run.String(std::move(out));
}

Value Truncate(Run& run, const Value& self, Args& args) {
  Bound bound(run, "truncate", args, {"length", "killwords", "end", "leeway"});
  if (!self.is_string()) return run.Fail(kTypeError, "truncate: expected a string");
  const Int length = bound.Integer(0, 255);
  const std::string end = bound.Text(2, "...");
  const Int leeway = bound.has(3) && !bound[3].is_none() ? bound.Integer(3, 5) : 5;
  const auto end_size = static_cast<Int>(CharCount(end));
  if (run.failed()) return Value();
  if (length < end_size || leeway < 0) {
    return run.Fail("AssertionError", "truncate: expected a length of at least ",
                    IntText(end_size));
  }
  if (static_cast<Int>(CharCount(self.text())) <= length + leeway) return self;
  const size_t kept = ByteOfChar(self.text(), static_cast<size_t>(length - end_size));
  absl::string_view text = absl::string_view(self.text()).substr(0, kept);
  if (!bound.Flag(1, false)) text = SplitAt(text, " ", 1, true)[0];
  return run.String(absl::StrCat(text, end));
}

// Words and the blanks between them; a word may end behind a hyphen.
std::vector<std::string> WrapChunks(absl::string_view line, bool hyphens) {
  std::vector<std::string> chunks;
  bool was_blank = false;
  char32_t before = 0;
  char32_t last = 0;
  for (const absl::string_view c : Characters(line)) {
    const char32_t code = DecodeAt(c, 0).value;
    const bool blank = code == ' ' || (code >= 9 && code <= 13);
    const bool behind_hyphen = hyphens && last == '-' && IsLetter(before) && IsLetter(code);
    if (chunks.empty() || blank != was_blank || behind_hyphen) chunks.emplace_back();
    absl::StrAppend(&chunks.back(), c);
    was_blank = blank;
    before = last;
    last = code;
  }
  return chunks;
}

// One line as textwrap.wrap breaks it.
std::vector<std::string> WrapLine(Run& run, absl::string_view line, size_t width, bool break_long,
                                  bool hyphens) {
  std::vector<std::string> lines;
  std::vector<std::string> chunks = WrapChunks(line, hyphens);
  std::reverse(chunks.begin(), chunks.end());
  const auto blank = [](const std::string& text) { return Strip(text, true, true).empty(); };
  while (!chunks.empty()) {
    std::vector<std::string> row;
    size_t size = 0;
    if (!lines.empty() && blank(chunks.back())) chunks.pop_back();
    while (!chunks.empty() && size + CharCount(chunks.back()) <= width) {
      size += CharCount(chunks.back());
      row.push_back(chunks.back());
      chunks.pop_back();
    }
    if (!chunks.empty() && CharCount(chunks.back()) > width) {
      if (break_long) {
        if (!run.StepBytes(chunks.back().size())) break;  // each piece is cut from all that is left
        const size_t cut = ByteOfChar(chunks.back(), std::max<size_t>(width - size, size == 0));
        row.push_back(chunks.back().substr(0, cut));
        chunks.back().erase(0, cut);
      } else if (row.empty()) {
        row.push_back(chunks.back());
        chunks.pop_back();
      }
    }
    if (!row.empty() && blank(row.back())) row.pop_back();
    if (!row.empty()) lines.push_back(absl::StrJoin(row, ""));
  }
  return lines;
}

Value WordWrap(Run& run, const Value& self, Args& args) {
  Bound bound(run, "wordwrap", args,
              {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  if (!self.is_string()) return run.Fail(kTypeError, "wordwrap: expected a string");
  const Int width = bound.Integer(0, 79);
  if (width <= 0) return run.Fail(kValueError, "invalid width ", IntText(width), " (must be > 0)");
  const std::string separator = bound[2].is_none() ? std::string(1, 10) : bound.Text(2, "\n");
  std::vector<std::string> out;
  for (const absl::string_view line : SplitLines(self.text(), false)) {
    if (!run.Step(1 + static_cast<int64_t>(line.size()))) break;
    const auto columns = static_cast<size_t>(std::min<Int>(width, INT32_MAX));
    out.push_back(absl::StrJoin(
        WrapLine(run, line, columns, bound.Flag(1, true), bound.Flag(3, true)), separator));
  }
  return run.String(absl::StrJoin(out, separator));
}

Value WordCount(Run& run, const Value& self, Args& args) {
  const std::string text = ToText(run, self);
  run.StepBytes(text.size());
  Int count = 0;
  bool inside = false;
  for (const absl::string_view c : Characters(text)) {
    const char32_t code = DecodeAt(c, 0).value;
    const bool word = IsLetter(code) || IsNumber(code) || code == '_';
    count += word && !inside;
    inside = word;
  }
  return Value::Integer(count);
}

Value Escape(Run& run, const Value& self, Args& args) {
  if (self.is_string() && self.string->markup) return self;
  return run.String(EscapeHtml(ToText(run, self)), true);
}
Value ForceEscape(Run& run, const Value& self, Args& args) {
  return run.String(EscapeHtml(ToText(run, self)), true);
}
Value Safe(Run& run, const Value& self, Args& args) { return run.String(ToText(run, self), true); }
Value StringFilter(Run& run, const Value& self, Args& args) {
  return self.is_string() ? self : run.String(ToText(run, self));
}

Value StripTags(Run& run, const Value& self, Args& args) {
  std::string text = ToText(run, self);
  for (const auto& [open, close] :
       {std::pair<absl::string_view, absl::string_view>{"<!--", "-->"}, {"<", ">"}}) {
    std::string kept;
    size_t pos = 0;
    while (true) {
      const size_t begin = FindText(text, open, pos);
      const size_t end = begin == absl::string_view::npos ? begin : FindText(text, close, begin);
      if (end == absl::string_view::npos) break;
      kept += text.substr(pos, begin - pos);
      pos = end + close.size();
    }
    text = absl::StrCat(kept, text.substr(pos));
  }
  text = absl::StrJoin(SplitBlanks(text, -1, false), " ");
  return run.String(absl::StrReplaceAll(text, {{"&lt;", "<"},
                                               {"&gt;", ">"},
                                               {"&quot;", "\""},
                                               {"&#34;", "\""},
                                               {"&#39;", "'"},
                                               {"&nbsp;", "\u00a0"},
                                               {"&amp;", "&"}}));
}

std::string QuoteUrl(const std::string& text, bool query) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x80 &&
        (std::isalnum(byte) != 0 || absl::StrContains("_.-~", c) || (c == '/' && !query))) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      static constexpr char kDigits[] = "0123456789ABCDEF";
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

Value UrlEncode(Run& run, const Value& self, Args& args) {
  if (!self.is(Kind::kDict) && !self.is(Kind::kSeq)) {
    return run.String(QuoteUrl(ToText(run, self), false));
  }
  std::vector<std::pair<Value, Value>> pairs;
  if (self.is(Kind::kDict)) {
    pairs = self.dict->entries;
  } else {
    std::vector<Value> items;
    Iterate(run, self, &items);
    for (const Value& item : items) {
      std::vector<Value> pair;
      if (!Iterate(run, item, &pair)) break;
      if (pair.size() != 2) return run.Fail(kValueError, "urlencode: expected pairs");
      pairs.emplace_back(pair[0], pair[1]);
    }
  }
  std::vector<std::string> parts;
  for (const auto& [key, value] : pairs) {
    if (run.failed()) break;
    parts.push_back(
        absl::StrCat(QuoteUrl(ToText(run, key), true), "=", QuoteUrl(ToText(run, value), true)));
  }
  return run.String(absl::StrJoin(parts, "&"));
}

Value FormatFilter(Run& run, const Value& self, Args& args) {
  if (!args.positional.empty() && !args.named.empty()) {
    return run.Fail(kArgumentError,
                    "can't handle positional and keyword arguments at the same time");
  }
  Value arguments = run.List(args.positional, Flavour::kTuple);
  if (!args.named.empty()) {
    arguments = run.EmptyDict();
    for (const auto& [name, value] : args.named) arguments.dict->Set(run.String(name), value);
  }
  return run.String(FormatPercent(run, ToText(run, self), arguments));
}

Value ToJsonFilter(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.Flag(0, false);
  style.sort_keys = bound.Flag(3, false);
  if (bound.has(1) && !bound[1].is_none()) {
    style.indented = true;
    style.item_separator.pop_back();  // the blank
    if (bound[1].is_string()) {
      style.indent = bound[1].text();
    } else if (bound[1].is_int()) {
      const Int width = std::max<Int>(bound[1].as_int(), 0);
      if (width > kMostIndent) {
        return run.Fail(kLimitError, "an indent of more than ", kMostIndent);
      }
      style.indent.assign(static_cast<size_t>(width), ' ');
    } else {
      return run.Fail(kTypeError, "tojson: indent must be a number or a string");
    }
  }
  if (bound.has(2) && !bound[2].is_none()) {
    std::vector<Value> parts;
    if (!Iterate(run, bound[2], &parts)) return Value();
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      return run.Fail(kValueError, "tojson: separators must be two strings");
    }
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  return run.failed() ? Value() : run.String(ToJson(run, self, style));
}

Value FileSize(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "filesizeformat", args, {"binary"});
  const bool binary = bound.Flag(0, false);
  double bytes = self.is_number() ? self.as_double() : 0;
  if (self.is_string()) {
    const auto parsed = ParseFloat(self.text());
    if (!parsed.has_value()) return run.Fail(kValueError, "could not convert string to float");
    bytes = *parsed;
  } else if (!self.is_number()) {
    return run.Fail(kTypeError, "filesizeformat: expected a number");
  }
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return run.String("1 Byte");
  if (bytes < base) return run.String(absl::StrCat(FixedText(std::trunc(bytes), 0), " Bytes"));
  double unit = base * base;
  int power = 0;
  for (; power < 7 && bytes >= unit; ++power) unit *= base;
  return run.String(absl::StrCat(FixedText(base * bytes / unit, 1), " ",
                                 std::string(1, (binary ? "KMGTPEZY" : "kMGTPEZY")[power]),
                                 binary ? "iB" : "B"));
}

Value XmlAttr(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "xmlattr", args, {"autospace"});
  if (!self.is(Kind::kDict)) return run.Fail(kTypeError, "xmlattr: expected a mapping");
  std::vector<std::string> parts;
  for (const auto& [key, value] : self.dict->entries) {
    if (value.is_none() || value.is_undefined() || run.failed()) continue;
    const std::string name = ToText(run, key);
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      return run.Fail(kValueError, "Invalid character in attribute name: ", ReprString(name));
    }
    parts.push_back(absl::StrCat(EscapeHtml(name), "=\"", EscapeHtml(ToText(run, value)), "\""));
  }
  const std::string text = absl::StrJoin(parts, " ");
  return run.String(absl::StrCat(bound.Flag(0, true) && !text.empty() ? " " : "", text));
}

constexpr Builtin kFilters[] = {
    {"capitalize", Mapped<Capitalize>},
    {"center", Center},
    {"e", Escape},
    {"escape", Escape},
    {"filesizeformat", FileSize},
    {"forceescape", ForceEscape},
    {"format", FormatFilter},
    {"indent", Indent},
    {"lower", Mapped<Lower>},
    {"replace", Replace},
    {"safe", Safe},
    {"string", StringFilter},
    {"striptags", StripTags},
    {"title", Mapped<TitleWords>},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"truncate", Truncate},
    {"upper", Mapped<Upper>},
    {"urlencode", UrlEncode},
    {"wordcount", WordCount},
    {"wordwrap", WordWrap},
    {"xmlattr", XmlAttr},
};

}  // namespace

Native FindTextFilter(absl::string_view name) {
  return FindIn(name, std::begin(kFilters), std::end(kFilters));
}

}  // namespace jinja
}  // namespace ninfer
