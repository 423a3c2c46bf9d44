// The filter `pprint`: pprint.pformat with its 80 columns.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

constexpr size_t kWidth = 80;

// Dicts in the order of their keys, at every level.
Value Sorted(Run& run, const Value& value) {
  const Nested nested(run);
  if (!run.Step()) return Value();
  if (value.is(Kind::kSeq) && value.seq->flavour <= Flavour::kTuple) {
    std::vector<Value> items;
    for (const Value& item : value.seq->items) items.push_back(Sorted(run, item));
    return run.List(std::move(items), value.seq->flavour);
  }
  if (!value.is(Kind::kDict)) return value;
  auto entries = value.dict->entries;
  std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
    const bool comparable =
        a.first.kind == b.first.kind || (a.first.is_number() && b.first.is_number());
    return !run.failed() && comparable && Less(run, a.first, b.first);
  });
  const Value out = run.EmptyDict();
  for (const auto& [key, item] : entries) out.dict->Set(key, Sorted(run, item));
  return out;
}

void Format(Run& run, const Value& value, size_t indent, size_t after, std::string* out) {
  const Nested nested(run);
  const std::string plain = Repr(run, value);
  const bool list = value.is(Kind::kSeq) && value.seq->flavour <= Flavour::kTuple;
  if (run.failed() || CharCount(plain) + indent + after <= kWidth ||
      (!list && !value.is(Kind::kDict))) {
    *out += plain;
    return;
  }
  const bool tuple = list && value.seq->flavour == Flavour::kTuple;
  *out += list ? (tuple ? "(" : "[") : "{";
  const size_t count = list ? value.seq->items.size() : value.dict->entries.size();
  for (size_t i = 0; i < count && !run.failed(); ++i) {
    if (i > 0) *out += ",\n" + std::string(indent + 1, ' ');
    const size_t behind = i + 1 == count ? after + 1 : 1;
    if (list) {
      Format(run, value.seq->items[i], indent + 1, behind, out);
    } else {
      const std::string key = Repr(run, value.dict->entries[i].first);
      *out += key + ": ";
      Format(run, value.dict->entries[i].second, indent + 3 + CharCount(key), behind, out);
    }
  }
  *out += list ? (tuple ? (count == 1 ? ",)" : ")") : "]") : "}";
}

}  // namespace

Value PrettyPrint(Run& run, const Value& self, Args& args) {
  std::string out;
  Format(run, Sorted(run, self), 0, 0, &out);
  return run.String(std::move(out));
}

}  // namespace jinja
}  // namespace ninfer
