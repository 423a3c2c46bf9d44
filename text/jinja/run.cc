#include "text/jinja/run.h"

#include "text/unicode.h"

namespace ninfer {
namespace jinja {

Value Run::SetError(const char* type, std::string message) {
  if (!failed()) error = {type, std::move(message), line};
  return Value();
}

Value Run::FailUndefined(const Value& value) {
  const Undefined* undefined = value.undefined;
  if (undefined == nullptr) return Fail(kUndefinedError, "the value is undefined");
  return Fail(undefined->security ? kSecurityError : kUndefinedError, undefined->message);
}

bool Run::Step(int64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps) {
    Fail(kLimitError, "more than ", limits_.steps, " steps");
  }
  return !failed();
}

bool Run::StepCall(const Value& self, const Args& args) {
  size_t bytes = self.is_string() ? self.text().size() : 0;
  for (const Value& value : args.positional) bytes += value.is_string() ? value.text().size() : 0;
  for (const auto& [name, value] : args.named) bytes += value.is_string() ? value.text().size() : 0;
  return StepBytes(bytes);
}

bool Run::Charge(size_t bytes) {
  bytes_ += static_cast<int64_t>(bytes);
  if (bytes_ > limits_.memory) {
    Fail(kLimitError, "more than ", limits_.memory >> 20, " MiB of values");
  }
  return !failed();
}

Value Run::String(std::string text, bool markup) {
  StepBytes(text.size());
  Charge(text.size());
  Value made;
  made.kind = Kind::kString;
  Str* string = Make<Str>();
  string->ascii = IsAscii(text);
  string->text = std::move(text);
  string->markup = markup;
  made.string = string;
  return made;
}

Value Run::List(std::vector<Value> items, Flavour flavour) {
  Charge(items.size() * sizeof(Value));
  Step(1 + static_cast<int64_t>(items.size() / 4));
  Value made;
  made.kind = Kind::kSeq;
  made.seq = Make<Seq>();
  made.seq->items = std::move(items);
  made.seq->flavour = flavour;
  return made;
}

Value Run::EmptyDict() {
  Value made;
  made.kind = Kind::kDict;
  made.dict = Make<Dict>();
  return made;
}

Value Run::UndefinedValue(std::string message, bool security) {
  Charge(message.size());
  Value made;
  Undefined* undefined = Make<Undefined>();
  undefined->message = std::move(message);
  undefined->security = security;
  made.undefined = undefined;
  return made;
}

Value Run::Method(absl::string_view name, Native native, const Value& self) {
  Value made;
  made.kind = Kind::kFunction;
  Function* function = Make<Function>();
  function->name = std::string(name);
  function->native = native;
  function->self = self;
  made.function = function;
  return made;
}

}  // namespace jinja
}  // namespace ninfer
