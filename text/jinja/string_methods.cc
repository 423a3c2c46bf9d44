#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

constexpr size_t kNone = absl::string_view::npos;

Value Texts(Run& run, const std::vector<absl::string_view>& parts,
            Flavour flavour = Flavour::kList) {
  std::vector<Value> items;
  for (const absl::string_view part : parts) {
    if (run.failed()) break;
    items.push_back(run.String(std::string(part)));
  }
  return run.List(std::move(items), flavour);
}

template <std::string (*map)(absl::string_view)>
Value Mapped(Run& run, const Value& self, Args& args) {
  Bound(run, "the method", args, {});
  return run.String(map(self.text()));
}

template <CharClass what>
Value InClass(Run& run, const Value& self, Args& args) {
  Bound(run, "the method", args, {});
  run.StepBytes(self.text().size());
  return Value::Bool(AllOf(self.text(), what));
}

template <bool (*test)(absl::string_view)>
Value Tested(Run& run, const Value& self, Args& args) {
  Bound(run, "the method", args, {});
  run.StepBytes(self.text().size());
  return Value::Bool(test(self.text()));
}

template <bool left, bool right>
Value StripMethod(Run& run, const Value& self, Args& args) {
  Bound bound(run, "strip", args, {"chars"});
  if (!bound.has(0) || bound[0].is_none()) {
    return run.String(std::string(Strip(self.text(), left, right)));
  }
  return run.String(std::string(StripChars(self.text(), bound.Text(0), left, right)));
}

template <bool from_right>
Value Split(Run& run, const Value& self, Args& args) {
  Bound bound(run, "split", args, {"sep", "maxsplit"});
  const Int most = std::clamp<Int>(bound.Integer(1, -1), -1, INT32_MAX);
  const auto limit = static_cast<int64_t>(most);
  run.StepBytes(self.text().size());
  if (!bound.has(0) || bound[0].is_none()) {
    return Texts(run, SplitBlanks(self.text(), limit, from_right));
  }
  const std::string separator = bound.Text(0);
  if (run.failed()) return Value();
  if (separator.empty()) return run.Fail(kValueError, "empty separator");
  return Texts(run, SplitAt(self.text(), separator, limit, from_right));
}

Value SplitLinesMethod(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "splitlines", args, {"keepends"});
  return Texts(run, SplitLines(self.text(), bound.Flag(0, false)));
}

// The part of the text that optional start and end positions leave, and where it begins.
absl::string_view Window(Bound& bound, const Value& self, size_t* begin, bool* outside) {
  const std::string& text = self.text();
  const Int size = CharCount(text);
  const auto place = [&](size_t i, Int fallback) {
    Int at = bound.has(i) && !bound[i].is_none() ? bound.Integer(i, fallback) : fallback;
    if (at < 0) at = std::max<Int>(at + size, 0);
    return at;
  };
  const Int from = place(1, 0);
  const Int to = std::min(place(2, size), size);
  *outside = from > to;
  if (*outside) return absl::string_view();
  *begin = ByteOfChar(text, static_cast<size_t>(from));
  const size_t end = ByteOfChar(text, static_cast<size_t>(to));
  return absl::string_view(text).substr(*begin, end - *begin);
}

template <bool ends>
Value StartsOrEnds(Run& run, const Value& self, Args& args) {
  Bound bound(run, ends ? "endswith" : "startswith", args, {"prefix", "start", "end"}, 1);
  size_t begin = 0;
  bool outside = false;
  const absl::string_view text = Window(bound, self, &begin, &outside);
  std::vector<Value> parts = {bound[0]};
  if (bound[0].is(Kind::kSeq) && bound[0].seq->flavour == Flavour::kTuple) {
    parts = bound[0].seq->items;
  }
  for (const Value& part : parts) {
    if (!part.is_string()) {
      return run.Fail(kTypeError, ends ? "endswith" : "startswith",
                      " first arg must be str or a tuple of str, not ", TypeName(part));
    }
    if (outside) continue;
    if (ends ? absl::EndsWith(text, part.text()) : absl::StartsWith(text, part.text())) {
      return Value::Bool(true);
    }
  }
  return Value::Bool(false);
}

