#include <cmath>
#include <limits>

#include "text/jinja/builtins.h"
#include "text/jinja/ops.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {
namespace {

constexpr absl::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

absl::string_view Symbol(BinaryOp op) { return kSymbols[static_cast<int>(op)]; }

Value Unsupported(Run& run, BinaryOp op, const Value& a, const Value& b) {
  return run.Fail(kTypeError, "unsupported operand type(s) for ", Symbol(op), ": '", TypeName(a),
                  "' and '", TypeName(b), "'");
}

Value TooLarge(Run& run) { return run.Fail(kLimitError, "an integer of more than 127 bits"); }

Value FloatArithmetic(Run& run, BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return Value::Number(a + b);
    case BinaryOp::kSub:
      return Value::Number(a - b);
    case BinaryOp::kMul:
      return Value::Number(a * b);
    case BinaryOp::kPow:
      if (a == 0 && b < 0) {
        return run.Fail(kZeroDivision, "0.0 cannot be raised to a negative power");
      }
      if (a < 0 && b != std::floor(b)) return run.Fail(kValueError, "a complex number");
      return Value::Number(std::pow(a, b));
    default:
      break;
  }
  if (b == 0) {
    return run.Fail(kZeroDivision, op == BinaryOp::kDiv        ? "float division by zero"
                                   : op == BinaryOp::kFloorDiv ? "float floor division by zero"
                                                               : "float modulo");
  }
  if (op == BinaryOp::kDiv) return Value::Number(a / b);
  double rest = std::fmod(a, b);
  if (rest != 0 && (b < 0) != (rest < 0)) rest += b;
  if (op == BinaryOp::kMod) return Value::Number(rest == 0 ? std::copysign(0.0, b) : rest);
  return Value::Number(std::round((a - rest) / b));
}

Value IntPower(Run& run, Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) return run.Fail(kZeroDivision, "0.0 cannot be raised to a negative power");
    return Value::Number(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1) return Value::Integer(exponent == 0 ? 1 : base);
  if (base == -1) return Value::Integer(exponent % 2 == 0 ? 1 : -1);
  Int result = 1;
  for (; exponent > 0; --exponent) {  // at most 127 times: then it overflows
    if (__builtin_mul_overflow(result, base, &result)) return TooLarge(run);
  }
  return Value::Integer(result);
}

Value IntArithmetic(Run& run, BinaryOp op, Int a, Int b) {
  Int result = 0;
  switch (op) {
    case BinaryOp::kAdd:
      return __builtin_add_overflow(a, b, &result) ? TooLarge(run) : Value::Integer(result);
    case BinaryOp::kSub:
      return __builtin_sub_overflow(a, b, &result) ? TooLarge(run) : Value::Integer(result);
    case BinaryOp::kMul:
      return __builtin_mul_overflow(a, b, &result) ? TooLarge(run) : Value::Integer(result);
    case BinaryOp::kPow:
      return IntPower(run, a, b);
    default:
      break;
  }
  if (b == 0) {
    return run.Fail(kZeroDivision,
                    op == BinaryOp::kDiv ? "division by zero" : "integer modulo by zero");
  }
  if (op == BinaryOp::kDiv) {
    return Value::Number(static_cast<double>(a) / static_cast<double>(b));
  }
  if (b == -1)
    return op == BinaryOp::kMod ? Value::Integer(0) : IntArithmetic(run, BinaryOp::kSub, 0, a);
  Int quotient = a / b;
  Int rest = a % b;
  if (rest != 0 && (rest < 0) != (b < 0)) {
    rest += b;
    --quotient;
  }
  return Value::Integer(op == BinaryOp::kMod ? rest : quotient);
}

Value Repeat(Run& run, const Value& sequence, Int times) {
  if (times < 0) times = 0;
  const size_t size =
      sequence.is_string() ? sequence.text().size() : sequence.seq->items.size() * sizeof(Value);
  const Int most = run.limits().memory;
  const Int bytes = times > most ? most + 1 : times * static_cast<Int>(size);
  if (size > 0 && !run.Charge(bytes > most ? most + 1 : static_cast<size_t>(bytes))) {
    return Value();
  }
  if (size == 0) times = 0;
  if (sequence.is_string()) {
    std::string out;
    for (Int i = 0; i < times; ++i) out += sequence.text();
    return run.String(std::move(out), sequence.string->markup);
  }
  std::vector<Value> out;
  for (Int i = 0; i < times; ++i) {
    out.insert(out.end(), sequence.seq->items.begin(), sequence.seq->items.end());
  }
  return run.List(std::move(out), sequence.seq->flavour);
}

bool IsSequence(const Value& value, Flavour flavour) {
  return value.is(Kind::kSeq) && value.seq->flavour == flavour;
}

Value Add(Run& run, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    const bool markup = a.string->markup || b.string->markup;
    const auto part = [&](const Value& v) {
      return markup && !v.string->markup ? EscapeHtml(v.text()) : v.text();
    };
    if (!markup) return run.String(a.text() + b.text());
    return run.String(part(a) + part(b), true);
  }
  for (const Flavour flavour : {Flavour::kList, Flavour::kTuple}) {
    if (!IsSequence(a, flavour)) continue;
    if (!IsSequence(b, flavour)) {
      return run.Fail(kTypeError, "can only concatenate ", TypeName(a), " (not \"", TypeName(b),
                      "\") to ", TypeName(a));
    }
    std::vector<Value> out = a.seq->items;
    out.insert(out.end(), b.seq->items.begin(), b.seq->items.end());
    return run.List(std::move(out), flavour);
  }
  if (a.is_string()) {
    return run.Fail(kTypeError, "can only concatenate str (not \"", TypeName(b), "\") to str");
  }
  return Unsupported(run, BinaryOp::kAdd, a, b);
}

