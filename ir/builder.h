// Builds a function op by op, with the result's type inferred by the op's shape rule. Calls chain
// without a status each: the first error is kept with its place and reported once, by status().
// Tested by tests/ir_builder_test.cc.
#ifndef NINFER_IR_BUILDER_H_
#define NINFER_IR_BUILDER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/module.h"

namespace ninfer::ir {

// The result type of `op`, by its shape rule. `declared` is what the text or caller says (needed by
// the rules that ops.def lists as taking it; checked by the verifier for the others). Errors say
// expected and found.
absl::StatusOr<Type> InferType(Op op, absl::Span<const Type> operands,
                               const std::vector<Attr>& attrs, const Type* declared,
                               absl::Span<const Symbol> symbols);

class Builder {
 public:
  // Inserts before `before`, or at the end when null.
  Builder(Module* module, Function* function, const Node* before = nullptr)
      : module_(module), function_(function), before_(before) {}

  // Nodes made from here on carry this provenance ("model.layers.3.self_attn").
  void set_provenance(std::string text) { provenance_ = std::move(text); }

  // Any op by tag. After an error, returns a value of type f32[] so that the chain can go on.
  Value* Make(Op op, absl::Span<Value* const> operands, std::vector<Attr> attrs = {},
              const Type* declared = nullptr);

  Value* Constant(double value);
  Value* Add(Value* a, Value* b) { return Make(Op::kAdd, {a, b}); }
  Value* Sub(Value* a, Value* b) { return Make(Op::kSub, {a, b}); }
  Value* Mul(Value* a, Value* b) { return Make(Op::kMul, {a, b}); }
  Value* Div(Value* a, Value* b) { return Make(Op::kDiv, {a, b}); }
  Value* Unary(Op op, Value* x) { return Make(op, {x}); }
  Value* Linear(Value* x, Value* w) { return Make(Op::kLinear, {x, w}); }
  Value* MatMul(Value* a, Value* b, bool transpose_b);
  Value* Embedding(Value* ids, Value* table) { return Make(Op::kEmbedding, {ids, table}); }
  Value* GatherRows(Value* x, Value* rows) { return Make(Op::kGatherRows, {x, rows}); }
  Value* RmsNorm(Value* x, Value* w, double eps);
  Value* LayerNorm(Value* x, Value* w, Value* b, double eps);
  Value* Softmax(Value* x) { return Make(Op::kSoftmax, {x}); }
  Value* Rope(Value* x, Value* cos, Value* sin, absl::string_view style);
  Value* Cast(Value* x, DType dtype);
  Value* Quantise(Value* x, absl::string_view scheme);
  Value* Reshape(Value* x, absl::Span<const Dim> shape);
  Value* Transpose(Value* x, std::vector<int64_t> perm);
  Value* Slice(Value* x, int64_t axis, int64_t begin, int64_t end);
  Value* Concat(absl::Span<Value* const> operands, int64_t axis);
  Value* Repeat(Value* x, int64_t axis, int64_t times);

  // The first error, or OK.
  const absl::Status& status() const { return status_; }

 private:
  Module* module_;
  Function* function_;
  const Node* before_;
  std::string provenance_;
  absl::Status status_;
};

}  // namespace ninfer::ir

#endif  // NINFER_IR_BUILDER_H_
