#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

Value Abs(Run& run, const Value& self, Args& args) {
  if (self.is_int()) {
    return self.as_int() < 0 ? Negate(run, self) : Value::Integer(self.as_int());
  }
  if (self.is(Kind::kFloat)) return Value::Number(std::fabs(self.number));
  if (self.is_undefined()) return run.FailUndefined(self);
  return run.Fail(kTypeError, "bad operand type for abs(): '", TypeName(self), "'");
}

Value FromFloat(Run& run, double value) {
  if (std::fabs(value) >= 1.7e38) return run.Fail(kLimitError, "an integer of more than 127 bits");
  return Value::Integer(static_cast<Int>(value));
}

Value IntFilter(Run& run, const Value& self, Args& args) {
  Bound bound(run, "int", args, {"default", "base"});
  const Value fallback = bound.has(0) ? bound[0] : Value::Integer(0);
  const auto base = static_cast<int>(std::clamp<Int>(bound.Integer(1, 10), -1, 37));
  if (self.is_int()) return Value::Integer(self.as_int());
  double number = 0;
  if (self.is_string()) {
    const auto whole = ParseInt(self.text(), base);
    if (whole.has_value()) return Value::Integer(*whole);
    const auto parsed = ParseFloat(self.text());
    if (!parsed.has_value() || !std::isfinite(*parsed)) return fallback;
    number = *parsed;
  } else if (self.is(Kind::kFloat)) {
    number = self.number;
    if (std::isinf(number)) {
      return run.Fail(kOverflowError, "cannot convert float infinity to integer");
    }
    if (std::isnan(number)) return fallback;
  } else if (self.is_undefined()) {
    return run.FailUndefined(self);
  } else {
    return fallback;
  }
  return FromFloat(run, number);
}

Value FloatFilter(Run& run, const Value& self, Args& args) {
  const Bound bound(run, "float", args, {"default"});
  if (self.is_number()) return Value::Number(self.as_double());
  if (self.is_undefined()) return run.FailUndefined(self);
  if (self.is_string()) {
    const auto parsed = ParseFloat(self.text());
    if (parsed.has_value()) return Value::Number(*parsed);
  }
  return bound.has(0) ? bound[0] : Value::Number(0);
}

// Python's round: to even at a tie of the decimal places that there really are.
double RoundDigits(double value, int digits) {
  if (!std::isfinite(value)) return value;
  if (digits >= 0) {
    double out = value;
    if (digits < 320) (void)absl::SimpleAtod(FixedText(value, digits), &out);
    return out;
  }
  const double unit = std::pow(10.0, -digits);
  return std::isfinite(unit) ? std::nearbyint(value / unit) * unit : 0.0;
}

Value Round(Run& run, const Value& self, Args& args) {
  Bound bound(run, "round", args, {"precision", "method"});
  const auto digits = static_cast<int>(std::clamp<Int>(bound.Integer(0, 0), -400, 400));
  const std::string method = bound.Text(1, "common");
  if (run.failed()) return Value();
  if (method != "common" && method != "ceil" && method != "floor") {
    return run.Fail(kArgumentError, "method must be common, ceil or floor");
  }
  if (self.is_undefined()) return run.FailUndefined(self);
  if (!self.is_number()) {
    return run.Fail(kTypeError, "type ", TypeName(self), " doesn't define __round__ method");
  }
  if (method == "common") {
    if (self.is(Kind::kFloat)) return Value::Number(RoundDigits(self.number, digits));
    if (digits >= 0) return Value::Integer(self.as_int());
    return FromFloat(run, RoundDigits(self.as_double(), digits));
  }
  const double unit = std::pow(10.0, digits);
  const double scaled = self.as_double() * unit;
  return Value::Number((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

constexpr Builtin kFilters[] = {
    {"abs", Abs}, {"float", FloatFilter}, {"int", IntFilter}, {"round", Round}};

}  // namespace

Native FindNumberFilter(absl::string_view name) {
  return FindIn(name, std::begin(kFilters), std::end(kFilters));
}

}  // namespace jinja
}  // namespace ninfer