bool EqualItems(Run& run, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size() && !run.failed(); ++i) {
    if (!Equal(run, a[i], b[i])) return false;
  }
  return true;
}

bool LessItems(Run& run, const std::vector<Value>& a, const std::vector<Value>& b,
               absl::string_view op) {
  for (size_t i = 0; i < a.size() && i < b.size() && run.Step(); ++i) {
    if (!Equal(run, a[i], b[i])) return Less(run, a[i], b[i], op);
  }
  return op.size() > 1 ? (op == "<=" ? a.size() <= b.size() : a.size() >= b.size())
                       : (op == "<" ? a.size() < b.size() : a.size() > b.size());
}

template <typename T>
bool Ordered(absl::string_view op, const T& a, const T& b) {
  return op == "<" ? a < b : op == "<=" ? a <= b : op == ">" ? a > b : a >= b;
}

}  // namespace

Value Arithmetic(Run& run, BinaryOp op, const Value& a, const Value& b) {
  if (op == BinaryOp::kMod && a.is_string()) {
    return run.String(FormatPercent(run, a.text(), b));
  }
  if (a.is_undefined()) return run.FailUndefined(a);
  if (b.is_undefined()) return run.FailUndefined(b);
  if (a.is_int() && b.is_int()) return IntArithmetic(run, op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) {
    return FloatArithmetic(run, op, a.as_double(), b.as_double());
  }
  if (op == BinaryOp::kAdd) return Add(run, a, b);
  if (op == BinaryOp::kMul) {
    const auto repeatable = [](const Value& v) {
      return v.is_string() || IsSequence(v, Flavour::kList) || IsSequence(v, Flavour::kTuple);
    };
    if (repeatable(a) && b.is_int()) return Repeat(run, a, b.as_int());
    if (repeatable(b) && a.is_int()) return Repeat(run, b, a.as_int());
  }
  return Unsupported(run, op, a, b);
}

Value Negate(Run& run, const Value& value) {
  if (value.is_undefined()) return run.FailUndefined(value);
  if (value.is_int()) return IntArithmetic(run, BinaryOp::kSub, 0, value.as_int());
  if (value.is(Kind::kFloat)) return Value::Number(-value.number);
  return run.Fail(kTypeError, "bad operand type for unary -: '", TypeName(value), "'");
}

bool Equal(Run& run, const Value& a, const Value& b) {
  const Nested nested(run);
  if (!run.Step()) return false;
  if (a.is_int() && b.is_int()) return a.as_int() == b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      run.StepBytes(a.text().size());
      return a.text() == b.text();
    case Kind::kSeq:
      return a.seq == b.seq || (a.seq->flavour == b.seq->flavour && !a.seq->one_pass() &&
                                EqualItems(run, a.seq->items, b.seq->items));
    case Kind::kDict:
      if (a.dict->entries.size() != b.dict->entries.size()) return false;
      for (const auto& [key, value] : a.dict->entries) {
        const Value* other = b.dict->Find(key);
        if (other == nullptr || !Equal(run, value, *other) || run.failed()) return false;
      }
      return true;
    case Kind::kFunction:
      return a.function == b.function;
    default:
      return a.ns == b.ns;
  }
}

bool Less(Run& run, const Value& a, const Value& b, absl::string_view op) {
  const Nested nested(run);
  if (!run.Step()) return false;
  if (a.is_undefined() || b.is_undefined()) {
    run.FailUndefined(a.is_undefined() ? a : b);
    return false;
  }
  if (a.is_int() && b.is_int()) return Ordered(op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return Ordered(op, a.as_double(), b.as_double());
  if (a.is_string() && b.is_string()) {
    run.StepBytes(a.text().size());
    return Ordered(op, a.text(), b.text());  // UTF-8 sorts as its code points do
  }
  for (const Flavour flavour : {Flavour::kList, Flavour::kTuple}) {
    if (IsSequence(a, flavour) && IsSequence(b, flavour)) {
      return LessItems(run, a.seq->items, b.seq->items, op);
    }
  }
  run.Fail(kTypeError, "'", op, "' not supported between instances of '", TypeName(a), "' and '",
           TypeName(b), "'");
  return false;
}

bool Contains(Run& run, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      run.Fail(kTypeError, "'in <string>' requires string as left operand, not ", TypeName(item));
      return false;
    }
    run.StepBytes(container.text().size());
    return FindText(container.text(), item.text()) != absl::string_view::npos;
  }
  if (container.is(Kind::kDict)) {
    std::string encoded;
    if (!EncodeKey(item, &encoded)) run.Fail(kTypeError, "unhashable type: '", TypeName(item), "'");
    return container.dict->Find(item) != nullptr;
  }
  std::vector<Value> items;
  if (!container.is(Kind::kSeq) && !container.is_undefined()) {
    run.Fail(kTypeError, "argument of type '", TypeName(container), "' is not iterable");
    return false;
  }
  if (!Iterate(run, container, &items)) return false;
  for (const Value& each : items) {
    if (Equal(run, each, item)) return true;
    if (run.failed()) return false;
  }
  return false;
}

bool Compare(Run& run, absl::string_view op, const Value& a, const Value& b) {
  if (op == "==") return Equal(run, a, b);
  if (op == "!=") return !Equal(run, a, b);
  if (op == "in") return Contains(run, b, a);
  if (op == "not in") return !Contains(run, b, a);
  return Less(run, a, b, op);
}

}  // namespace jinja
}  // namespace ninfer
