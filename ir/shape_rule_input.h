// Inside the shape rules: what a rule sees, and the checks of operands that rules are made of.
// Tested by tests/ir_builder_test.cc, tests/ir_verifier_test.cc.
#ifndef NINFER_IR_SHAPE_RULE_INPUT_H_
#define NINFER_IR_SHAPE_RULE_INPUT_H_

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "ir/module.h"

namespace ninfer::ir::shape_rules {

struct RuleInput {
  const OpInfo& info;
  absl::Span<const Type> operands;
  const std::vector<Attr>& attrs;
  const Type* declared;
  absl::Span<const Symbol> symbols;

  // An optional attribute, or null.
  template <typename T>
  const T* find_attr(absl::string_view name) const {
    for (const Attr& attr : attrs) {
      if (attr.name == name) return &std::get<T>(attr.value);
    }
    return nullptr;
  }

  const Type& type(int i) const { return operands[i]; }
  std::string Text(const Type& type) const { return TypeToString(type, symbols); }
  std::string Text(const Dim& dim) const { return DimToString(dim, symbols); }

  template <typename T>
  const T& attr(absl::string_view name) const {
    for (const Attr& attr : attrs) {
      if (attr.name == name)
        return std::get<T>(attr.value);  // CheckSignature saw kind and presence
    }
    NINFER_CHECK(false) << "attribute " << std::string(name);
    std::abort();
  }
};

using RuleResult = absl::StatusOr<Type>;

inline Type F32(absl::InlinedVector<Dim, 4> shape) { return {DType::kF32, std::move(shape)}; }

enum class Element { kF32, kFloat, kI32, kAny };

// "operand 2: expected <expected>, found f32[T,3]".
absl::Status OperandError(const RuleInput& in, int i, absl::string_view expected);
absl::Status DeclaredError(const RuleInput& in, absl::string_view expected);

// A tensor of the element kind, of any shape with at least `min_rank` dimensions.
absl::Status ExpectTensor(const RuleInput& in, int i, Element element, int min_rank = 0);

// A tensor of just this shape; an absent entry stands for any dimension.
using Pattern = std::vector<absl::optional<Dim>>;
absl::Status ExpectShape(const RuleInput& in, int i, Element element, const Pattern& pattern);

absl::Status ExpectKv(const RuleInput& in, int i);
absl::Status ExpectDeclared(const RuleInput& in);
absl::Status ExpectOneOf(const RuleInput& in, absl::string_view attr,
                         absl::Span<const absl::string_view> names);
// The attribute "axis", within the first operand's rank.
absl::StatusOr<int> AxisOf(const RuleInput& in);

// The rules: one function per name in ops.def's column.
#define OP(enumerator, text, format, op_class, shape_rule, ...) \
  RuleResult shape_rule(const RuleInput& in);
#include "ir/ops.def"

}  // namespace ninfer::ir::shape_rules

#endif  // NINFER_IR_SHAPE_RULE_INPUT_H_