template <bool from_right, bool must>
Value Find(Run& run, const Value& self, Args& args) {
  Bound bound(run, "find", args, {"sub", "start", "end"}, 1);
  const std::string part = bound.Text(0);
  size_t begin = 0;
  bool outside = false;
  const absl::string_view text = Window(bound, self, &begin, &outside);
  run.StepBytes(self.text().size());
  size_t at = kNone;
  if (!outside && !run.failed()) {
    at = FindText(text, part);
    // From the right, by going on from each place that was found.
    for (size_t next = at; from_right && next != kNone;) {
      at = next;
      next = at < text.size() ? FindText(text, part, at + 1) : kNone;
      if (!run.Step(4)) break;
    }
  }
  if (at == kNone) {
    return must ? run.Fail(kValueError, "substring not found") : Value::Integer(-1);
  }
  return Value::Integer(CharCount(self.text().substr(0, begin + at)));
}

Value Count(Run& run, const Value& self, Args& args) {
  Bound bound(run, "count", args, {"sub", "start", "end"}, 1);
  const std::string part = bound.Text(0);
  size_t begin = 0;
  bool outside = false;
  const absl::string_view text = Window(bound, self, &begin, &outside);
  run.StepBytes(self.text().size());
  if (outside || run.failed()) return Value::Integer(0);
  if (part.empty()) return Value::Integer(CharCount(text) + 1);
  Int count = 0;
  for (size_t at = FindText(text, part); at != kNone; at = FindText(text, part, at + part.size())) {
    ++count;
    if (!run.Step()) break;
  }
  return Value::Integer(count);
}

Value Replace(Run& run, const Value& self, Args& args) {
  Bound bound(run, "replace", args, {"old", "new", "count"}, 2);
  const std::string old = bound.Text(0);
  const std::string with = bound.Text(1);
  const auto limit = static_cast<int64_t>(std::clamp<Int>(bound.Integer(2, -1), -1, INT32_MAX));
  // The result is refused before it is made.
  const size_t times = self.text().size() / std::max<size_t>(1, old.size()) + 1;
  constexpr double kSmall = 1 << 20;  // bytes: not worth counting
  if (with.size() > old.size() && static_cast<double>(times) * with.size() > kSmall) {
    size_t found = old.empty() ? times : 0;
    for (size_t at = FindText(self.text(), old); !old.empty() && at != kNone;
         at = FindText(self.text(), old, at + old.size())) {
      ++found;
    }
    if (static_cast<double>(found) * with.size() > run.limits().memory) {
      run.Charge(static_cast<size_t>(run.limits().memory) + 1);
    }
  }
  if (run.failed()) return Value();
  return run.String(ReplaceText(self.text(), old, with, limit));
}

Value Join(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "join", args, {"iterable"}, 1);
  std::vector<Value> items;
  Iterate(run, bound[0], &items);
  std::string out;
  for (size_t i = 0; i < items.size() && !run.failed(); ++i) {
    if (!items[i].is_string()) {
      return run.Fail(kTypeError, "sequence item ", i, ": expected str instance, ",
                      TypeName(items[i]), " found");
    }
    const std::string& separator = i > 0 ? self.text() : std::string();
    if (!run.Charge(separator.size() + items[i].text().size())) break;
    absl::StrAppend(&out, separator, items[i].text());
  }
  return run.String(std::move(out));
}

// Blanks (or another character) to fill `width`; `left` is the share before the text.
Value Pad(Run& run, const Value& self, Args& args, absl::string_view name) {
  Bound bound(run, name, args, {"width", "fillchar"}, 1);
  const Int size = CharCount(self.text());
  const Int width = bound.Integer(0, 0);
  const std::string fill = bound.Text(1, " ");
  if (run.failed() || width <= size) return self;
  if (CharCount(fill) != 1) {
    return run.Fail(kTypeError, "The fill character must be exactly one character long");
  }
  const Int pad = width - size;
  if (!run.Charge(static_cast<size_t>(std::min<Int>(pad, run.limits().memory)) * fill.size())) {
    return Value();
  }
  const Int before = name == "ljust" ? 0 : name == "rjust" ? pad : pad / 2 + (pad & width & 1);
  std::string out;
  for (Int i = 0; i < before; ++i) out += fill;
  out += self.text();
  for (Int i = before; i < pad; ++i) out += fill;
  return run.String(std::move(out));
}
Value Center(Run& run, const Value& self, Args& args) { return Pad(run, self, args, "center"); }
Value LJust(Run& run, const Value& self, Args& args) { return Pad(run, self, args, "ljust"); }
Value RJust(Run& run, const Value& self, Args& args) { return Pad(run, self, args, "rjust"); }

