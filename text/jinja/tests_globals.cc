// The tests behind `is`, and the functions that a template may call.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

constexpr Int kMostRange = 100000;

Value Remainder(Run& run, const Value& self, Int by) {
  return Arithmetic(run, BinaryOp::kMod, self, Value::Integer(by));
}

template <int rest>
Value IsRest(Run& run, const Value& self, Args& args) {
  return Value::Bool(Equal(run, Remainder(run, self, 2), Value::Integer(rest)));
}
Value IsDivisible(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "divisibleby", args, {"num"}, 1);
  return Value::Bool(
      Equal(run, Arithmetic(run, BinaryOp::kMod, self, bound[0]), Value::Integer(0)));
}
Value IsDefined(Run& run, const Value& self, Args& args) {
  return Value::Bool(!self.is_undefined());
}
Value IsUndefined(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is_undefined());
}
template <Kind kind>
Value IsKind(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is(kind));
}
template <bool value>
Value IsBool(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is(Kind::kBool) && self.boolean == value);
}
Value IsNumberTest(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is_number());
}
Value IsSequence(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is_string() || self.is(Kind::kDict) || self.is_undefined() ||
                     (self.is(Kind::kSeq) && self.seq->indexable()));
}
Value IsIterable(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is_string() || self.is(Kind::kDict) || self.is_undefined() ||
                     self.is(Kind::kSeq) || self.is(Kind::kLoop));
}
Value IsCallable(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is(Kind::kFunction) || self.is(Kind::kLoop) || self.is_undefined() ||
                     (self.is(Kind::kHelper) && self.helper->joiner));
}
Value IsEscaped(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is_string() && self.string->markup);
}
Value IsFilterName(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is_string() && FindFilter(self.text()) != nullptr);
}
Value IsTestName(Run& run, const Value& self, Args& args) {
  return Value::Bool(self.is_string() && FindTest(self.text()) != nullptr);
}
template <bool (*test)(absl::string_view)>
Value IsCase(Run& run, const Value& self, Args& args) {
  return Value::Bool(test(ToText(run, self)));
}
Value IsSame(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "sameas", args, {"other"}, 1);
  if (self.kind != bound[0].kind) return Value::Bool(false);
  const bool object = self.is(Kind::kSeq) || self.is(Kind::kDict) || self.is(Kind::kNamespace);
  return Value::Bool(object ? self.ns == bound[0].ns : Equal(run, self, bound[0]));
}
Value IsIn(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "in", args, {"seq"}, 1);
  return Value::Bool(!run.failed() && Contains(run, bound[0], self));
}

enum CompareWith { kEq, kNe, kLt, kLe, kGt, kGe };
template <CompareWith op>
Value IsCompared(Run& run, const Value& self, Args& args) {
  static constexpr absl::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
  const Bound bound(run, "the test", args, {"other"}, 1);
  return Value::Bool(!run.failed() && Compare(run, kOperators[op], self, bound[0]));
}

constexpr Builtin kTests[] = {
    {"!=", IsCompared<kNe>},
    {"<", IsCompared<kLt>},
    {"<=", IsCompared<kLe>},
    {"==", IsCompared<kEq>},
    {">", IsCompared<kGt>},
    {">=", IsCompared<kGe>},
    {"boolean", IsKind<Kind::kBool>},
    {"callable", IsCallable},
    {"defined", IsDefined},
    {"divisibleby", IsDivisible},
    {"eq", IsCompared<kEq>},
    {"equalto", IsCompared<kEq>},
    {"escaped", IsEscaped},
    {"even", IsRest<0>},
    {"false", IsBool<false>},
    {"filter", IsFilterName},
    {"float", IsKind<Kind::kFloat>},
    {"ge", IsCompared<kGe>},
    {"greaterthan", IsCompared<kGt>},
    {"gt", IsCompared<kGt>},
    {"in", IsIn},
    {"integer", IsKind<Kind::kInt>},
    {"iterable", IsIterable},
    {"le", IsCompared<kLe>},
    {"lessthan", IsCompared<kLt>},
    {"lower", IsCase<IsLower>},
    {"lt", IsCompared<kLt>},
    {"mapping", IsKind<Kind::kDict>},
    {"ne", IsCompared<kNe>},
    {"none", IsKind<Kind::kNone>},
    {"number", IsNumberTest},
    {"odd", IsRest<1>},
    {"sameas", IsSame},
    {"sequence", IsSequence},
    {"string", IsKind<Kind::kString>},
    {"test", IsTestName},
    {"true", IsBool<true>},
    {"undefined", IsUndefined},
    {"upper", IsCase<IsUpper>},
};

