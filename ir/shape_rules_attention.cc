// The shape rules of attention and of the KV state.
// Tested by tests/ir_builder_test.cc, tests/ir_verifier_test.cc.
#include <cmath>

#include "ir/shape_rule_input.h"

namespace ninfer::ir::shape_rules {
namespace {

// The operands (positions [T], seq_bounds [S+1]) from `first` on. Gives S+1.
absl::StatusOr<Dim> ExpectSequences(const RuleInput& in, int first, const Dim& tokens) {
  NINFER_RETURN_IF_ERROR(ExpectShape(in, first, Element::kI32, {tokens}));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, first + 1, Element::kI32, {absl::nullopt}));
  return in.type(first + 1).shape[0];
}

// What is appended to a state and read of it. A state of integers takes and gives f32.
DType RowsOf(const Type& kv) { return kv.dtype == DType::kI8 ? DType::kF32 : kv.dtype; }

Dim OneLess(const Dim& dim) { return {dim.symbol, dim.offset - 1}; }

// A window of at least one position, where there is one.
absl::Status CheckWindow(const RuleInput& in) {
  const int64_t* window = in.find_attr<int64_t>("window");
  if (window == nullptr || *window >= 1) return absl::OkStatus();
  return InvalidArgument("window: expected 1 or more, found ", *window);
}

absl::Status CheckRounding(const RuleInput& in, absl::string_view name) {
  if (in.find_attr<std::string>(name) == nullptr) return absl::OkStatus();
  return ExpectOneOf(in, name, {"bf16"});
}

// The optional operand `slopes` [H] at `index`, which comes with its scale.
absl::Status ExpectSlopes(const RuleInput& in, int index) {
  const double* scale = in.find_attr<double>("alibi_scale");
  const bool given = static_cast<int>(in.operands.size()) > index;
  if (given != (scale != nullptr) || (scale != nullptr && !std::isfinite(*scale))) {
    return InvalidArgument("alibi_scale: expected a finite number with slopes, and none without");
  }
  NINFER_RETURN_IF_ERROR(CheckRounding(in, "alibi_rounding"));
  if (!given) return absl::OkStatus();
  return ExpectShape(in, index, Element::kF32, {in.type(0).shape[1]});
}

// Scale and form, and q [T,H,d] whose H is a multiple of the KV heads.
absl::Status ExpectQueries(const RuleInput& in, const Dim& kv_heads, const Dim& head_dim) {
  NINFER_RETURN_IF_ERROR(ExpectOneOf(in, "form", {"naive", "efficient", "flash"}));
  if (!std::isfinite(in.attr<double>("scale"))) {
    return InvalidArgument("scale: expected a finite number, found ", in.attr<double>("scale"));
  }
  NINFER_RETURN_IF_ERROR(CheckWindow(in));
  const double* cap = in.find_attr<double>("softcap");
  if (cap != nullptr && !(*cap > 0 && std::isfinite(*cap))) {
    return InvalidArgument("softcap: expected a number above 0, found ", *cap);
  }
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 0, Element::kFloat, {absl::nullopt, absl::nullopt, head_dim}));
  const Dim& heads = in.type(0).shape[1];
  if (!heads.is_static() || !kv_heads.is_static() || kv_heads.offset < 1 ||
      heads.offset % kv_heads.offset != 0) {
    return OperandError(in, 0, absl::StrCat("heads in a multiple of ", in.Text(kv_heads)));
  }
  return absl::OkStatus();
}

}  // namespace

RuleResult AlibiShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 0, Element::kF32, {absl::nullopt, absl::nullopt, absl::nullopt}));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kF32, {in.type(0).shape[0]}));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 2, Element::kI32, {absl::nullopt}));
  NINFER_RETURN_IF_ERROR(CheckRounding(in, "rounding"));
  if (!std::isfinite(in.attr<double>("scale"))) {
    return InvalidArgument("scale: expected a finite number, found ", in.attr<double>("scale"));
  }
  return in.type(0);
}

