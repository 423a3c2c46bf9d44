#include <algorithm>
#include <cmath>

#include "absl/strings/str_split.h"
#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

Value IgnoreCase(Run& run, const Value& value, bool case_sensitive) {
  return case_sensitive || !value.is_string() ? value : run.String(Lower(value.text()));
}

struct Keyed {
  Value key;
  Value item;
};

void SortKeyed(Run& run, std::vector<Keyed>* items, bool reverse) {
  // A merge sort, which an order that fails midway cannot lead astray.
  std::stable_sort(items->begin(), items->end(), [&](const Keyed& a, const Keyed& b) {
    if (run.failed()) return false;
    return reverse ? Less(run, b.key, a.key) : Less(run, a.key, b.key);
  });
}

std::vector<Value> Unkeyed(const std::vector<Keyed>& keyed) {
  std::vector<Value> items;
  for (const Keyed& each : keyed) items.push_back(each.item);
  return items;
}

Value Sort(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "sort", args, {"reverse", "case_sensitive", "attribute"});
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  std::vector<Value> paths = {bound.has(2) ? bound[2] : Value::None()};
  if (paths[0].is_string()) {
    const std::string names = paths[0].text();
    paths.clear();
    for (const absl::string_view path : absl::StrSplit(names, ',')) {
      paths.push_back(run.String(std::string(path)));
    }
  }
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    std::vector<Value> keys;
    for (const Value& path : paths) {
      keys.push_back(IgnoreCase(run, GetPath(run, item, path), bound.Flag(1, false)));
    }
    if (run.failed()) return Value();
    keyed.push_back({run.List(std::move(keys)), item});  // lists pass over what is equal
  }
  SortKeyed(run, &keyed, bound.Flag(0, false));
  return run.List(Unkeyed(keyed));
}

Value DictSort(Run& run, const Value& self, Args& args) {
  Bound bound(run, "dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.Text(1, "key");
  if (by != "key" && by != "value") {
    return run.Fail(kArgumentError, "You can only sort by either \"key\" or \"value\"");
  }
  if (self.is_undefined()) return run.FailUndefined(self);
  if (!self.is(Kind::kDict)) return run.Fail("AttributeError", "dictsort: expected a mapping");
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : self.dict->entries) {
    if (run.failed()) return Value();
    keyed.push_back({IgnoreCase(run, by == "key" ? key : value, bound.Flag(0, false)),
                     run.List({key, value}, Flavour::kTuple)});
  }
  SortKeyed(run, &keyed, bound.Flag(2, false));
  return run.List(Unkeyed(keyed));
}

Value Unique(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "unique", args, {"case_sensitive", "attribute"});
  std::vector<Value> items;
  Iterate(run, self, &items);
  const Value seen = run.EmptyDict();
  std::vector<Value> out;
  for (const Value& item : items) {
    const Value key = IgnoreCase(run, GetPath(run, item, bound.has(1) ? bound[1] : Value::None()),
                                 bound.Flag(0, false));
    if (!run.Charge(4 * sizeof(Value))) break;
    const size_t before = seen.dict->entries.size();
    if (!seen.dict->Set(key, Value::None())) {
      return run.Fail(kTypeError, "unhashable type: '", TypeName(key), "'");
    }
    if (seen.dict->entries.size() > before) out.push_back(item);
  }
  return run.List(std::move(out), Flavour::kGenerator);
}

template <bool greatest>
Value MinMax(Run& run, const Value& self, Args& args) {
  const Bound bound(run, greatest ? "max" : "min", args, {"case_sensitive", "attribute"});
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  if (items.empty()) return run.UndefinedValue("No aggregated item, sequence was empty.");
  const auto key = [&](const Value& item) {
    return IgnoreCase(run, GetPath(run, item, bound.has(1) ? bound[1] : Value::None()),
                      bound.Flag(0, false));
  };
  Keyed best = {key(items[0]), items[0]};
  for (size_t i = 1; i < items.size() && !run.failed(); ++i) {
    const Value next = key(items[i]);
    const bool better = greatest ? Less(run, next, best.key, ">") : Less(run, next, best.key, "<");
    if (better) best = {next, items[i]};
  }
  return best.item;
}

