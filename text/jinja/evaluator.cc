#include "text/jinja/evaluator.h"

#include <algorithm>

#include "text/jinja/python_text.h"

namespace ninfer {
namespace jinja {

const Value* Scope::Find(absl::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
    for (const auto& [key, value] : scope->names) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(absl::string_view name, const Value& value) {
  for (auto& [key, old] : names) {
    if (key == name) {
      old = value;
      return;
    }
  }
  names.emplace_back(name, value);
}

void Evaluator::Render(const Node* root, Scope* globals) { Exec(root, NewScope(globals)); }

Scope* Evaluator::NewScope(Scope* parent) {
  Scope* scope = run_.Make<Scope>();
  scope->parent = parent;
  return scope;
}

void Evaluator::Write(absl::string_view text) {
  run_.StepBytes(text.size());
  if (static_cast<int64_t>(out_->size() + text.size()) > run_.limits().output) {
    run_.Fail(kLimitError, "more than ", run_.limits().output >> 20, " MiB of text");
  }
  if (run_.failed()) return;
  run_.Charge(text.size());
  out_->append(text.data(), text.size());
}

std::string Evaluator::Capture(const Node* body, Scope* scope) {
  std::string text;
  std::string* const outer = out_;
  out_ = &text;
  Exec(body, scope);
  out_ = outer;
  return text;
}

Evaluator::Flow Evaluator::Exec(const Node* node, Scope* scope) {
  const Nested nested(run_);
  run_.line = node->line;
  return run_.Step() ? ExecKind(node, scope) : Flow::kBreak;
}

Evaluator::Flow Evaluator::ExecKind(const Node* node, Scope* scope) {
  switch (node->kind) {
    case NodeKind::kData:
      Write(node->text);
      return Flow::kNext;
    case NodeKind::kPrint:
      for (const Node* kid : node->kids) {
        const Value value = Eval(kid, scope);
        if (!run_.failed()) Write(value.is_string() ? value.text() : ToText(run_, value));
      }
      return Flow::kNext;
    case NodeKind::kBody:
      return ExecBody(node, scope);
    case NodeKind::kFor:
      return ExecFor(node, scope);
    case NodeKind::kIf:
      if (Truthy(Eval(node->kids[0], scope))) return Exec(node->kids[1], scope);
      return node->kids[2] == nullptr ? Flow::kNext : Exec(node->kids[2], scope);
    case NodeKind::kSet:
      Assign(node->kids[0], scope, Eval(node->kids[1], scope));
      return Flow::kNext;
    case NodeKind::kSetBlock:
      ExecSetBlock(node, scope);
      return Flow::kNext;
    case NodeKind::kWith:
      return ExecWith(node, scope);
    case NodeKind::kMacro:
      scope->Set(node->text, MakeMacro(node, scope));
      return Flow::kNext;
    case NodeKind::kCallBlock:
      ExecCallBlock(node, scope);
      return Flow::kNext;
    case NodeKind::kFilterBlock:
      ExecFilterBlock(node, scope);
      return Flow::kNext;
    case NodeKind::kScope: {
      // A block sees what the template set, and what is around it only if it is `scoped`.
      Scope* outer = scope;
      while (!node->flag && outer->parent != nullptr && outer->parent->parent != nullptr) {
        outer = outer->parent;
      }
      Exec(node->kids[0], NewScope(outer));
      return Flow::kNext;
    }
    case NodeKind::kGeneration:
      ExecGeneration(node, scope);
      return Flow::kNext;
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
    case NodeKind::kLoader:
      run_.Fail(kTypeError, "no loader for this environment specified");
      return Flow::kNext;
    default:
      run_.Fail(kRuntimeError, "an expression in the place of a statement");
      return Flow::kNext;
  }
}

Evaluator::Flow Evaluator::ExecBody(const Node* node, Scope* scope) {
  for (const Node* kid : node->kids) {
    const Flow flow = Exec(kid, scope);
    if (run_.failed() || flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::ExecFor(const Node* node, Scope* scope) {
  const Value iterable = Eval(node->kids[1], scope);
  std::vector<Value> source;
  if (run_.failed() || !Iterate(run_, iterable, &source)) return Flow::kNext;
  return RunLoop(node, scope, std::move(source), 1);
}

bool Evaluator::PullLoop(Loop* loop) {
  const Node* filter = loop->node->kids[2];
  while (loop->taken < loop->source.size() && run_.Step()) {
    const Value item = loop->source[loop->taken++];
    bool passes = true;
    if (filter != nullptr) {
      Scope* scope = NewScope(loop->scope);
      // The loop is not there yet for its filter.
      scope->Set("loop", run_.UndefinedValue("'loop' is undefined"));
      Assign(loop->node->kids[0], scope, item);
      passes = Truthy(Eval(filter, scope));
    }
    if (run_.failed()) return false;
    if (passes) {
      loop->items.push_back(item);
      return true;
    }
  }
  return false;
}

bool LoopHasNext(Run& run, Loop* loop) {
  return loop->index + 1 < loop->items.size() || run.evaluator->PullLoop(loop);
}

size_t LoopLength(Run& run, Loop* loop) {
  while (run.evaluator->PullLoop(loop)) {
  }
  return loop->items.size();
}

Evaluator::Flow Evaluator::RunLoop(const Node* node, Scope* scope, std::vector<Value> source,
                                   int depth) {
  Loop* loop = run_.Make<Loop>();
  loop->node = node;
  loop->scope = scope;
  loop->depth = depth;
  loop->source = std::move(source);
  Value loop_value;
  loop_value.kind = Kind::kLoop;
  loop_value.loop = loop;
  bool any = false;
  for (size_t turn = 0; !run_.failed(); ++turn) {
    if (loop->items.size() <= turn && !PullLoop(loop)) break;
    any = true;
    loop->index = turn;
    Scope* inner = NewScope(scope);
    inner->Set("loop", loop_value);
    Assign(node->kids[0], inner, loop->items[turn]);
    if (run_.failed() || Exec(node->kids[3], inner) == Flow::kBreak) break;
  }
  if (!any && node->kids[4] != nullptr && !run_.failed()) {
    return Exec(node->kids[4], NewScope(scope));
  }
  return Flow::kNext;
}

Value Evaluator::CallLoop(Loop* loop, Args& args) {
  if (!loop->node->flag) {
    return run_.Fail(kTypeError,
                     "The loop must have the 'recursive' marker to be called recursively.");
  }
  if (args.positional.size() != 1) return run_.Fail(kTypeError, "loop() takes one argument");
  std::vector<Value> source;
  if (!Iterate(run_, args.positional[0], &source)) return Value();
  std::string text;
  std::string* const outer = out_;
  out_ = &text;
  RunLoop(loop->node, loop->scope, std::move(source), loop->depth + 1);
  out_ = outer;
  return run_.String(std::move(text));
}

Evaluator::Flow Evaluator::ExecWith(const Node* node, Scope* scope) {
  Scope* inner = NewScope(scope);
  std::vector<Value> values;
  for (size_t i = 2; i < node->kids.size(); i += 2) values.push_back(Eval(node->kids[i], scope));
  for (size_t i = 0; i < values.size(); ++i) Assign(node->kids[2 * i + 1], inner, values[i]);
  return run_.failed() ? Flow::kNext : Exec(node->kids[0], inner);
}

void Evaluator::ExecSetBlock(const Node* node, Scope* scope) {
  Value text = run_.String(Capture(node->kids[2], NewScope(scope)));
  if (node->kids[1] != nullptr && !run_.failed()) {
    const Value* const outer = block_input_;
    block_input_ = &text;
    const Value filtered = Eval(node->kids[1], scope);
    block_input_ = outer;
    text = filtered;
  }
  Assign(node->kids[0], scope, text);
}

void Evaluator::ExecFilterBlock(const Node* node, Scope* scope) {
  const Value text = run_.String(Capture(node->kids[1], NewScope(scope)));
  if (run_.failed()) return;
  const Value* const outer = block_input_;
  block_input_ = &text;
  const Value filtered = Eval(node->kids[0], scope);
  block_input_ = outer;
  if (!run_.failed()) Write(ToText(run_, filtered));
}

void Evaluator::ExecGeneration(const Node* node, Scope* scope) {
  const size_t start = output.size();
  const std::string text = Capture(node->kids[0], NewScope(scope));
  generation.emplace_back(start, text.size());
  Write(text);
}

void Evaluator::ExecCallBlock(const Node* node, Scope* scope) {
  const Value caller = MakeMacro(node->kids[1], scope);
  const Value text = EvalCall(node->kids[0], scope, &caller);
  if (!run_.failed()) Write(ToText(run_, text));
}

void Evaluator::Assign(const Node* target, Scope* scope, const Value& value) {
  if (run_.failed()) return;
  if (target->kind == NodeKind::kName) {
    scope->Set(target->text, value);
    return;
  }
  if (target->kind == NodeKind::kNamespaceRef) {
    const Value* ns = scope->Find(target->text);
    if (ns == nullptr || !ns->is(Kind::kNamespace)) {
      run_.Fail(kRuntimeError, "cannot assign attribute on non-namespace object");
      return;
    }
    SetAttribute(run_, ns->ns, run_.String(target->names[0]), value);
    return;
  }
  std::vector<Value> items;
  if (value.is_undefined()) {
    run_.Fail(kValueError, "not enough values to unpack (expected ", target->kids.size(),
              ", got 0)");
    return;
  }
  if (!Iterate(run_, value, &items)) return;
  if (items.size() != target->kids.size()) {
    if (items.size() > target->kids.size()) {
      run_.Fail(kValueError, "too many values to unpack (expected ", target->kids.size(), ")");
    } else {
      run_.Fail(kValueError, "not enough values to unpack (expected ", target->kids.size(),
                ", got ", items.size(), ")");
    }
    return;
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(target->kids[i], scope, items[i]);
}

Value Evaluator::MakeMacro(const Node* node, Scope* scope) {
  Function* function = run_.Make<Function>();
  function->name = node->text;
  function->node = node;
  function->scope = scope;
  Value value;
  value.kind = Kind::kFunction;
  value.function = function;
  return value;
}

Value Evaluator::CallMacro(const Function& macro, Args& args) {
  const Node* node = macro.node;
  const auto& names = node->names;
  Scope* scope = NewScope(macro.scope);
  const auto take = [&](absl::string_view name, Value* value) {
    for (auto it = args.named.begin(); it != args.named.end(); ++it) {
      if (it->first != name) continue;
      *value = it->second;
      args.named.erase(it);
      return true;
    }
    return false;
  };
  const bool explicit_caller = std::find(names.begin(), names.end(), "caller") != names.end();
  // Defaults belong to the last parameters.
  const size_t without_default = names.size() + 1 - node->kids.size();
  for (size_t i = 0; i < names.size() && !run_.failed(); ++i) {
    Value value;
    if (i < args.positional.size()) {
      value = args.positional[i];
    } else if (!take(names[i], &value)) {
      value = i >= without_default ? Eval(node->kids[1 + i - without_default], scope)
                                   : run_.UndefinedValue(absl::StrCat(
                                         "parameter ", ReprString(names[i]), " was not provided"));
    }
    scope->Set(names[i], value);
  }
  if (node->uses_caller && !explicit_caller) {
    Value caller;
    if (!take("caller", &caller)) caller = run_.UndefinedValue("No caller defined");
    scope->Set("caller", caller);
  }
  if (node->uses_kwargs) {
    const Value named = run_.EmptyDict();
    for (const auto& [name, value] : args.named) named.dict->Set(run_.String(name), value);
    scope->Set("kwargs", named);
  } else if (!args.named.empty()) {
    return run_.Fail(kTypeError, "macro ", ReprString(macro.name), " takes no keyword argument ",
                     ReprString(args.named[0].first));
  }
  if (node->uses_varargs) {
    std::vector<Value> rest;
    if (args.positional.size() > names.size()) {
      rest.assign(args.positional.begin() + names.size(), args.positional.end());
    }
    scope->Set("varargs", run_.List(std::move(rest), Flavour::kTuple));
  } else if (args.positional.size() > names.size()) {
    return run_.Fail(kTypeError, "macro ", ReprString(macro.name), " takes not more than ",
                     names.size(), " argument(s)");
  }
  if (run_.failed()) return Value();
  const int line = run_.line;
  std::string text = Capture(node->kids[0], scope);
  if (!run_.failed()) run_.line = line;
  return run_.String(std::move(text));
}

Value Evaluator::CallFunction(const Value& callee, Args& args) {
  const Nested nested(run_);
  if (!run_.Step()) return Value();
  switch (callee.kind) {
    case Kind::kUndefined:
      return run_.FailUndefined(callee);
    case Kind::kFunction:
      if (callee.function->native == nullptr) return CallMacro(*callee.function, args);
      if (!run_.StepCall(callee.function->self, args)) return Value();
      return callee.function->native(run_, callee.function->self, args);
    case Kind::kLoop:
      return CallLoop(callee.loop, args);
    case Kind::kHelper:
      if (callee.helper->joiner) {
        const bool used = std::exchange(callee.helper->position, 1) == 1;
        return used ? callee.helper->items[0] : run_.String("");
      }
      [[fallthrough]];
    default:
      return run_.Fail(kTypeError, "'", TypeName(callee), "' object is not callable");
  }
}

Value Call(Run& run, const Value& callee, Args& args) {
  return run.evaluator->CallFunction(callee, args);
}

}  // namespace jinja
}  // namespace ninfer
