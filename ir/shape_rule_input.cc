// Tested by tests/ir_builder_test.cc, tests/ir_verifier_test.cc.
#include "ir/shape_rule_input.h"

#include <algorithm>

#include "absl/strings/str_join.h"

namespace ninfer::ir::shape_rules {
namespace {

absl::string_view ElementName(Element element) {
  constexpr absl::string_view kNames[] = {"f32", "float", "i32", "any"};
  return kNames[static_cast<int>(element)];
}

bool Accepts(Element element, DType dtype) {
  return element == Element::kAny || (element == Element::kFloat && IsFloat(dtype)) ||
         (element == Element::kF32 && dtype == DType::kF32) ||
         (element == Element::kI32 && dtype == DType::kI32);
}

}  // namespace

absl::Status OperandError(const RuleInput& in, int i, absl::string_view expected) {
  return InvalidArgument("operand ", i + 1, ": expected ", expected, ", found ",
                         in.Text(in.type(i)));
}

absl::Status ExpectTensor(const RuleInput& in, int i, Element element, int min_rank) {
  const Type& type = in.type(i);
  if (!type.is_kv && Accepts(element, type.dtype) && type.rank() >= min_rank) {
    return absl::OkStatus();
  }
  const std::string rank = min_rank == 0 ? "" : absl::StrCat(" of rank ", min_rank, " or more");
  return OperandError(in, i,
                      absl::StrCat("a tensor", rank, " of ", ElementName(element),
                                   element == Element::kAny ? " dtype" : ""));
}

absl::Status ExpectShape(const RuleInput& in, int i, Element element, const Pattern& pattern) {
  const Type& type = in.type(i);
  bool matches = !type.is_kv && Accepts(element, type.dtype) && type.shape.size() == pattern.size();
  for (size_t d = 0; matches && d < pattern.size(); ++d) {
    matches = !pattern[d].has_value() || *pattern[d] == type.shape[d];
  }
  if (matches) return absl::OkStatus();
  const std::string shape =
      absl::StrJoin(pattern, ",", [&in](std::string* out, const absl::optional<Dim>& dim) {
        out->append(dim.has_value() ? in.Text(*dim) : "_");
      });
  return OperandError(in, i, absl::StrCat(ElementName(element), "[", shape, "]"));
}

absl::Status ExpectKv(const RuleInput& in, int i) {
  if (in.type(i).is_kv && in.type(i).rank() == 2) return absl::OkStatus();
  return OperandError(in, i, "a KV cache kv<_>[_,_]");
}

absl::Status ExpectDeclared(const RuleInput& in) {
  if (in.declared != nullptr) return absl::OkStatus();
  return InvalidArgument("expected a declared result type, found none");
}

absl::Status DeclaredError(const RuleInput& in, absl::string_view expected) {
  return InvalidArgument("result: expected ", expected, ", found ", in.Text(*in.declared));
}

absl::Status ExpectOneOf(const RuleInput& in, absl::string_view attr,
                         absl::Span<const absl::string_view> names) {
  const std::string& found = in.attr<std::string>(attr);
  if (std::find(names.begin(), names.end(), found) != names.end()) return absl::OkStatus();
  return InvalidArgument(attr, ": expected one of ", absl::StrJoin(names, ", "), ", found \"",
                         found, "\"");
}

absl::StatusOr<int> AxisOf(const RuleInput& in) {
  const int64_t axis = in.attr<int64_t>("axis");
  if (axis >= 0 && axis < in.type(0).rank()) return static_cast<int>(axis);
  return InvalidArgument("axis: expected 0 to ", in.type(0).rank() - 1, ", found ", axis);
}

}  // namespace ninfer::ir::shape_rules
