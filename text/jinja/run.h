// One rendering: its arena, its limits and its first error.
//
// The first error wins and everything after it is thrown away, so that code may go on with an
// undefined value after `Fail`; only what loops must ask `failed()`.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_RUN_H_
#define NINFER_TEXT_JINJA_RUN_H_

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "text/jinja/value.h"

namespace ninfer {
namespace jinja {

// What a template may use. A conversation of a megabyte stays far below each.
struct Limits {
  int64_t steps = 5'000'000;          // nodes evaluated, items visited, and 64 bytes of text each
  int64_t memory = int64_t{1} << 28;  // bytes of all values ever made
  int64_t output = int64_t{1} << 26;  // bytes
  int depth = 1000;                   // nested evaluations
};

// Python's exceptions, by their names.
constexpr char kTemplateError[] = "TemplateError";
constexpr char kSyntaxError[] = "TemplateSyntaxError";
constexpr char kAssertionError[] = "TemplateAssertionError";
constexpr char kRuntimeError[] = "TemplateRuntimeError";
constexpr char kUndefinedError[] = "UndefinedError";
constexpr char kSecurityError[] = "SecurityError";
constexpr char kTypeError[] = "TypeError";
constexpr char kValueError[] = "ValueError";
constexpr char kOverflowError[] = "OverflowError";
constexpr char kZeroDivision[] = "ZeroDivisionError";
constexpr char kArgumentError[] = "FilterArgumentError";
constexpr char kLimitError[] = "limit";  // not Python's: one of `Limits`

struct Error {
  std::string type;  // empty: none
  std::string message;
  int line = 0;  // of the template
};

class Evaluator;

class Run {
 public:
  explicit Run(const Limits& limits) : limits_(limits) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  bool failed() const { return !error.type.empty(); }
  template <typename... Pieces>
  Value Fail(const char* type, const Pieces&... pieces) {
    return SetError(type, absl::StrCat(pieces...));
  }
  // The error of an undefined value that is used.
  Value FailUndefined(const Value& value);
  // False once the rendering has failed or goes over a limit.
  bool Step(int64_t steps = 1);
  bool StepBytes(size_t bytes) { return Step(1 + static_cast<int64_t>(bytes / 64)); }
  // Before a builtin is called: it may look at every byte of the texts that it is given.
  bool StepCall(const Value& self, const Args& args);
  bool Charge(size_t bytes);

  Value String(std::string text, bool markup = false);
  Value List(std::vector<Value> items, Flavour flavour = Flavour::kList);
  Value EmptyDict();
  Value UndefinedValue(std::string message, bool security = false);
  Value Method(absl::string_view name, Native native, const Value& self);
  template <typename T>
  T* Make() {
    Charge(sizeof(T) + 32);
    objects_.push_back(std::make_unique<T>());
    return static_cast<T*>(objects_.back().get());
  }

  Error error;
  int line = 0;  // of what is evaluated now
  int depth = 0;
  std::tm now = {};  // what strftime_now sees
  Evaluator* evaluator = nullptr;
  const Limits& limits() const { return limits_; }

 private:
  Value SetError(const char* type, std::string message);

  Limits limits_;
  int64_t steps_ = 0;
  int64_t bytes_ = 0;
  std::vector<std::unique_ptr<Object>> objects_;
};

// Counts one level of nesting for as long as it lives.
class Nested {
 public:
  explicit Nested(Run& run) : run_(run) {
    if (++run_.depth > run_.limits().depth) {
      run_.Fail(kLimitError, "nested deeper than ", run_.limits().depth, " levels");
    }
  }
  ~Nested() { --run_.depth; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  Run& run_;
};

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_RUN_H_
