// Walks a parsed template. Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_JINJA_EVALUATOR_H_
#define NINFER_TEXT_JINJA_EVALUATOR_H_

#include <string>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/ops.h"
#include "text/jinja/run.h"

namespace ninfer {
namespace jinja {

// The names of a loop's turn, a macro, a block or, without a parent, the whole template.
struct Scope : Object {
  Scope* parent = nullptr;
  std::vector<std::pair<absl::string_view, Value>> names;  // views of the template's nodes

  const Value* Find(absl::string_view name) const;
  void Set(absl::string_view name, const Value& value);
};

class Evaluator {
 public:
  explicit Evaluator(Run& run) : run_(run) { run.evaluator = this; }
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // Renders into `output`. `globals` are the variables that the caller gives.
  void Render(const Node* root, Scope* globals);

  std::string output;
  // What each {% generation %} gave: first byte of `output` and length.
  std::vector<std::pair<size_t, size_t>> generation;

  Value CallFunction(const Value& callee, Args& args);
  bool PullLoop(Loop* loop);  // one more item; false at the end

 private:
  enum class Flow { kNext, kBreak, kContinue };

  // Expressions (evaluator_expression.cc).
  Value Eval(const Node* node, Scope* scope);
  Value EvalKind(const Node* node, Scope* scope);
  Value EvalName(const Node* node, Scope* scope);
  Value EvalItems(const Node* node, Scope* scope, Flavour flavour);
  Value EvalDict(const Node* node, Scope* scope);
  Value EvalCompare(const Node* node, Scope* scope);
  Value EvalConcat(const Node* node, Scope* scope);
  Value EvalGetItem(const Node* node, Scope* scope);
  Value EvalCall(const Node* node, Scope* scope, const Value* caller);
  Value EvalFilter(const Node* node, Scope* scope);
  bool EvalTest(const Node* node, Scope* scope);
  void EvalArguments(const Node* node, Scope* scope, Args* args);

  // Statements (evaluator.cc).
  Flow Exec(const Node* node, Scope* scope);
  Flow ExecKind(const Node* node, Scope* scope);
  Flow ExecBody(const Node* node, Scope* scope);
  Flow ExecFor(const Node* node, Scope* scope);
  Flow RunLoop(const Node* node, Scope* scope, std::vector<Value> source, int depth);
  Flow ExecWith(const Node* node, Scope* scope);
  void ExecSetBlock(const Node* node, Scope* scope);
  void ExecCallBlock(const Node* node, Scope* scope);
  void ExecFilterBlock(const Node* node, Scope* scope);
  void ExecGeneration(const Node* node, Scope* scope);
  void Assign(const Node* target, Scope* scope, const Value& value);
  Value MakeMacro(const Node* node, Scope* scope);
  Value CallMacro(const Function& macro, Args& args);
  Value CallLoop(Loop* loop, Args& args);
  Scope* NewScope(Scope* parent);
  // The text that the body gives.
  std::string Capture(const Node* body, Scope* scope);
  void Write(absl::string_view text);

  Run& run_;
  std::string* out_ = &output;
  const Value* block_input_ = nullptr;  // what a filter block filters
};

}  // namespace jinja
}  // namespace ninfer

#endif  // NINFER_TEXT_JINJA_EVALUATOR_H_
