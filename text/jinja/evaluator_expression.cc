#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {

Value Evaluator::Eval(const Node* node, Scope* scope) {
  if (node->kind == NodeKind::kConst) return node->value;
  const Nested nested(run_);
  run_.line = node->line;
  return run_.Step() ? EvalKind(node, scope) : Value();
}

Value Evaluator::EvalKind(const Node* node, Scope* scope) {
  const auto& kids = node->kids;
  switch (node->kind) {
    case NodeKind::kName:
      return EvalName(node, scope);
    case NodeKind::kTuple:
      return EvalItems(node, scope, Flavour::kTuple);
    case NodeKind::kList:
      return EvalItems(node, scope, Flavour::kList);
    case NodeKind::kDict:
      return EvalDict(node, scope);
    case NodeKind::kChoice:
      if (Truthy(Eval(kids[0], scope))) return Eval(kids[1], scope);
      if (kids[2] != nullptr) return Eval(kids[2], scope);
      return run_.UndefinedValue(
          absl::StrCat("the inline if-expression on line ", node->line,
                       " evaluated to false and no else section was defined."));
    case NodeKind::kAnd:
    case NodeKind::kOr: {
      const Value left = Eval(kids[0], scope);
      if (run_.failed() || Truthy(left) == (node->kind == NodeKind::kOr)) return left;
      return Eval(kids[1], scope);
    }
    case NodeKind::kNot:
      return Value::Bool(!Truthy(Eval(kids[0], scope)));
    case NodeKind::kNegate:
      return Negate(run_, Eval(kids[0], scope));
    case NodeKind::kPlus: {
      const Value value = Eval(kids[0], scope);
      if (value.is_undefined()) return run_.FailUndefined(value);
      if (value.is(Kind::kFloat)) return value;
      if (value.is_int()) return Value::Integer(value.as_int());
      return run_.Fail(kTypeError, "bad operand type for unary +: '", TypeName(value), "'");
    }
    case NodeKind::kBinary: {
      const Value left = Eval(kids[0], scope);
      const Value right = Eval(kids[1], scope);
      run_.line = node->line;
      return run_.failed() ? Value() : Arithmetic(run_, node->op, left, right);
    }
    case NodeKind::kConcat:
      return EvalConcat(node, scope);
    case NodeKind::kCompare:
      return EvalCompare(node, scope);
    case NodeKind::kGetAttr: {
      const Value object = Eval(kids[0], scope);
      return run_.failed() ? Value() : GetAttr(run_, object, node->text);
    }
    case NodeKind::kGetItem:
      return EvalGetItem(node, scope);
    case NodeKind::kCall:
      return EvalCall(node, scope, nullptr);
    case NodeKind::kFilter:
      return EvalFilter(node, scope);
    case NodeKind::kTest:
      return Value::Bool(EvalTest(node, scope));
    case NodeKind::kSlice:
      return run_.Fail(kTypeError, "a slice within a tuple of indices");
    default:
      return run_.Fail(kRuntimeError, "a statement in the place of an expression");
  }
}

Value Evaluator::EvalName(const Node* node, Scope* scope) {
  if (const Value* found = scope->Find(node->text)) return *found;
  if (const Native native = FindGlobal(node->text)) return run_.Method(node->text, native, Value());
  return run_.UndefinedValue(absl::StrCat(ReprString(node->text), " is undefined"));
}

Value Evaluator::EvalItems(const Node* node, Scope* scope, Flavour flavour) {
  std::vector<Value> items;
  for (const Node* kid : node->kids) items.push_back(Eval(kid, scope));
  return run_.List(std::move(items), flavour);
}

Value Evaluator::EvalDict(const Node* node, Scope* scope) {
  const Value dict = run_.EmptyDict();
  for (size_t i = 0; i + 1 < node->kids.size() && !run_.failed(); i += 2) {
    const Value key = Eval(node->kids[i], scope);
    run_.Charge(4 * sizeof(Value));
    if (!dict.dict->Set(key, Eval(node->kids[i + 1], scope))) {
      return run_.Fail(kTypeError, "unhashable type: '", TypeName(key), "'");
    }
  }
  return dict;
}

