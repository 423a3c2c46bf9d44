// The filters, tests, functions and methods that templates know, by name.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_BUILTINS_H_
#define NINFER_TEXT_JINJA_BUILTINS_H_

#include <initializer_list>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/jinja/run.h"
#include "text/jinja/value.h"

namespace ninfer {
namespace jinja {

struct Builtin {
  absl::string_view name;
  Native native;
};

// Null where there is none. A filter's and a test's `self` is what stands before it.
Native FindFilter(absl::string_view name);
Native FindTest(absl::string_view name);
Native FindGlobal(absl::string_view name);
Native FindStringMethod(absl::string_view name);

Native FindIn(absl::string_view name, const Builtin* begin, const Builtin* end);
// Each file of filters has a table.
Native FindTextFilter(absl::string_view name);
Native FindSequenceFilter(absl::string_view name);
Native FindNumberFilter(absl::string_view name);
Value PrettyPrint(Run& run, const Value& self, Args& args);

// Arguments by Python's rules: given by position or name, those behind `required` may be absent.
class Bound {
 public:
  Bound(Run& run, absl::string_view function, const Args& args,
        std::initializer_list<absl::string_view> names, size_t required = 0);
  bool has(size_t i) const { return given_[i]; }
  const Value& operator[](size_t i) const { return values_[i]; }
  // With a fallback for an absent argument; another type is an error.
  Int Integer(size_t i, Int fallback);
  bool Flag(size_t i, bool fallback) const;
  std::string Text(size_t i, absl::string_view fallback = "");

 private:
  Run& run_;
  std::string function_;
  std::vector<Value> values_;
  std::vector<bool> given_;
};

// '%' and str.format (format.cc).
std::string FormatPercent(Run& run, absl::string_view format, const Value& arguments);
Value FormatBraces(Run& run, const Value& self, Args& args);
Value FormatMap(Run& run, const Value& self, Args& args);
// A number with a fixed count of digits behind the point, rounded as Python does.
std::string FixedText(double value, int digits);

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_BUILTINS_H_