Value GroupBy(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  const auto raw_key = [&](const Value& item) {
    const Value key = GetPath(run, item, bound[0]);
    return key.is_undefined() && bound.has(1) && !bound[1].is_none() ? bound[1] : key;
  };
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    keyed.push_back({IgnoreCase(run, raw_key(item), bound.Flag(2, false)), item});
    if (run.failed()) return Value();
  }
  SortKeyed(run, &keyed, false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size() && !run.failed();) {
    std::vector<Value> members;
    size_t end = begin;
    while (end < keyed.size() && Equal(run, keyed[end].key, keyed[begin].key)) {
      members.push_back(keyed[end++].item);
    }
    if (end == begin) break;  // the run has failed
    const Value group =
        run.List({raw_key(members[0]), run.List(std::move(members))}, Flavour::kTuple);
    group.seq->group = true;
    groups.push_back(group);
    begin = end;
  }
  return run.List(std::move(groups));
}

Value Join(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "join", args, {"d", "attribute"});
  const std::string separator = bound.has(0) ? ToText(run, bound[0]) : "";
  std::vector<Value> items;
  Iterate(run, self, &items);
  std::string out;
  for (size_t i = 0; i < items.size() && !run.failed(); ++i) {
    const Value item = bound.has(1) ? GetPath(run, items[i], bound[1]) : items[i];
    const std::string text = ToText(run, item);
    if (i > 0) out += separator;
    out += text;
    run.Charge(separator.size() + text.size());
  }
  return run.String(std::move(out));
}

Value First(Run& run, const Value& self, Args& args) {
  if (self.is(Kind::kSeq) && self.seq->one_pass() && !self.seq->items.empty()) {
    if (!run.Step(1 + static_cast<int64_t>(self.seq->items.size() / 4))) return Value();
    const Value first = self.seq->items.front();
    self.seq->items.erase(self.seq->items.begin());
    return first;
  }
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  return items.empty() ? run.UndefinedValue("No first item, sequence was empty.") : items[0];
}

Value Last(Run& run, const Value& self, Args& args) {
  if (self.is(Kind::kSeq) && self.seq->one_pass()) {
    return run.Fail(kTypeError, "'", TypeName(self), "' object is not reversible");
  }
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  return items.empty() ? run.UndefinedValue("No last item, sequence was empty.") : items.back();
}

Value LengthFilter(Run& run, const Value& self, Args& args) {
  return Value::Integer(Length(run, self));
}

Value ListFilter(Run& run, const Value& self, Args& args) {
  std::vector<Value> items;
  Iterate(run, self, &items);
  return run.List(std::move(items));
}

Value Items(Run& run, const Value& self, Args& args) {
  std::vector<Value> items;
  if (!self.is_undefined() && !self.is(Kind::kDict)) {
    return run.Fail(kTypeError, "Can only get item pairs from a mapping.");
  }
  if (self.is(Kind::kDict)) {
    for (const auto& [key, value] : self.dict->entries) {
      if (run.failed()) break;
      items.push_back(run.List({key, value}, Flavour::kTuple));
    }
  }
  return run.List(std::move(items), Flavour::kGenerator);
}

Value Reverse(Run& run, const Value& self, Args& args) {
  std::vector<Value> items;
  if (self.is_string())
    return GetSlice(run, self, Value::None(), Value::None(), Value::Integer(-1));
  if (!Iterate(run, self, &items)) return Value();
  std::reverse(items.begin(), items.end());
  const bool lazy = self.is(Kind::kDict) || (self.is(Kind::kSeq) && !self.seq->one_pass());
  return run.List(std::move(items), lazy ? Flavour::kIterator : Flavour::kList);
}

