// The result's type from the operands' types and the attributes: one function per shape rule named
// in ops.def, found through a table made from it. A rule knows formats, not ops: several ops share
// one.
//
// Dimensions are compared as terms, not as numbers: T equals T and S+1 equals S+1, whatever their
// bounds. A rule never guesses: what it cannot show equal is refused.
//
// Tested by tests/ir_builder_test.cc, tests/ir_verifier_test.cc.
#include "ir/shape_rules.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "base/quantise.h"
#include "base/status.h"
#include "ir/builder.h"
#include "ir/shape_rule_input.h"

namespace ninfer::ir {
namespace shape_rules {

// --- elementwise and reductions ------------------------------------------------------------------

RuleResult Scalar(const RuleInput& in) {
  if (std::isnan(in.attr<double>("value"))) {
    return InvalidArgument("value: expected a number, found nan");
  }
  return F32({});
}

RuleResult Broadcast(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kF32));
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 1, Element::kF32));
  const bool first_longer = in.type(0).rank() >= in.type(1).rank();
  const Type& longer = in.type(first_longer ? 0 : 1);
  const Type& shorter = in.type(first_longer ? 1 : 0);
  const int skipped = longer.rank() - shorter.rank();
  Type result = longer;
  for (int d = 0; d < shorter.rank(); ++d) {
    Dim& to = result.shape[skipped + d];
    if (to == shorter.shape[d] || shorter.shape[d] == Dim::Static(1)) continue;
    if (to != Dim::Static(1)) {
      return OperandError(in, 1,
                          absl::StrCat("a shape that broadcasts with ", in.Text(in.type(0))));
    }
    to = shorter.shape[d];
  }
  return result;
}

RuleResult SameFloat(const RuleInput& in) {
  // A reduction runs along the last axis, so there must be one.
  const int min_rank = in.info.op_class == OpClass::kReduce ? 1 : 0;
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kF32, min_rank));
  return in.type(0);
}

RuleResult RopeShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectOneOf(in, "style", {"half", "pairs"}));
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 0, Element::kF32, {absl::nullopt, absl::nullopt, absl::nullopt}));
  const Type& x = in.type(0);  // [T, heads, head_dim]
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kF32, {x.shape[0], absl::nullopt}));
  const Dim& half = in.type(1).shape[1];
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 2, Element::kF32, {x.shape[0], half}));
  if (!half.is_static() || !x.shape[2].is_static() || half.offset > x.shape[2].offset / 2) {
    return OperandError(in, 1, absl::StrCat("at most half of ", in.Text(x.shape[2]), " columns"));
  }
  return x;
}

RuleResult NormShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kF32, 1));
  for (size_t i = 1; i < in.operands.size(); ++i) {
    NINFER_RETURN_IF_ERROR(
        ExpectShape(in, static_cast<int>(i), Element::kFloat, {in.type(0).shape.back()}));
  }
  const double eps = in.attr<double>("eps");
  if (!(eps >= 0) || std::isinf(eps)) {
    return InvalidArgument("eps: expected a number of 0 or more, found ", eps);
  }
  return in.type(0);
}

RuleResult CastShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectDeclared(in));
  const Type& x = in.type(0);
  if (x.is_kv || (!IsFloat(x.dtype) && x.dtype != DType::kI32)) {
    return OperandError(in, 0, "a tensor of float or i32");
  }
  Type expected = x;
  expected.dtype = in.declared->dtype;
  if (!IsFloat(in.declared->dtype)) {
    expected.dtype = DType::kF32;
    return DeclaredError(in, absl::StrCat("a float dtype such as ", in.Text(expected)));
  }
  if (*in.declared != expected) return DeclaredError(in, in.Text(expected));
  return expected;
}

RuleResult QuantiseShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kFloat, 1));
  NINFER_RETURN_IF_ERROR(ExpectOneOf(in, "scheme", ListQuantiseSchemes()));
  return F32(in.type(0).shape);
}

// --- matmul --------------------------------------------------------------------------------------