RuleResult MaskShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(CheckWindow(in));
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 0, Element::kF32, {absl::nullopt, absl::nullopt, absl::nullopt}));
  NINFER_ASSIGN_OR_RETURN(const Dim bounds, ExpectSequences(in, 1, in.type(0).shape[1]));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 3, Element::kI32, {bounds}));
  return in.type(0);
}

RuleResult AttentionShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 1, Element::kFloat, {absl::nullopt, absl::nullopt, absl::nullopt}));
  const Type& k = in.type(1);  // [C, kv_heads, head_dim]
  NINFER_RETURN_IF_ERROR(ExpectQueries(in, k.shape[1], k.shape[2]));
  if (in.type(2) != k) return OperandError(in, 2, in.Text(k));
  NINFER_ASSIGN_OR_RETURN(const Dim bounds, ExpectSequences(in, 3, in.type(0).shape[0]));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 5, Element::kI32, {bounds}));
  NINFER_RETURN_IF_ERROR(ExpectSlopes(in, 6));
  return F32(in.type(0).shape);
}

RuleResult PagedAttentionShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectKv(in, 1));
  NINFER_RETURN_IF_ERROR(ExpectQueries(in, in.type(1).shape[0], in.type(1).shape[1]));
  NINFER_ASSIGN_OR_RETURN(const Dim bounds, ExpectSequences(in, 2, in.type(0).shape[0]));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 4, Element::kI32, {OneLess(bounds), absl::nullopt}));
  NINFER_RETURN_IF_ERROR(ExpectSlopes(in, 5));
  return F32(in.type(0).shape);
}

RuleResult KvAppendShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectKv(in, 0));
  const Type& kv = in.type(0);
  NINFER_RETURN_IF_ERROR(
      ExpectShape(in, 1, Element::kFloat, {absl::nullopt, kv.shape[0], kv.shape[1]}));
  // A cache of floats rounds nothing: a cast stands in the graph where its dtype is another.
  const Type rows{RowsOf(kv), in.type(1).shape};  // [T, kv_heads, head_dim]
  for (int i = 1; i <= 2; ++i) {
    if (in.type(i) != rows) return OperandError(in, i, in.Text(rows));
  }
  NINFER_ASSIGN_OR_RETURN(const Dim bounds, ExpectSequences(in, 3, rows.shape[0]));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 5, Element::kI32, {OneLess(bounds), absl::nullopt}));
  return kv;
}

RuleResult KvBoundsShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kI32, {absl::nullopt}));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 0, Element::kI32, {OneLess(in.type(1).shape[0])}));
  return in.type(1);
}

RuleResult KvReadShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectDeclared(in));
  NINFER_RETURN_IF_ERROR(ExpectKv(in, 0));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 1, Element::kI32, {absl::nullopt}));
  const Dim sequences = OneLess(in.type(1).shape[0]);
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 2, Element::kI32, {sequences, absl::nullopt}));
  const Type& kv = in.type(0);
  const Type& declared = *in.declared;  // [C, kv_heads, head_dim]
  if (declared.is_kv || declared.dtype != RowsOf(kv) || declared.rank() != 3 ||
      declared.shape[1] != kv.shape[0] || declared.shape[2] != kv.shape[1]) {
    return DeclaredError(in, absl::StrCat(DTypeName(RowsOf(kv)), "[_,", in.Text(kv.shape[0]), ",",
                                          in.Text(kv.shape[1]), "]"));
  }
  return declared;
}

RuleResult ScratchPagesShape(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectDeclared(in));
  NINFER_RETURN_IF_ERROR(ExpectShape(in, 0, Element::kI32, {absl::nullopt}));
  const Dim sequences = OneLess(in.type(0).shape[0]);
  const Type& declared = *in.declared;  // [S, pages]
  if (declared.is_kv || declared.dtype != DType::kI32 || declared.rank() != 2 ||
      declared.shape[0] != sequences) {
    return DeclaredError(in, absl::StrCat("i32[", in.Text(sequences), ",_]"));
  }
  return declared;
}

// A region's results are its body's; the verifier compares them.
RuleResult Body(const RuleInput& in) {
  NINFER_RETURN_IF_ERROR(ExpectDeclared(in));
  return *in.declared;
}

}  // namespace ninfer::ir::shape_rules
