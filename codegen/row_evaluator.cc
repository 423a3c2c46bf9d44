// See row_evaluator.h.
// Tested by tests/codegen_test.cc.
#include "codegen/row_evaluator.h"

#include <algorithm>

#include "base/status.h"
#include "codegen/math.h"
#include "codegen/quantised_element.h"
#include "llvm/IR/Intrinsics.h"
#include "program/scratch.h"

namespace ninfer::codegen {

namespace {

// The period of columns within which an operand of a broadcasting op is contiguous, 0 when it has
// as many columns as the result or one.
int64_t BroadcastPeriod(const ir::Type& operand, const ir::Type& result) {
  const int64_t own = RowColumns(operand);
  return own == RowColumns(result) || own == 1 ? 0 : own;
}

// Whether values of a row, or of a head, are needed before any of its columns.
bool IsReduce(const ir::Node& node) {
  return node.info().op_class == ir::OpClass::kReduce && node.op() != ir::Op::kWeightedSum;
}

}  // namespace

const ir::Value* WithoutFinalCast(const ir::Value* value) {
  const ir::Node* last = value->producer();
  const bool drops = last != nullptr && last->op() == ir::Op::kCast &&
                     last->operand(0)->type().dtype == DType::kF32;
  return drops ? last->operand(0) : value;
}

void RowEvaluator::Override(const ir::Value* value, std::function<LV(const Place&, LV)> function) {
  overrides_[value] = std::move(function);
}

program::ColumnPeriod RowEvaluator::PeriodOf(const ir::Value* value) const {
  const auto at_hand = [this](const ir::Value* v) { return overrides_.contains(v); };
  const auto in_panels = [this](const ir::Value* table) {
    return formats::InfoOf(e_.ParameterInfo(table).format).is_panel;
  };
  const auto period = program::PeriodOf(value, at_hand, in_panels, nullptr);
  NINFER_CHECK(period.has_value()) << e_.kernel().name;
  return *period;
}

void RowEvaluator::ForEachColumn(const ir::Value* value, LV row,
                                 const std::function<void(const Place&, LV)>& visit) {
  const program::ColumnPeriod period = PeriodOf(value);
  const int64_t columns = RowColumns(value->type());
  const int lanes = period.single ? 1 : e_.lanes();
  if (period.columns == 0) {
    e_.ForColumns(columns, lanes, [&](LV column, int n) {
      visit(Place{row, n, 0, nullptr}, column);
    });
    return;
  }
  ForPeriods(period, row, e_.I64(0), e_.I64(columns / period.columns), visit);
}

void RowEvaluator::ForGroups(const ir::Value* value, LV row, const Groups& groups,
                             const std::function<void(const Place&, LV)>& visit) {
  const program::ColumnPeriod period = PeriodOf(value);
  const bool across = period.columns != 0 && groups.columns % period.columns != 0;
  PrepareRow(value, row, across ? nullptr : &groups);
  if (across) return ForEachColumn(value, row, visit);
  if (period.columns == 0) {
    e_.For(groups.begin, groups.end, 1, [&](LV group) {
      LV start = e_.b().CreateMul(group, e_.I64(groups.columns));
      e_.ForColumns(groups.columns, period.single ? 1 : e_.lanes(), [&](LV column, int n) {
        visit(Place{row, n, 0, nullptr}, e_.b().CreateAdd(start, column));
      });
    });
    return;
  }
  LV periods = e_.I64(groups.columns / period.columns);
  ForPeriods(period, row, e_.b().CreateMul(groups.begin, periods),
             e_.b().CreateMul(groups.end, periods), visit);
}

void RowEvaluator::ForPeriods(const program::ColumnPeriod& period, LV row, LV begin, LV end,
                              const std::function<void(const Place&, LV)>& visit) {
  const int lanes = period.single ? 1 : e_.lanes();
  const int64_t rotated = period.rotated;
  const int64_t phases[][2] = {{0, rotated}, {rotated, 2 * rotated}, {2 * rotated, period.columns}};
  e_.For(begin, end, 1, [&](LV block) {
    LV start = e_.b().CreateMul(block, e_.I64(period.columns));
    for (int phase = rotated == 0 ? 2 : 0; phase < 3; ++phase) {
      const int64_t count = phases[phase][1] - phases[phase][0];
      if (count == 0) continue;
      e_.ForColumns(count, lanes, [&](LV pair, int n) {
        LV column = e_.b().CreateAdd(start, e_.b().CreateAdd(pair, e_.I64(phases[phase][0])));
        visit(Place{row, n, phase, pair}, column);
      });
    }
  });
}

void RowEvaluator::PrepareRow(const ir::Value* value, LV row, const Groups* groups) {
  if (overrides_.contains(value) || value->producer() == nullptr) return;
  if (prepared_.contains({value, row, false})) return;
  if (!prepared_.emplace(value, row, groups != nullptr).second) return;
  const ir::Node& node = *value->producer();
  if (node.op() == ir::Op::kGatherRows) {
    // Several rows side by side are rows of a parameter, where nothing is to prepare.
    if (node.operand(1)->type().rank() > 1) return;
    PrepareRow(node.operand(0), LoadRowIndex(node.operand(1), row, e_.I64(0)));
    return;
  }
  // What is reduced over other heads than the groups', whole rows for instance, or has other
  // columns, is needed whole.
  const bool whole = IsReduce(node) && groups != nullptr &&
                     node.operand(0)->type().shape.back().offset != groups->columns;
  for (const ir::Value* operand : node.operands()) {
    const bool alike = !whole && RowColumns(operand->type()) == RowColumns(value->type());
    PrepareRow(operand, row, alike ? groups : nullptr);
  }
  if (IsReduce(node)) PrepareReduction(node, row, groups);
}

void RowEvaluator::PrepareReduction(const ir::Node& node, LV row, const Groups* groups) {
  const ir::Type& type = node.operand(0)->type();
  const int64_t columns = RowColumns(type);
  const int64_t at = program::HeadStatisticsAt(e_.kernel(), node);
  if (at < 0) {
    statistics_[&node] = Reduce(node, row, {e_.I64(0), columns});
    return;
  }
  const int64_t head_columns = type.shape.back().offset;
  LV begin = e_.I64(0), end = e_.I64(columns / head_columns);
  if (groups != nullptr && groups->columns == head_columns) {
    begin = groups->begin;
    end = groups->end;
  }
  e_.For(begin, end, 1, [&](LV head) {
    const Statistics found =
        Reduce(node, row, {e_.b().CreateMul(head, e_.I64(head_columns)), head_columns});
    LV address = e_.Offset(e_.scratch(), e_.AddMul(e_.I64(at), head, 8));
    e_.StoreFloat(found.scale, address, DType::kF32, 1);
    if (found.shift != nullptr) e_.StoreFloat(found.shift, e_.Offset(address, 4), DType::kF32, 1);
  });
}

RowEvaluator::Statistics RowEvaluator::StatisticsAt(const ir::Node& node, LV column) {
  const int64_t at = program::HeadStatisticsAt(e_.kernel(), node);
  if (at < 0) return statistics_.at(&node);
  LV head = e_.b().CreateUDiv(column, e_.I64(node.operand(0)->type().shape.back().offset));
  LV address = e_.Offset(e_.scratch(), e_.AddMul(e_.I64(at), head, 8));
  Statistics found;
  found.scale = e_.LoadFloat(address, DType::kF32, 1);
  if (node.op() != ir::Op::kRmsNorm) {
    found.shift = e_.LoadFloat(e_.Offset(address, 4), DType::kF32, 1);
  }
  return found;
}

LV RowEvaluator::Sum(const ir::Value* value, LV row, const Stretch& stretch,
                     const std::function<LV(LV, LV)>& accumulate) {
  const program::ColumnPeriod period = PeriodOf(value);
  const int64_t columns = stretch.columns;
  // A stretch begins at a multiple of its size, so one that divides the period lies inside one.
  const bool contiguous = !period.single && period.columns % columns == 0;
  const int lanes = contiguous ? e_.lanes() : 1;
  const int64_t whole = columns / lanes * lanes;
  LV sum = nullptr;
  auto run = [&](int64_t from, int64_t to, int n) {
    const std::vector<LV> total = e_.ForCarry(
        e_.I64(from), e_.I64(to), n, {e_.Splat(0, n)}, [&](LV at, const std::vector<LV>& acc) {
          LV column = e_.b().CreateAdd(stretch.begin, at);
          LV x = Evaluate(value, Place{row, n, 0, nullptr}, column);
          return std::vector<LV>{accumulate(acc[0], x)};
        });
    LV reduced = e_.ReduceAdd(total[0], n);
    sum = sum == nullptr ? reduced : e_.b().CreateFAdd(sum, reduced);
  };
  if (whole > 0) run(0, whole, lanes);
  if (whole < columns) run(whole, columns, 1);
  return sum;
}

RowEvaluator::Statistics RowEvaluator::Reduce(const ir::Node& node, LV row,
                                              const Stretch& stretch) {
  const LineScope scope(e_, node);
  llvm::IRBuilder<>& b = e_.b();
  const ir::Value* x = node.operand(0);
  const double columns = static_cast<double>(stretch.columns);
  auto lanes_like = [&](LV scalar, LV value) {
    auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(value->getType());
    return vector == nullptr ? scalar : e_.SplatValue(scalar, vector->getNumElements());
  };
  Statistics result;
  if (node.op() == ir::Op::kSoftmax) {
    LV most = e_.ForCarry(e_.I64(0), e_.I64(stretch.columns), 1,
                          {llvm::ConstantFP::getInfinity(b.getFloatTy(), true)},
                          [&](LV at, const std::vector<LV>& acc) {
                            LV column = b.CreateAdd(stretch.begin, at);
                            LV v = Evaluate(x, Place{row, 1, 0, nullptr}, column);
                            return std::vector<LV>{e_.Max(v, acc[0])};
                          })[0];
    LV sum = Sum(x, row, stretch, [&](LV acc, LV v) {
      return b.CreateFAdd(acc, EmitExp(e_, b.CreateFSub(v, lanes_like(most, v))));
    });
    result.shift = most;
    result.scale = b.CreateFDiv(e_.Splat(1, 1), sum);
    return result;
  }
  LV count = e_.Splat(columns, 1);
  if (node.op() == ir::Op::kLayerNorm) {
    LV sum = Sum(x, row, stretch, [&](LV acc, LV v) { return b.CreateFAdd(acc, v); });
    result.shift = b.CreateFDiv(sum, count);
  }
  LV squares = Sum(x, row, stretch, [&](LV acc, LV v) {
    LV centred = result.shift == nullptr ? v : b.CreateFSub(v, lanes_like(result.shift, v));
    return e_.Fma(centred, centred, acc);
  });
  LV variance = b.CreateFAdd(b.CreateFDiv(squares, count), e_.Splat(node.attr_float("eps"), 1));
  LV deviation = b.CreateIntrinsic(llvm::Intrinsic::sqrt, {variance->getType()}, {variance});
  result.scale = b.CreateFDiv(e_.Splat(1, 1), deviation);
  return result;
}

LV RowEvaluator::Evaluate(const ir::Value* value, const Place& place, LV column) {
  evaluated_.clear();
  return EvaluateAt(value, place, column);
}

LV RowEvaluator::EvaluateAt(const ir::Value* value, const Place& place, LV column) {
  if (auto it = overrides_.find(value); it != overrides_.end()) return it->second(place, column);
  const Key key(value, place.row, column, place.lanes, place.phase, place.pair);
  if (const auto it = evaluated_.find(key); it != evaluated_.end()) return it->second;
  LV result = value->producer() == nullptr ? EvaluateParameter(value, place, column)
                                           : EvaluateNode(*value->producer(), place, column);
  return evaluated_[key] = result;
}

LV RowEvaluator::EvaluateParameter(const ir::Value* value, const Place& place, LV column) {
  const ir::Type& type = value->type();
  LV element = column;
  if (HasRows(type)) {
    const program::KernelParam& info = e_.ParameterInfo(value);
    const bool dense = info.kind == program::OperandKind::kArgument && type.dtype == DType::kI32;
    const int64_t ld = dense ? RowColumns(type) : program::LeadingDimension(RowColumns(type));
    element = e_.AddMul(column, place.row, ld);
  }
  const int64_t size = DTypeSize(type.dtype);
  LV address = e_.Offset(e_.ParameterAddress(value), e_.b().CreateMul(element, e_.I64(size)));
  if (type.dtype == DType::kI32) {
    LV loaded = e_.LoadI32(address);
    return place.lanes == 1 ? loaded : e_.b().CreateVectorSplat(place.lanes, loaded);
  }
  return e_.LoadFloat(address, type.dtype, place.lanes);
}

LV RowEvaluator::EvaluateOperand(const ir::Node& node, int operand, const Place& place, LV column) {
  const ir::Value* value = node.operand(operand);
  const ir::Type& type = value->type();
  const int64_t own = RowColumns(type);
  if (own == 1 && RowColumns(node.result()->type()) != 1) {
    Place single = place;
    single.lanes = 1;
    return e_.SplatValue(EvaluateAt(value, single, e_.I64(0)), place.lanes);
  }
  if (BroadcastPeriod(type, node.result()->type()) != 0) {
    column = e_.b().CreateURem(column, e_.I64(own));
  }
  return EvaluateAt(value, place, column);
}

LV RowEvaluator::EvaluateNode(const ir::Node& node, const Place& place, LV column) {
  const LineScope scope(e_, node);
  llvm::IRBuilder<>& b = e_.b();
  auto binary = [&](auto make) {
    LV left = EvaluateOperand(node, 0, place, column);
    LV right = EvaluateOperand(node, 1, place, column);
    return make(left, right);
  };
  switch (node.op()) {
    case ir::Op::kConstant:
      return e_.Splat(node.attr_float("value"), place.lanes);
    case ir::Op::kAdd:
      return binary([&](LV l, LV r) { return b.CreateFAdd(l, r); });
    case ir::Op::kSub:
      return binary([&](LV l, LV r) { return b.CreateFSub(l, r); });
    case ir::Op::kMul:
      return binary([&](LV l, LV r) { return b.CreateFMul(l, r); });
    case ir::Op::kDiv:
      return binary([&](LV l, LV r) { return b.CreateFDiv(l, r); });
    case ir::Op::kMin:
      return binary([&](LV l, LV r) { return b.CreateSelect(b.CreateFCmpOLT(r, l), r, l); });
    case ir::Op::kMax:
      return binary([&](LV l, LV r) { return b.CreateSelect(b.CreateFCmpOLT(l, r), r, l); });
    case ir::Op::kGreater:
      return binary([&](LV l, LV r) {
        return b.CreateSelect(b.CreateFCmpOGT(l, r), e_.Splat(1, place.lanes),
                              e_.Splat(0, place.lanes));
      });
    case ir::Op::kRope:
      return EvaluateRope(node, place, column);
    case ir::Op::kSoftmax:
    case ir::Op::kRmsNorm:
    case ir::Op::kLayerNorm:
      return EvaluateNormalised(node, place, column);
    case ir::Op::kCast: {
      LV x = EvaluateAt(node.operand(0), place, column);
      if (node.operand(0)->type().dtype == DType::kI32) {
        return b.CreateSIToFP(x, e_.FloatType(place.lanes));
      }
      return e_.RoundTo(x, node.result()->type().dtype, place.lanes);
    }
    case ir::Op::kReshape:
      return EvaluateAt(node.operand(0), place, column);
    case ir::Op::kSlice:
      return EvaluateSlice(node, place, column);
    case ir::Op::kGatherRows:
      return EvaluateGathered(node, place, column);
    case ir::Op::kEmbedding:
      return EvaluateEmbedding(node, place, column);
    case ir::Op::kTakeColumns:
      return EvaluateTaken(node, place, column);
    case ir::Op::kWeightedSum:
      return EvaluateWeightedSum(node, place, column);
    default: {
      LV y = EmitUnary(e_, node.op(), EvaluateAt(node.operand(0), place, column));
      NINFER_CHECK(y != nullptr) << node.info().name;
      return y;
    }
  }
}

LV RowEvaluator::EvaluateSlice(const ir::Node& node, const Place& place, LV column) {
  llvm::IRBuilder<>& b = e_.b();
  const int64_t axis = node.attr_int("axis");
  const ir::Type& to = node.result()->type();
  const int64_t trailing = program::TrailingColumns(to, axis);
  const int64_t skipped = node.attr_int("begin") * trailing;
  if (axis <= 1) return EvaluateAt(node.operand(0), place, b.CreateAdd(column, e_.I64(skipped)));
  const int64_t own = to.shape[axis].offset * trailing;
  const int64_t whole = node.operand(0)->type().shape[axis].offset * trailing;
  LV block = b.CreateUDiv(column, e_.I64(own));
  LV inner = b.CreateURem(column, e_.I64(own));
  inner = b.CreateAdd(inner, e_.I64(skipped));
  return EvaluateAt(node.operand(0), place, e_.AddMul(inner, block, whole));
}

LV RowEvaluator::EvaluateGathered(const ir::Node& node, const Place& place, LV column) {
  llvm::IRBuilder<>& b = e_.b();
  Place gathered = place;
  if (node.operand(1)->type().rank() == 1) {
    gathered.row = LoadRowIndex(node.operand(1), place.row, e_.I64(0));
    return EvaluateAt(node.operand(0), gathered, column);
  }
  const int64_t own = RowColumns(node.operand(0)->type());
  gathered.row = LoadRowIndex(node.operand(1), place.row, b.CreateUDiv(column, e_.I64(own)));
  return EvaluateAt(node.operand(0), gathered, b.CreateURem(column, e_.I64(own)));
}

LV RowEvaluator::EvaluateRope(const ir::Node& node, const Place& place, LV column) {
  llvm::IRBuilder<>& b = e_.b();
  const ir::Value* x = node.operand(0);
  const int64_t rotated = RowColumns(node.operand(1)->type());
  if (place.phase == 2) return EvaluateAt(x, place, column);
  const bool pairs = node.attr_string("style") == "pairs";
  const bool first = place.phase == 0;
  // In style "pairs" the columns 2i and 2i + 1 are visited as column i of the two phases would be.
  LV angle = place.pair;
  LV partner = b.CreateAdd(column, e_.I64(first ? rotated : -rotated));
  Place other = place;
  other.phase = 1 - place.phase;
  if (pairs) {
    LV position = first ? place.pair : b.CreateAdd(place.pair, e_.I64(rotated));
    LV odd = b.CreateAnd(position, e_.I64(1));
    angle = b.CreateLShr(position, e_.I64(1));
    // A head may begin at an odd column: the partner is that of the position in the head.
    partner = b.CreateSub(b.CreateAdd(column, e_.I64(1)), b.CreateShl(odd, 1));
    LV cosine = EvaluateAt(node.operand(1), place, angle);
    LV sine = EvaluateAt(node.operand(2), place, angle);
    LV sign = b.CreateSelect(b.CreateICmpEQ(odd, e_.I64(0)), b.CreateFNeg(sine), sine);
    return e_.Fma(EvaluateAt(x, place, column), cosine,
                  b.CreateFMul(EvaluateAt(x, place, partner), sign));
  }
  LV cosine = EvaluateAt(node.operand(1), place, angle);
  LV sine = EvaluateAt(node.operand(2), place, angle);
  LV turned = b.CreateFMul(EvaluateAt(x, other, partner), sine);
  if (first) turned = b.CreateFNeg(turned);
  return e_.Fma(EvaluateAt(x, place, column), cosine, turned);
}

LV RowEvaluator::EvaluateNormalised(const ir::Node& node, const Place& place, LV column) {
  llvm::IRBuilder<>& b = e_.b();
  const Statistics row = StatisticsAt(node, column);
  LV x = EvaluateAt(node.operand(0), place, column);
  if (row.shift != nullptr) x = b.CreateFSub(x, e_.SplatValue(row.shift, place.lanes));
  LV scale = e_.SplatValue(row.scale, place.lanes);
  if (node.op() == ir::Op::kSoftmax) return b.CreateFMul(EmitExp(e_, x), scale);
  LV y = b.CreateFMul(b.CreateFMul(x, scale), EvaluateOperand(node, 1, place, column));
  if (node.op() == ir::Op::kRmsNorm) return y;
  return b.CreateFAdd(y, EvaluateOperand(node, 2, place, column));
}

LV RowEvaluator::EvaluateTaken(const ir::Node& node, const Place& place, LV column) {
  NINFER_CHECK(place.lanes == 1);
  LV taken = e_.b().CreateZExt(EvaluateAt(node.operand(1), place, column), e_.b().getInt64Ty());
  return EvaluateAt(node.operand(0), place, taken);
}

LV RowEvaluator::EvaluateWeightedSum(const ir::Node& node, const Place& place, LV column) {
  const ir::Value* x = node.operand(0);
  const ir::Value* weights = node.operand(1);
  const int64_t own = RowColumns(node.result()->type());
  Place single = place;
  single.lanes = 1;
  const auto before = evaluated_;  // what is computed in the loop is not there behind it
  LV sum = e_.ForCarry(e_.I64(0), e_.I64(RowColumns(weights->type())), 1,
                       {e_.Splat(0, place.lanes)}, [&](LV j, const std::vector<LV>& acc) {
                         LV value = EvaluateAt(x, place, e_.AddMul(column, j, own));
                         LV weight = e_.SplatValue(EvaluateAt(weights, single, j), place.lanes);
                         return std::vector<LV>{e_.Fma(value, weight, acc[0])};
                       })[0];
  evaluated_ = before;
  return sum;
}

LV RowEvaluator::LoadRowIndex(const ir::Value* indices, LV row, LV column) {
  return e_.b().CreateZExt(EvaluateAt(indices, Place{row, 1, 0, nullptr}, column),
                           e_.b().getInt64Ty());
}

LV RowEvaluator::EvaluateEmbedding(const ir::Node& node, const Place& place, LV column) {
  llvm::IRBuilder<>& b = e_.b();
  const ir::Value* table = node.operand(1);
  const program::KernelParam& info = e_.ParameterInfo(table);
  const formats::FormatInfo& format = formats::InfoOf(info.format);
  LV id = LoadRowIndex(node.operand(0), place.row, e_.I64(0));
  const int64_t columns = table->type().shape[1].offset;
  const int64_t size = DTypeSize(format.dtype);
  LV base = e_.ParameterAddress(table);
  if (!format.is_panel) {
    LV element = e_.AddMul(column, id, columns);
    LV address = e_.Offset(base, b.CreateMul(element, e_.I64(size)));
    return e_.LoadFloat(address, format.dtype, place.lanes);
  }
  NINFER_CHECK(place.lanes == 1);
  if (format.scheme != nullptr) {
    return LoadQuantisedElement(e_, format, columns, base, id, column);
  }
  const int64_t step = format.k_step;
  LV panel = b.CreateUDiv(id, e_.I64(formats::kPanelColumns));
  LV inside = b.CreateURem(id, e_.I64(formats::kPanelColumns));
  LV group = b.CreateUDiv(column, e_.I64(step));
  LV element = b.CreateAdd(b.CreateMul(group, e_.I64(formats::kPanelColumns)), inside);
  element = b.CreateAdd(b.CreateMul(element, e_.I64(step)), b.CreateURem(column, e_.I64(step)));
  LV bytes = b.CreateAdd(b.CreateMul(panel, e_.I64(formats::PanelBytes(info.format, columns))),
                         b.CreateMul(element, e_.I64(size)));
  return e_.LoadFloat(e_.Offset(base, bytes), format.dtype, 1);
}

}  // namespace ninfer::codegen
