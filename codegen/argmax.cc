// The argmax family, and the part of it that stands in the linear's epilogue. Vectors of columns
// are compared lane by lane, an equal one later in the row giving way; then the first of the lanes
// that have the largest is taken. Nothing is larger than a NaN, or than -inf to begin with.
//
// Tested by tests/codegen_argmax_test.cc.
#include "codegen/argmax.h"

#include <algorithm>
#include <limits>

#include "base/status.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::codegen {
namespace {

class ArgmaxFinder {
 public:
  explicit ArgmaxFinder(Emitter& e) : e_(e) {}

  // The largest so far of each lane, and its column, i32.
  struct Found {
    LV value, column;
  };

  Found None(int lanes) {
    return {e_.Splat(-std::numeric_limits<double>::infinity(), lanes),
            llvm::Constant::getNullValue(IntType(lanes))};
  }

  // Of the columns from `column` on, whose values lie at `address`; null: all of them count, else
  // those below `end`.
  Found Step(const Found& found, LV address, LV column, LV end, int lanes) {
    llvm::IRBuilder<>& b = e_.b();
    LV value = e_.LoadFloat(address, DType::kF32, lanes);
    LV columns = Columns(column, lanes);
    LV larger = b.CreateFCmpOGT(value, found.value);
    if (end != nullptr) {
      LV last = b.CreateTrunc(end, b.getInt32Ty());
      larger = b.CreateAnd(larger, b.CreateICmpSLT(columns, Splat(last, lanes)));
    }
    return {b.CreateSelect(larger, value, found.value),
            b.CreateSelect(larger, columns, found.column)};
  }

  // Of one number.
  Found Merge(const Found& found, int lanes) {
    if (lanes == 1) return found;
    llvm::IRBuilder<>& b = e_.b();
    LV most = e_.ReduceMax(found.value, lanes);
    LV has = b.CreateFCmpOEQ(found.value, e_.SplatValue(most, lanes));
    LV none = llvm::ConstantInt::get(IntType(lanes), std::numeric_limits<int32_t>::max());
    LV first = b.CreateSelect(has, found.column, none);
    return {most, b.CreateIntMinReduce(first, /*IsSigned=*/true)};
  }

  // Of `columns` columns of a row that begins at `address`.
  Found Row(LV address, int64_t columns) {
    llvm::IRBuilder<>& b = e_.b();
    const int64_t whole = columns / e_.lanes() * e_.lanes();
    const auto run = [&](int64_t from, int64_t to, int lanes, const Found& first) {
      const std::vector<LV> found =
          e_.ForCarry(e_.I64(from), e_.I64(to), lanes, {first.value, first.column},
                      [&](LV column, const std::vector<LV>& before) {
                        LV at = e_.Offset(address, b.CreateMul(column, e_.I64(4)));
                        const Found now = Step({before[0], before[1]}, at, column, nullptr, lanes);
                        return std::vector<LV>{now.value, now.column};
                      });
      return Found{found[0], found[1]};
    };
    const Found vectors = Merge(run(0, whole, e_.lanes(), None(e_.lanes())), e_.lanes());
    return whole < columns ? run(whole, columns, 1, vectors) : vectors;
  }

 private:
  llvm::Type* IntType(int lanes) const {
    llvm::Type* type = e_.b().getInt32Ty();
    return lanes == 1 ? type : llvm::FixedVectorType::get(type, lanes);
  }
  LV Splat(LV value, int lanes) {
    return lanes == 1 ? value : e_.b().CreateVectorSplat(lanes, value);
  }
  LV Columns(LV first, int lanes) {
    LV column = e_.b().CreateTrunc(first, e_.b().getInt32Ty());
    if (lanes == 1) return column;
    std::vector<uint32_t> steps(lanes);
    for (int i = 0; i < lanes; ++i) steps[i] = i;
    LV behind = llvm::ConstantDataVector::get(e_.b().getContext(), steps);
    return e_.b().CreateAdd(Splat(column, lanes), behind);
  }