Value Batch(Run& run, const Value& self, Args& args) {
  Bound bound(run, "batch", args, {"linecount", "fill_with"}, 1);
  const Int count = bound.Integer(0, 1);
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  std::vector<Value> rows;
  std::vector<Value> row;
  for (const Value& item : items) {
    if (static_cast<Int>(row.size()) == count) rows.push_back(run.List(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    const bool fill = bound.has(1) && !bound[1].is_none();
    while (fill && static_cast<Int>(row.size()) < count && run.Charge(sizeof(Value))) {
      row.push_back(bound[1]);
    }
    rows.push_back(run.List(std::move(row)));
  }
  return run.List(std::move(rows), Flavour::kGenerator);
}

Value Slice(Run& run, const Value& self, Args& args) {
  Bound bound(run, "slice", args, {"slices", "fill_with"}, 1);
  const Int slices = bound.Integer(0, 1);
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  if (slices == 0) return run.Fail(kZeroDivision, "integer division or modulo by zero");
  std::vector<Value> out;
  const Int size = items.size();
  size_t begin = 0;
  for (Int i = 0; i < slices && run.Step(); ++i) {
    const bool longer = i < size % slices;
    const size_t count = static_cast<size_t>(size / slices + longer);
    std::vector<Value> part(items.begin() + begin, items.begin() + begin + count);
    if (!longer && bound.has(1) && !bound[1].is_none()) part.push_back(bound[1]);
    begin += count;
    out.push_back(run.List(std::move(part)));
  }
  return run.List(std::move(out), Flavour::kGenerator);
}

// Jinja's lazy filters do not look at what is false, whether or not it has items.
Value Map(Run& run, const Value& self, Args& args) {
  if (!Truthy(self)) return run.List({}, Flavour::kGenerator);
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  std::vector<Value> out;
  if (args.positional.empty()) {
    const Bound bound(run, "map", args, {"attribute", "default"});
    if (!bound.has(0)) return run.Fail(kArgumentError, "map requires a filter argument");
    for (const Value& item : items) {
      if (run.failed()) break;
      Value value = GetPath(run, item, bound[0]);
      if (value.is_undefined() && bound.has(1) && !bound[1].is_none()) value = bound[1];
      out.push_back(value);
    }
    return run.List(std::move(out), Flavour::kGenerator);
  }
  const std::string name = ToText(run, args.positional[0]);
  const Native filter = FindFilter(name);
  if (filter == nullptr && !items.empty()) {
    return run.Fail(kRuntimeError, "No filter named ", ReprString(name), ".");
  }
  for (const Value& item : items) {
    Args call = {{args.positional.begin() + 1, args.positional.end()}, args.named};
    if (!run.StepCall(item, call)) break;
    out.push_back(filter(run, item, call));
  }
  return run.List(std::move(out), Flavour::kGenerator);
}

// Those that pass a test, or are true where none is named.
template <bool keep, bool by_attribute>
Value Select(Run& run, const Value& self, Args& args) {
  if (!Truthy(self)) return run.List({}, Flavour::kGenerator);
  std::vector<Value> items;
  if (!Iterate(run, self, &items)) return Value();
  size_t next = by_attribute ? 1 : 0;
  if (args.positional.size() < next) {
    return run.Fail(kArgumentError, "Missing parameter for attribute name");
  }
  Native test = nullptr;
  if (args.positional.size() > next) {
    const std::string name = ToText(run, args.positional[next++]);
    test = FindTest(name);
    if (test == nullptr && !items.empty()) {
      return run.Fail(kRuntimeError, "No test named ", ReprString(name), ".");
    }
  }
  std::vector<Value> out;
  for (const Value& item : items) {
    const Value seen = by_attribute ? GetPath(run, item, args.positional[0]) : item;
    Args call = {{args.positional.begin() + next, args.positional.end()}, args.named};
    if (!run.StepCall(seen, call)) break;
    const bool passes = Truthy(test == nullptr ? seen : test(run, seen, call));
    if (passes == keep) out.push_back(item);
  }
  return run.List(std::move(out), Flavour::kGenerator);
}

Value Sum(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "sum", args, {"attribute", "start"});
  std::vector<Value> items;
  Iterate(run, self, &items);
  Value total = bound.has(1) ? bound[1] : Value::Integer(0);
  if (total.is_string()) {
    return run.Fail(kTypeError, "sum() can't sum strings [use ''.join(seq) instead]");
  }
  for (const Value& item : items) {
    if (run.failed()) break;
    total = Arithmetic(run, BinaryOp::kAdd, total,
                       GetPath(run, item, bound.has(0) ? bound[0] : Value::None()));
  }
  return total;
}

Value Default(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "default", args, {"default_value", "boolean"});
  const bool use = self.is_undefined() || (bound.Flag(1, false) && !Truthy(self));
  if (!use) return self;
  return bound.has(0) ? bound[0] : run.String("");
}

Value Attr(Run& run, const Value& self, Args& args) {
  Bound bound(run, "attr", args, {"name"}, 1);
  const std::string name = bound.Text(0);
  return run.failed() ? Value() : GetAttributeOnly(run, self, name);
}

constexpr Builtin kFilters[] = {
    {"attr", Attr},
    {"batch", Batch},
    {"count", LengthFilter},
    {"d", Default},
    {"default", Default},
    {"dictsort", DictSort},
    {"first", First},
    {"groupby", GroupBy},
    {"items", Items},
    {"join", Join},
    {"last", Last},
    {"length", LengthFilter},
    {"list", ListFilter},
    {"map", Map},
    {"max", MinMax<true>},
    {"min", MinMax<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<false, true>},
    {"reverse", Reverse},
    {"select", Select<true, false>},
    {"selectattr", Select<true, true>},
    {"slice", Slice},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

Native FindSequenceFilter(absl::string_view name) {
  return FindIn(name, std::begin(kFilters), std::end(kFilters));
}

}  // namespace jinja
}  // namespace ninfer