Value RaiseException(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "raise_exception", args, {"message"}, 1);
  return run.Fail(kTemplateError, ToText(run, bound[0]));
}

Value StrftimeNow(Run& run, const Value& self, Args& args) {
  Bound bound(run, "strftime_now", args, {"format"}, 1);
  std::string format = bound.Text(0);
  if (run.failed() || format.empty()) return run.String("");
  format = ReplaceText(format, "%f", "000000", -1);
  std::string text(1024 + 8 * std::min<size_t>(format.size(), 4096), '\0');
  text.resize(std::strftime(&text[0], text.size(), format.c_str(), &run.now));
  return run.String(std::move(text));
}

Value Range(Run& run, const Value& self, Args& args) {
  Bound bound(run, "range", args, {"start", "stop", "step"}, 1);
  const bool one = !bound.has(1);
  const Int start = one ? 0 : bound.Integer(0, 0);
  const Int stop = bound.Integer(one ? 0 : 1, 0);
  const Int step = bound.Integer(2, 1);
  if (run.failed()) return Value();
  if (step == 0) return run.Fail(kValueError, "range() arg 3 must not be zero");
  std::vector<Value> items;
  for (Int i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<Int>(items.size()) >= kMostRange) {
      return run.Fail(kOverflowError,
                      "Range too big. The sandbox blocks ranges larger than MAX_RANGE (",
                      static_cast<int64_t>(kMostRange), ").");
    }
    items.push_back(Value::Integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  const Value range = run.List(std::move(items), Flavour::kRange);
  if (run.failed()) return Value();
  range.seq->range[0] = start;
  range.seq->range[1] = stop;
  range.seq->range[2] = step;
  return range;
}

// dict(pairs or mapping, name=value...)
Value MakeDict(Run& run, const Value& self, Args& args) {
  const Value dict = run.EmptyDict();
  if (args.positional.size() > 1) {
    return run.Fail(kTypeError, "dict expected at most 1 argument, got ", args.positional.size());
  }
  std::vector<std::pair<Value, Value>> entries;
  if (!args.positional.empty() && args.positional[0].is(Kind::kDict)) {
    entries = args.positional[0].dict->entries;
  } else if (!args.positional.empty()) {
    std::vector<Value> pairs;
    Iterate(run, args.positional[0], &pairs);
    for (const Value& item : pairs) {
      std::vector<Value> pair;
      if (!Iterate(run, item, &pair)) break;
      if (pair.size() != 2) {
        return run.Fail(kValueError, "dictionary update sequence element has length ", pair.size(),
                        "; 2 is required");
      }
      entries.emplace_back(pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : args.named) entries.emplace_back(run.String(name), value);
  for (const auto& [key, value] : entries) {
    if (!run.Charge(4 * sizeof(Value))) break;
    if (!dict.dict->Set(key, value)) {
      return run.Fail(kTypeError, "unhashable type: '", TypeName(key), "'");
    }
  }
  return dict;
}

Value MakeNamespace(Run& run, const Value& self, Args& args) {
  const Value dict = MakeDict(run, self, args);
  if (run.failed()) return Value();
  Value ns;
  ns.kind = Kind::kNamespace;
  ns.ns = run.Make<Namespace>();
  for (const auto& [key, value] : dict.dict->entries) {
    if (key.is_string()) SetAttribute(run, ns.ns, key, value);
  }
  return ns;
}

Value MakeHelper(Run& run, std::vector<Value> items, bool joiner) {
  Value value;
  value.kind = Kind::kHelper;
  value.helper = run.Make<Helper>();
  value.helper->joiner = joiner;
  value.helper->items = std::move(items);
  return value;
}
Value MakeCycler(Run& run, const Value& self, Args& args) {
  if (args.positional.empty()) {
    return run.Fail("RuntimeError", "at least one item has to be provided");
  }
  return MakeHelper(run, args.positional, false);
}
Value MakeJoiner(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "joiner", args, {"sep"});
  return MakeHelper(run, {bound.has(0) ? bound[0] : run.String(", ")}, true);
}

constexpr Builtin kGlobals[] = {{"cycler", MakeCycler},
                                {"dict", MakeDict},
                                {"joiner", MakeJoiner},
                                {"namespace", MakeNamespace},
                                {"raise_exception", RaiseException},
                                {"range", Range},
                                {"strftime_now", StrftimeNow}};

}  // namespace

Native FindTest(absl::string_view name) {
  return FindIn(name, std::begin(kTests), std::end(kTests));
}

Native FindGlobal(absl::string_view name) {
  return FindIn(name, std::begin(kGlobals), std::end(kGlobals));
}

}  // namespace jinja
}  // namespace ninfer