Value ZFill(Run& run, const Value& self, Args& args) {
  Bound bound(run, "zfill", args, {"width"}, 1);
  const Int pad = bound.Integer(0, 0) - static_cast<Int>(CharCount(self.text()));
  if (run.failed() || pad <= 0) return self;
  if (!run.Charge(static_cast<size_t>(std::min<Int>(pad, run.limits().memory)))) return Value();
  const bool sign = absl::StartsWith(self.text(), "-") || absl::StartsWith(self.text(), "+");
  return run.String(self.text().substr(0, sign) + std::string(static_cast<size_t>(pad), '0') +
                    self.text().substr(sign));
}

template <bool from_right>
Value Partition(Run& run, const Value& self, Args& args) {
  Bound bound(run, "partition", args, {"sep"}, 1);
  const std::string separator = bound.Text(0);
  if (run.failed()) return Value();
  if (separator.empty()) return run.Fail(kValueError, "empty separator");
  const absl::string_view text = self.text();
  const auto parts = SplitAt(text, separator, 1, from_right);
  if (parts.size() == 2) return Texts(run, {parts[0], separator, parts[1]}, Flavour::kTuple);
  if (from_right) return Texts(run, {"", "", text}, Flavour::kTuple);
  return Texts(run, {text, "", ""}, Flavour::kTuple);
}

Value RemovePrefix(Run& run, const Value& self, Args& args) {
  Bound bound(run, "removeprefix", args, {"prefix"}, 1);
  const std::string prefix = bound.Text(0);
  return run.String(std::string(absl::StripPrefix(self.text(), prefix)));
}
Value RemoveSuffix(Run& run, const Value& self, Args& args) {
  Bound bound(run, "removesuffix", args, {"suffix"}, 1);
  const std::string suffix = bound.Text(0);
  return run.String(std::string(absl::StripSuffix(self.text(), suffix)));
}

Value ExpandTabs(Run& run, const Value& self, Args& args) {
  Bound bound(run, "expandtabs", args, {"tabsize"});
  constexpr int kMostBlanks = 10000;
  const Int wanted = std::max<Int>(bound.Integer(0, 8), 0);
  if (wanted > kMostBlanks) return run.Fail(kLimitError, "a tab of more than ", kMostBlanks);
  const auto size = static_cast<int>(wanted);
  std::string out;
  int column = 0;
  for (const absl::string_view c : Characters(self.text())) {
    if (c == "\t") {
      const int blanks = size > 0 ? size - column % size : 0;
      if (!run.Charge(blanks)) break;
      out.append(blanks, ' ');
      column += blanks;
    } else {
      absl::StrAppend(&out, c);
      column = c == "\n" || c == "\r" ? 0 : column + 1;
    }
  }
  return run.String(std::move(out));
}

constexpr Builtin kMethods[] = {
    {"capitalize", Mapped<Capitalize>},
    {"casefold", Mapped<Lower>},
    {"center", Center},
    {"count", Count},
    {"endswith", StartsOrEnds<true>},
    {"expandtabs", ExpandTabs},
    {"find", Find<false, false>},
    {"format", FormatBraces},
    {"format_map", FormatMap},
    {"index", Find<false, true>},
    {"isalnum", InClass<CharClass::kAlnum>},
    {"isalpha", InClass<CharClass::kAlpha>},
    {"isascii", InClass<CharClass::kAscii>},
    {"isdecimal", InClass<CharClass::kDecimal>},
    {"isdigit", InClass<CharClass::kDigit>},
    {"islower", Tested<IsLower>},
    {"isnumeric", InClass<CharClass::kNumeric>},
    {"isspace", InClass<CharClass::kSpace>},
    {"istitle", Tested<IsTitle>},
    {"isupper", Tested<IsUpper>},
    {"join", Join},
    {"ljust", LJust},
    {"lower", Mapped<Lower>},
    {"lstrip", StripMethod<true, false>},
    {"partition", Partition<false>},
    {"removeprefix", RemovePrefix},
    {"removesuffix", RemoveSuffix},
    {"replace", Replace},
    {"rfind", Find<true, false>},
    {"rindex", Find<true, true>},
    {"rjust", RJust},
    {"rpartition", Partition<true>},
    {"rsplit", Split<true>},
    {"rstrip", StripMethod<false, true>},
    {"split", Split<false>},
    {"splitlines", SplitLinesMethod},
    {"startswith", StartsOrEnds<false>},
    {"strip", StripMethod<true, true>},
    {"swapcase", Mapped<SwapCase>},
    {"title", Mapped<Title>},
    {"upper", Mapped<Upper>},
    {"zfill", ZFill},
};

}  // namespace

Native FindStringMethod(absl::string_view name) {
  return FindIn(name, std::begin(kMethods), std::end(kMethods));
}

}  // namespace jinja
}  // namespace ninfer