  Emitter& e_;
};

int ResultIndex(const ir::Function& body, const ir::Value* value) {
  for (size_t i = 0; i < body.results().size(); ++i) {
    if (body.results()[i] == value) return static_cast<int>(i);
  }
  return -1;
}

LV ElementAddress(Emitter& e, LV base, LV row, int64_t ld, LV column) {
  return e.Offset(base, e.b().CreateMul(e.AddMul(column, row, ld), e.I64(4)));
}

// Where the row of a stretch of an input's columns begins.
LV InputRow(Emitter& e, const ir::Value* x, LV row) {
  const absl::optional<program::ColumnRange> range = program::ResolveColumns(x);
  NINFER_CHECK(range.has_value()) << e.kernel().name;
  const int64_t ld = program::LeadingDimension(program::RowColumns(range->root->type()));
  return ElementAddress(e, e.ParameterAddress(range->root), row, ld, e.I64(range->offset));
}

}  // namespace

void EmitPanelParts(Emitter& e, LV row, LV panel, int group, int64_t n) {
  const ir::Node* const parts[] = {program::FindNode(e.body(), ir::Op::kMaxParts),
                                   program::FindNode(e.body(), ir::Op::kArgmaxParts)};
  if (parts[0] == nullptr) return;
  const LineScope scope(e, *parts[0]);
  llvm::IRBuilder<>& b = e.b();
  ArgmaxFinder finder(e);
  LV logits = e.OutputAddress(ResultIndex(e.body(), parts[0]->operand(0)));
  const int64_t ld = program::LeadingDimension(n);
  // Rows are as long as whole panels, but for those of one column.
  const int64_t columns = n == 1 ? 1 : formats::kPanelColumns;
  const int lanes = n == 1 ? 1 : e.lanes();
  const bool partly = n % columns != 0;
  for (int p = 0; p < group; ++p) {
    LV index = b.CreateAdd(panel, e.I64(p));
    LV first = b.CreateMul(index, e.I64(formats::kPanelColumns));
    ArgmaxFinder::Found found = finder.None(lanes);
    for (int64_t c = 0; c < columns; c += lanes) {
      LV column = b.CreateAdd(first, e.I64(c));
      found = finder.Step(found, ElementAddress(e, logits, row, ld, column), column,
                          partly ? e.I64(n) : nullptr, lanes);
    }
    found = finder.Merge(found, lanes);
    LV none = b.CreateFCmpOEQ(found.value, finder.None(1).value);
    found.column = b.CreateSelect(none, b.CreateTrunc(first, b.getInt32Ty()), found.column);
    for (const ir::Node* node : parts) {
      const int result = ResultIndex(e.body(), node->result());
      const int64_t stride = program::LeadingDimension(program::RowColumns(node->result()->type()));
      LV address = ElementAddress(e, e.OutputAddress(result), row, stride, index);
      b.CreateAlignedStore(node == parts[0] ? found.value : found.column, address, llvm::Align(4));
    }
  }
}

void EmitArgmax(Emitter& e) {
  const ir::Node& node = *e.body().nodes().back();
  const LineScope scope(e, node);
  const ir::Value* x = node.operand(0);
  ArgmaxFinder finder(e);
  e.For(e.begin(), e.end(), 1, [&](LV row) {
    llvm::IRBuilder<>& b = e.b();
    const ArgmaxFinder::Found found =
        finder.Row(InputRow(e, x, row), program::RowColumns(x->type()));
    LV id = found.column;
    if (node.op() == ir::Op::kArgmaxOf) {
      LV place = b.CreateZExt(found.column, b.getInt64Ty());
      id = e.LoadI32(e.Offset(InputRow(e, node.operand(1), row), b.CreateMul(place, e.I64(4))));
    }
    LV none = b.CreateFCmpOEQ(found.value, finder.None(1).value);
    id = b.CreateSelect(none, b.getInt32(-1), id);
    b.CreateAlignedStore(id, e.Offset(e.OutputAddress(0), b.CreateMul(row, e.I64(4))),
                         llvm::Align(4));
  });
  e.Finish();
}

}  // namespace ninfer::codegen