RuleResult LinearShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kFloat, 1));
  const Type& x = in.type(0);  // [..., K]
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kFloat, {absl::nullopt, x.shape.back()}));
  Type result = F32(x.shape);
  result.shape.back() = in.type(1).shape[0];  // [..., N]
  return result;
}

RuleResult MatMulShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 0, Element::kFloat, {absl::nullopt, absl::nullopt, absl::nullopt}));
  const Type& a = in.type(0);  // [h, m, k]
  const bool* attr = in.find_attr<bool>("transpose_b");
  const bool transpose_b = attr != nullptr && *attr;
  const Pattern b = transpose_b ? Pattern{a.shape[0], absl::nullopt, a.shape[2]}
                                : Pattern{a.shape[0], a.shape[2], absl::nullopt};
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kFloat, b));
  return F32({a.shape[0], a.shape[1], in.type(1).shape[transpose_b ? 1 : 2]});  // [h, m, n]
}

RuleResult GroupedLinearShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 1, Element::kFloat, {absl::nullopt, absl::nullopt, absl::nullopt}));
  const Type& w = in.type(1);  // [E, N, K]
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kFloat, 2));
  const Type& x = in.type(0);  // [T, K] or [T, k, K]
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 2, Element::kI32, {x.shape[0], absl::nullopt}));
  const Dim& chosen = in.type(2).shape[1];
  const Pattern expected =
      x.rank() == 2 ? Pattern{x.shape[0], w.shape[2]} : Pattern{x.shape[0], chosen, w.shape[2]};
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 0, Element::kFloat, expected));
  return F32({x.shape[0], chosen, w.shape[1]});
}

// --- top-k and gather ----------------------------------------------------------------------------

RuleResult TopKShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 0, Element::kF32, {absl::nullopt, absl::nullopt}));
  const Dim& columns = in.type(0).shape[1];
  const int64_t k = in.attr<int64_t>("k");
  if (!columns.is_static() || k < 1 || k > columns.offset) {
    return InvalidArgument("k: expected 1 to ", in.Text(columns), ", found ", k);
  }
  return Type{DType::kI32, {in.type(0).shape[0], Dim::Static(k)}};
}

// Rows of x; an error where its columns are no number.
absl::StatusOr<Dim> RowsOfColumns(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 0, Element::kF32, {absl::nullopt, absl::nullopt}));
  const Dim& columns = in.type(0).shape[1];
  if (columns.is_static() && columns.offset > 0 && columns.offset <= INT32_MAX) {
    return in.type(0).shape[0];
  }
  return OperandError(in, 0, "a number of columns");
}

RuleResult ArgmaxShape(const RuleInput& in) {
  NINFER_ASSIGN_OR_RETURN(const Dim rows, RowsOfColumns(in));
  return Type{DType::kI32, {rows}};
}

RuleResult PartsShape(const RuleInput& in, DType dtype) {
  NINFER_ASSIGN_OR_RETURN(const Dim rows, RowsOfColumns(in));
  const int64_t columns = in.attr<int64_t>("columns"), all = in.type(0).shape[1].offset;
  if (columns < 1) return InvalidArgument("columns: expected at least 1, found ", columns);
  return Type{dtype, {rows, Dim::Static((all - 1) / columns + 1)}};
}

RuleResult MaxPartsShape(const RuleInput& in) { return PartsShape(in, DType::kF32); }

RuleResult ArgmaxPartsShape(const RuleInput& in) { return PartsShape(in, DType::kI32); }

RuleResult ArgmaxOfShape(const RuleInput& in) {
  NINFER_ASSIGN_OR_RETURN(const Dim rows, RowsOfColumns(in));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kI32, {rows, in.type(0).shape[1]}));
  return Type{DType::kI32, {rows}};
}

RuleResult TakeColumnsShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 0, Element::kF32, {absl::nullopt, absl::nullopt}));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kI32, {in.type(0).shape[0], absl::nullopt}));
  return F32({in.type(1).shape[0], in.type(1).shape[1]});
}

