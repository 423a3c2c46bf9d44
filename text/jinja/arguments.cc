#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {

Native FindIn(absl::string_view name, const Builtin* begin, const Builtin* end) {
  for (const Builtin* builtin = begin; builtin != end; ++builtin) {
    if (builtin->name == name) return builtin->native;
  }
  return nullptr;
}

Native FindFilter(absl::string_view name) {
  if (name == "pprint") return PrettyPrint;
  for (const auto find : {FindTextFilter, FindSequenceFilter, FindNumberFilter}) {
    if (const Native filter = find(name)) return filter;
  }
  return nullptr;
}

Bound::Bound(Run& run, absl::string_view function, const Args& args,
             std::initializer_list<absl::string_view> names, size_t required)
    : run_(run), function_(function), values_(names.size()), given_(names.size(), false) {
  if (args.positional.size() > names.size()) {
    run.Fail(kTypeError, function, "() takes at most ", names.size(), " arguments (",
             args.positional.size(), " given)");
    return;
  }
  for (size_t i = 0; i < args.positional.size(); ++i) {
    values_[i] = args.positional[i];
    given_[i] = true;
  }
  for (const auto& [name, value] : args.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    const size_t at = found - names.begin();
    if (found == names.end()) {
      run.Fail(kTypeError, function, "() got an unexpected keyword argument ", ReprString(name));
      return;
    }
    if (given_[at]) {
      run.Fail(kTypeError, function, "() got multiple values for argument ", ReprString(name));
      return;
    }
    values_[at] = value;
    given_[at] = true;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!given_[i]) {
      run.Fail(kTypeError, function, "() missing required argument ",
               ReprString(*(names.begin() + i)));
    }
  }
}

Int Bound::Integer(size_t i, Int fallback) {
  if (!given_[i]) return fallback;
  if (values_[i].is_int()) return values_[i].as_int();
  if (values_[i].is_undefined()) run_.FailUndefined(values_[i]);
  run_.Fail(kTypeError, function_, "(): '", TypeName(values_[i]),
            "' object cannot be interpreted as an integer");
  return fallback;
}

bool Bound::Flag(size_t i, bool fallback) const {
  return given_[i] ? Truthy(values_[i]) : fallback;
}

std::string Bound::Text(size_t i, absl::string_view fallback) {
  if (!given_[i]) return std::string(fallback);
  if (values_[i].is_string()) return values_[i].text();
  run_.Fail(kTypeError, function_, "() argument must be str, not ", TypeName(values_[i]));
  return std::string(fallback);
}

}  // namespace jinja
}  // namespace ninfer