Value Evaluator::EvalCompare(const Node* node, Scope* scope) {
  Value left = Eval(node->kids[0], scope);
  for (size_t i = 0; i < node->names.size() && !run_.failed(); ++i) {
    const Value right = Eval(node->kids[i + 1], scope);
    run_.line = node->line;
    if (run_.failed() || !Compare(run_, node->names[i], left, right)) return Value::Bool(false);
    left = right;
  }
  return Value::Bool(true);
}

Value Evaluator::EvalConcat(const Node* node, Scope* scope) {
  std::string text;
  for (const Node* kid : node->kids) {
    const Value piece = Eval(kid, scope);
    if (run_.failed()) return Value();
    text += piece.is_string() ? piece.text() : ToText(run_, piece);
  }
  return run_.String(std::move(text));
}

Value Evaluator::EvalGetItem(const Node* node, Scope* scope) {
  const Value object = Eval(node->kids[0], scope);
  const Node* index = node->kids[1];
  if (index->kind != NodeKind::kSlice) {
    const Value at = Eval(index, scope);
    run_.line = node->line;
    return run_.failed() ? Value() : GetItem(run_, object, at);
  }
  Value parts[3];
  for (int i = 0; i < 3; ++i) {
    parts[i] = index->kids[i] == nullptr ? Value::None() : Eval(index->kids[i], scope);
  }
  return run_.failed() ? Value() : GetSlice(run_, object, parts[0], parts[1], parts[2]);
}

void Evaluator::EvalArguments(const Node* node, Scope* scope, Args* args) {
  for (size_t i = 1; i < node->kids.size(); ++i) {
    args->positional.push_back(Eval(node->kids[i], scope));
  }
  for (const auto& [name, kid] : node->named) args->named.emplace_back(name, Eval(kid, scope));
  if (node->more != nullptr) {
    std::vector<Value> more;
    Iterate(run_, Eval(node->more, scope), &more);
    args->positional.insert(args->positional.end(), more.begin(), more.end());
  }
  if (node->more_named != nullptr) {
    const Value more = Eval(node->more_named, scope);
    if (!more.is(Kind::kDict)) {
      run_.Fail(kTypeError, "argument after ** must be a mapping, not ", TypeName(more));
      return;
    }
    for (const auto& [key, value] : more.dict->entries) {
      if (!key.is_string()) {
        run_.Fail(kTypeError, "keywords must be strings");
        return;
      }
      args->named.emplace_back(key.text(), value);
    }
  }
}

Value Evaluator::EvalCall(const Node* node, Scope* scope, const Value* caller) {
  const Value callee = Eval(node->kids[0], scope);
  Args args;
  if (!run_.failed()) EvalArguments(node, scope, &args);
  if (caller != nullptr) args.named.emplace_back("caller", *caller);
  if (run_.failed()) return Value();
  run_.line = node->line;
  return CallFunction(callee, args);
}

Value Evaluator::EvalFilter(const Node* node, Scope* scope) {
  const Value input = node->kids[0] != nullptr  ? Eval(node->kids[0], scope)
                      : block_input_ != nullptr ? *block_input_
                                                : Value();
  const Native native = FindFilter(node->text);
  if (native == nullptr) {
    return run_.Fail(kRuntimeError, "No filter named ", ReprString(node->text), " found.");
  }
  Args args;
  if (!run_.failed()) EvalArguments(node, scope, &args);
  run_.line = node->line;
  return run_.failed() || !run_.StepCall(input, args) ? Value() : native(run_, input, args);
}

bool Evaluator::EvalTest(const Node* node, Scope* scope) {
  const Value input = Eval(node->kids[0], scope);
  const Native native = FindTest(node->text);
  if (native == nullptr) {
    run_.Fail(kRuntimeError, "No test named ", ReprString(node->text), " found.");
    return false;
  }
  Args args;
  if (!run_.failed()) EvalArguments(node, scope, &args);
  run_.line = node->line;
  return !run_.failed() && run_.StepCall(input, args) && Truthy(native(run_, input, args));
}

}  // namespace jinja
}  // namespace ninfer