RuleResult WeightedSumShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 0, Element::kF32, {absl::nullopt, absl::nullopt, absl::nullopt}));
  const Type& x = in.type(0);  // [T, k, N]
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kF32, {x.shape[0], x.shape[1]}));
  return F32({x.shape[0], x.shape[2]});
}

RuleResult EmbeddingShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 0, Element::kI32, {absl::nullopt}));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kFloat, {absl::nullopt, absl::nullopt}));
  return F32({in.type(0).shape[0], in.type(1).shape[1]});  // [T, width]
}

RuleResult GatherRowsShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kAny, 1));
  const Type& rows = in.type(1);
  if (rows.rank() == 2) {
    NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kI32, {absl::nullopt, absl::nullopt}));
  } else {
    NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kI32, {absl::nullopt}));
  }
  Type result{in.type(0).dtype, rows.shape};  // [R, ...] or [R, k, ...]
  result.shape.insert(result.shape.end(), in.type(0).shape.begin() + 1, in.type(0).shape.end());
  return result;
}

// --- views ---------------------------------------------------------------------------------------

namespace {

// The number of elements as a product: the static part, and the symbolic factors in a fixed order.
struct ElementCount {
  int64_t factor = 1;
  bool overflow = false;
  std::vector<std::pair<int32_t, int64_t>> symbols;

  bool operator==(const ElementCount& other) const {
    return !overflow && !other.overflow && factor == other.factor && symbols == other.symbols;
  }
};

ElementCount CountOf(const Type& type) {
  ElementCount count;
  for (const Dim& dim : type.shape) {
    if (dim.is_static()) {
      count.overflow |= __builtin_mul_overflow(count.factor, dim.offset, &count.factor);
    } else {
      count.symbols.emplace_back(dim.symbol, dim.offset);
    }
  }
  std::sort(count.symbols.begin(), count.symbols.end());
  return count;
}

}  // namespace

RuleResult ReshapeShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectDeclared(in));
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kAny));
  if (in.declared->is_kv || in.declared->dtype != in.type(0).dtype ||
      !(CountOf(*in.declared) == CountOf(in.type(0)))) {
    return DeclaredError(in, absl::StrCat("as many elements as ", in.Text(in.type(0)), " has"));
  }
  return *in.declared;
}

RuleResult TransposeShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kAny, 1));
  const Type& x = in.type(0);
  const auto& perm = in.attr<std::vector<int64_t>>("perm");
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool valid = static_cast<int>(perm.size()) == x.rank();
  for (size_t i = 0; valid && i < sorted.size(); ++i) {
    valid = sorted[i] == static_cast<int64_t>(i);
  }
  if (!valid) {
    return InvalidArgument("perm: expected a permutation of 0 to ", x.rank() - 1, ", found [",
                           absl::StrJoin(perm, ", "), "]");
  }
  Type result = x;
  for (int d = 0; d < x.rank(); ++d) result.shape[d] = x.shape[perm[d]];
  return result;
}

RuleResult SliceShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kAny, 1));
  NINFER_ASSIGN_OR_RETURN(const int axis, AxisOf(in));
  const Dim& dim = in.type(0).shape[axis];
  const int64_t begin = in.attr<int64_t>("begin");
  const int64_t end = in.attr<int64_t>("end");
  if (begin < 0 || begin >= end || end > MinOf(dim, in.symbols)) {
    return InvalidArgument("begin, end: expected a range within ", in.Text(dim), ", found ", begin,
                           ", ", end);
  }
  Type result = in.type(0);
  result.shape[axis] = Dim::Static(end - begin);
  return result;
}

