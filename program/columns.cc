// See columns.h. The rules:
// - a vector lies inside one repetition of an operand that is broadcast, inside one piece of what a
//   slice of an inner axis cuts out, and so behind any view of these;
// - what rope turns is visited head by head, first partners, second partners, and the rest: all on
//   the way from rope to the result must keep the heads whole and in their places, so that a column
//   of the result is the same column of its head;
// - a reduction visits what it reduces, the row or each head of it, before the others: its value is
//   then visited head by head;
// - no value lies more than kMaxDepth ops behind what is at hand.
//
// Tested by tests/program_columns_test.cc, tests/codegen_rowwise_test.cc.
#include "program/columns.h"

#include <numeric>

#include "absl/container/flat_hash_map.h"

namespace ninfer::program {
namespace {

using ir::Node;
using ir::Op;
using ir::OpClass;
using ir::Value;

// Ops between a value and what is at hand. Emitters, too, follow a value back op by op.
constexpr int kMaxDepth = 256;

constexpr char kWholeHeads[] = "slices of whole heads of what rope turns";

class PeriodFinder {
 public:
  PeriodFinder(ValuePredicate at_hand, ValuePredicate by_element, ColumnRefusal* refusal)
      : at_hand_(at_hand), by_element_(by_element), refusal_(refusal) {}

  absl::optional<ColumnPeriod> Of(const Value* value) {
    const auto it = found_.find(value);
    if (it != found_.end()) return it->second;
    ++depth_;
    const absl::optional<ColumnPeriod> period = Find(value);
    --depth_;
    return found_[value] = period;
  }

 private:
  absl::optional<ColumnPeriod> Find(const Value* value);
  absl::optional<ColumnPeriod> OfOperands(const Node& node);
  absl::optional<ColumnPeriod> OfReduction(const Node& node);
  absl::optional<ColumnPeriod> OfGatheredRows(const Node& node);
  absl::optional<ColumnPeriod> OfTakenColumns(const Node& node);
  absl::optional<ColumnPeriod> OfWeightedSum(const Node& node);
  absl::optional<ColumnPeriod> OfRope(const Node& node);
  absl::optional<ColumnPeriod> OfView(const Node& node);
  absl::optional<ColumnPeriod> OfSlice(const Node& node, const ColumnPeriod& x) const;

  absl::nullopt_t Refuse(const Node& node, absl::string_view expected) const {
    if (refusal_ != nullptr) *refusal_ = {&node, expected};
    return absl::nullopt;
  }

