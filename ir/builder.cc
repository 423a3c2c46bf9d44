// Tested by tests/ir_builder_test.cc.
#include "ir/builder.h"

#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ninfer::ir {

Value* Builder::Make(Op op, absl::Span<Value* const> operands, std::vector<Attr> attrs,
                     const Type* declared) {
  std::vector<Type> types;
  for (const Value* operand : operands) {
    NINFER_CHECK(operand != nullptr) << "operand of " << std::string(InfoOf(op).name);
    types.push_back(operand->type());
  }
  absl::StatusOr<Type> type = Type{};
  if (status_.ok()) {
    type = InferType(op, types, attrs, declared, module_->symbols());
    if (type.ok() && declared != nullptr && *type != *declared) {
      type = InvalidArgument(InfoOf(op).name, ": result: expected ",
                             TypeToString(*type, module_->symbols()), ", found ",
                             TypeToString(*declared, module_->symbols()));
    }
    if (!type.ok()) {
      status_ = Annotate(type.status(), absl::StrCat("@", function_->name(),
                                                     provenance_.empty() ? "" : ": ", provenance_));
    }
  }
  // After an error the chain goes on with scalars that nobody will look at.
  Node* node = status_.ok() ? function_->Insert(op, operands, {*type}, std::move(attrs), before_)
                            : function_->Insert(Op::kConstant, {}, {Type{}},
                                                {{"value", AttrValue(0.0)}}, before_);
  node->result()->set_provenance(provenance_);
  return node->result();
}

Value* Builder::Constant(double value) {
  return Make(Op::kConstant, {}, {{"value", AttrValue(value)}});
}

Value* Builder::MatMul(Value* a, Value* b, bool transpose_b) {
  std::vector<Attr> attrs;
  if (transpose_b) attrs.push_back({"transpose_b", AttrValue(true)});
  return Make(Op::kMatMul, {a, b}, std::move(attrs));
}

Value* Builder::RmsNorm(Value* x, Value* w, double eps) {
  return Make(Op::kRmsNorm, {x, w}, {{"eps", AttrValue(eps)}});
}

Value* Builder::LayerNorm(Value* x, Value* w, Value* b, double eps) {
  return Make(Op::kLayerNorm, {x, w, b}, {{"eps", AttrValue(eps)}});
}

Value* Builder::Rope(Value* x, Value* cos, Value* sin, absl::string_view style) {
  return Make(Op::kRope, {x, cos, sin}, {{"style", AttrValue(std::string(style))}});
}

Value* Builder::Cast(Value* x, DType dtype) {
  Type type = x->type();
  type.dtype = dtype;
  return Make(Op::kCast, {x}, {}, &type);
}

Value* Builder::Quantise(Value* x, absl::string_view scheme) {
  return Make(Op::kQuantise, {x}, {{"scheme", AttrValue(std::string(scheme))}});
}

Value* Builder::Reshape(Value* x, absl::Span<const Dim> shape) {
  const Type type{x->type().dtype, {shape.begin(), shape.end()}};
  return Make(Op::kReshape, {x}, {}, &type);
}

Value* Builder::Transpose(Value* x, std::vector<int64_t> perm) {
  return Make(Op::kTranspose, {x}, {{"perm", AttrValue(std::move(perm))}});
}

Value* Builder::Slice(Value* x, int64_t axis, int64_t begin, int64_t end) {
  return Make(Op::kSlice, {x},
              {{"axis", AttrValue(axis)}, {"begin", AttrValue(begin)}, {"end", AttrValue(end)}});
}

Value* Builder::Concat(absl::Span<Value* const> operands, int64_t axis) {
  return Make(Op::kConcat, operands, {{"axis", AttrValue(axis)}});
}

Value* Builder::Repeat(Value* x, int64_t axis, int64_t times) {
  return Make(Op::kRepeat, {x}, {{"axis", AttrValue(axis)}, {"times", AttrValue(times)}});
}

}  // namespace ninfer::ir