RuleResult ConcatShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kAny, 1));
  NINFER_ASSIGN_OR_RETURN(const int axis, AxisOf(in));
  const Type& first = in.type(0);
  Type result = first;
  for (size_t i = 1; i < in.operands.size(); ++i) {
    Type other = in.operands[i];
    Dim added = axis < other.rank() ? other.shape[axis] : Dim{};
    if (axis < other.rank()) other.shape[axis] = first.shape[axis];
    Dim& total = result.shape[axis];
    // At most one symbol can stand in a dimension, so one of the two must be a number.
    const bool addable = total.is_static() || added.is_static();
    if (other != first || !addable ||
        __builtin_add_overflow(total.offset, added.offset, &total.offset)) {
      return OperandError(in, static_cast<int>(i),
                          absl::StrCat("the dtype and shape of ", in.Text(first), " but for axis ",
                                       axis, ", and one symbol at most along it"));
    }
    total.symbol = std::max(total.symbol, added.symbol);
  }
  return result;
}

RuleResult RepeatShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectTensor(in, 0, Element::kAny, 1));
  NINFER_ASSIGN_OR_RETURN(const int axis, AxisOf(in));
  const int64_t times = in.attr<int64_t>("times");
  Type result = in.type(0);
  Dim& dim = result.shape[axis];
  if (times < 1 || (!dim.is_static() && times != 1) ||
      __builtin_mul_overflow(dim.offset, dim.is_static() ? times : 1, &dim.offset)) {
    return InvalidArgument("times: expected 1 or more along a static axis, found ", times,
                           " along ", in.Text(in.type(0).shape[axis]));
  }
  return result;
}

}  // namespace shape_rules

namespace {

using ShapeRule = absl::StatusOr<Type> (*)(const shape_rules::RuleInput&);

constexpr ShapeRule kRules[] = {
#define OP(enumerator, text, format, op_class, shape_rule, ...) &shape_rules::shape_rule,
#include "ir/ops.def"
};

bool HasKind(const AttrValue& value, AttrKind kind) {
  // The alternatives of AttrValue stand in AttrKind's order.
  constexpr AttrKind kKinds[] = {AttrKind::kInt, AttrKind::kFloat, AttrKind::kString,
                                 AttrKind::kInts, AttrKind::kBool};
  return kKinds[value.index()] == kind;
}

}  // namespace

absl::Status CheckSignature(const OpInfo& info, int num_operands, const std::vector<Attr>& attrs) {
  if (num_operands < info.min_operands || num_operands > info.max_operands) {
    const std::string expected = info.min_operands == info.max_operands
                                     ? absl::StrCat(info.min_operands)
                                     : absl::StrCat(info.min_operands, " to ", info.max_operands);
    return InvalidArgument("operands: expected ", expected, ", found ", num_operands);
  }
  for (const AttrSpec& spec : info.attributes) {
    int found = 0;
    for (const Attr& attr : attrs) {
      if (attr.name != spec.name) continue;
      ++found;
      if (!HasKind(attr.value, spec.kind)) {
        return InvalidArgument("attribute ", spec.name, ": expected ", AttrKindName(spec.kind),
                               ", found another kind");
      }
    }
    if (found > 1 || (found == 0 && !spec.optional)) {
      return InvalidArgument("attribute ", spec.name, ": expected once, found ", found, " times");
    }
  }
  for (const Attr& attr : attrs) {
    const bool known =
        std::any_of(info.attributes.begin(), info.attributes.end(),
                    [&attr](const AttrSpec& spec) { return spec.name == attr.name; });
    if (!known) {
      return InvalidArgument("attribute ", attr.name, ": expected only those of ", info.name,
                             ", found an unknown one");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Type> InferType(Op op, absl::Span<const Type> operands,
                               const std::vector<Attr>& attrs, const Type* declared,
                               absl::Span<const Symbol> symbols) {
  const OpInfo& info = InfoOf(op);
  const absl::Status signature = CheckSignature(info, static_cast<int>(operands.size()), attrs);
  if (!signature.ok()) return Annotate(signature, info.name);
  const shape_rules::RuleInput input{info, operands, attrs, declared, symbols};
  absl::StatusOr<Type> result = kRules[static_cast<size_t>(op)](input);
  if (!result.ok()) return Annotate(result.status(), info.name);
  return result;
}

}  // namespace ninfer::ir