  ValuePredicate at_hand_, by_element_;
  ColumnRefusal* refusal_;
  absl::flat_hash_map<const Value*, absl::optional<ColumnPeriod>> found_;
  int depth_ = 0;
};

// An operand has the result's columns, one column, or those of the result's last axes.
bool BroadcastsLeadingAxes(const ir::Type& operand, const ir::Type& result) {
  if (RowColumns(operand) == 1 || RowColumns(operand) == RowColumns(result)) return true;
  int first = HasRows(operand) ? 1 : 0;
  while (first < operand.rank() && operand.shape[first] == ir::Dim::Static(1)) ++first;
  for (int i = first; i < operand.rank(); ++i) {
    if (operand.shape[i] != result.shape[result.rank() - operand.rank() + i]) return false;
  }
  return true;
}

// False: two ropes that turn different columns.
bool Merge(const ColumnPeriod& from, ColumnPeriod* into) {
  into->single |= from.single;
  if (from.rotated != 0 && into->rotated != 0) {
    return from.columns == into->columns && from.rotated == into->rotated;
  }
  if (from.rotated == 0 && into->rotated == 0) {
    into->columns = std::gcd(into->columns, from.columns);
    return true;
  }
  const int64_t head = from.rotated != 0 ? from.columns : into->columns;
  const int64_t other = from.rotated != 0 ? into->columns : from.columns;
  if (other % head != 0) into->single = true;  // one column is never split
  into->columns = head;
  into->rotated += from.rotated;
  return true;
}

absl::optional<ColumnPeriod> PeriodFinder::Find(const Value* value) {
  if (value->producer() == nullptr || at_hand_(value)) return ColumnPeriod();
  const Node& node = *value->producer();
  if (depth_ > kMaxDepth) return Refuse(node, "at most 256 ops one behind the other");
  if (node.op() == Op::kRope) return OfRope(node);
  switch (node.info().op_class) {
    case OpClass::kElementwise:
      if (node.op() == Op::kCausalMask) break;
      return OfOperands(node);
    case OpClass::kReduce:
      return node.op() == Op::kWeightedSum ? OfWeightedSum(node) : OfReduction(node);
    case OpClass::kCast:
      return Of(node.operand(0));
    case OpClass::kGather: {
      absl::optional<ColumnPeriod> period = ColumnPeriod();
      if (node.op() == Op::kGatherRows) return OfGatheredRows(node);
      if (node.op() == Op::kTakeColumns) return OfTakenColumns(node);
      period->single = by_element_(node.operand(1));
      return period;
    }
    case OpClass::kView:
      return OfView(node);
    default:
      break;
  }
  return Refuse(node, "what is computed row by row");
}

absl::optional<ColumnPeriod> PeriodFinder::OfOperands(const Node& node) {
  const ir::Type& type = node.result()->type();
  ColumnPeriod period;
  for (const Value* operand : node.operands()) {
    if (!BroadcastsLeadingAxes(operand->type(), type)) {
      return Refuse(node, "operands that broadcast leading axes alone");
    }
    absl::optional<ColumnPeriod> own = Of(operand);
    if (!own) return own;
    const int64_t columns = RowColumns(operand->type());
    if (columns == 1 && RowColumns(type) != 1) continue;  // read by itself
    if (columns != RowColumns(type) && own->columns == 0) own->columns = columns;
    if (!Merge(*own, &period)) return Refuse(node, "ropes of the same heads and angles");
  }
  return period;
}

absl::optional<ColumnPeriod> PeriodFinder::OfReduction(const Node& node) {
  const absl::optional<ColumnPeriod> x = Of(node.operand(0));
  if (x && x->rotated != 0) return Refuse(node, "reductions of what no rope turns");
  absl::optional<ColumnPeriod> period = x ? OfOperands(node) : x;
  const ir::Type& type = node.result()->type();
  const int64_t head = type.shape.back().offset;
  if (period && head != RowColumns(type)) Merge(ColumnPeriod{head}, &*period);
  return period;
}

// The columns of x's row; of several rows side by side, one row after the other.
absl::optional<ColumnPeriod> PeriodFinder::OfGatheredRows(const Node& node) {
  absl::optional<ColumnPeriod> period = Of(node.operand(0));
  if (!period || node.operand(1)->type().rank() == 1) return period;
  if (period->rotated != 0) return Refuse(node, "rows of what no rope turns");
  Merge(ColumnPeriod{RowColumns(node.operand(0)->type())}, &*period);
  return period;
}

// Any column of x, one at a time.
absl::optional<ColumnPeriod> PeriodFinder::OfTakenColumns(const Node& node) {
  const absl::optional<ColumnPeriod> x = Of(node.operand(0)), ids = Of(node.operand(1));
  if (!x || !ids) return absl::nullopt;
  if (x->rotated != 0) return Refuse(node, "columns of what no rope turns");
  ColumnPeriod period;
  period.single = true;
  return period;
}

// The same column of each of x's parts, one after the other.
absl::optional<ColumnPeriod> PeriodFinder::OfWeightedSum(const Node& node) {
  const absl::optional<ColumnPeriod> x = Of(node.operand(0)), weights = Of(node.operand(1));
  if (!x || !weights) return absl::nullopt;
  if (x->rotated != 0 || weights->rotated != 0) return Refuse(node, "sums of what no rope turns");
  ColumnPeriod period = *x;
  if (x->columns != 0) period.columns = std::gcd(x->columns, RowColumns(node.result()->type()));
  return period;
}

absl::optional<ColumnPeriod> PeriodFinder::OfRope(const Node& node) {
  const absl::optional<ColumnPeriod> x = Of(node.operand(0));
  const absl::optional<ColumnPeriod> cos = Of(node.operand(1));
  const absl::optional<ColumnPeriod> sin = Of(node.operand(2));
  if (!x || !cos || !sin) return absl::nullopt;
  if (x->rotated != 0 || cos->rotated != 0 || sin->rotated != 0) {
    return Refuse(node, "rope of what no other rope turns");
  }
  ColumnPeriod period{node.result()->type().shape.back().offset,
                      RowColumns(node.operand(1)->type()),
                      x->single || node.attr_string("style") == "pairs"};
  if (cos->columns != 0 || sin->columns != 0 || cos->single || sin->single) period.single = true;
  if (x->columns % period.columns != 0) period.single = true;
  return period;
}

absl::optional<ColumnPeriod> PeriodFinder::OfView(const Node& node) {
  const ir::Type& from = node.operand(0)->type();
  const ir::Type& to = node.result()->type();
  const bool keeps_rows = HasRows(from) && HasRows(to) && from.shape[0] == to.shape[0];
  if (!keeps_rows || (node.op() != Op::kReshape && node.op() != Op::kSlice)) {
    return Refuse(node, "views that keep the rows");
  }
  const absl::optional<ColumnPeriod> x = Of(node.operand(0));
  return x && node.op() == Op::kSlice ? OfSlice(node, *x) : x;
}

absl::optional<ColumnPeriod> PeriodFinder::OfSlice(const Node& node, const ColumnPeriod& x) const {
  const int64_t axis = node.attr_int("axis");
  const ir::Type& to = node.result()->type();
  const int64_t trailing = TrailingColumns(to, axis);
  const int64_t skipped = node.attr_int("begin") * trailing;
  const int64_t piece = to.shape[axis].offset * trailing;
  const int64_t whole = node.operand(0)->type().shape[axis].offset * trailing;
  ColumnPeriod period = x;
  if (axis <= 1) {
    if (x.columns != 0) period.columns = std::gcd(x.columns, std::gcd(skipped, piece));
  } else {
    period.columns =
        x.columns == 0 ? piece : std::gcd(std::gcd(x.columns, whole), std::gcd(skipped, piece));
  }
  if (x.rotated != 0 && period.columns != x.columns) return Refuse(node, kWholeHeads);
  return period;
}

}  // namespace

absl::optional<ColumnPeriod> PeriodOf(const Value* value, ValuePredicate at_hand,
                                      ValuePredicate by_element, ColumnRefusal* refusal) {
  return PeriodFinder(at_hand, by_element, refusal).Of(value);
}

bool HasRows(const ir::Type& type) { return type.rank() > 0 && !type.shape[0].is_static(); }

int64_t RowColumns(const ir::Type& type) {
  int64_t columns = 1;
  for (int i = HasRows(type) ? 1 : 0; i < type.rank(); ++i) columns *= type.shape[i].offset;
  return columns;
}

int64_t TrailingColumns(const ir::Type& type, int64_t axis) {
  int64_t size = 1;
  for (int i = static_cast<int>(axis) + 1; i < type.rank(); ++i) size *= type.shape[i].offset;
  return size;
}

}  // namespace ninfer::program
