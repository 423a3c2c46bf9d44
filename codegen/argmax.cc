// The argmax family, and the part of it that stands in the linear's epilogue. Vectors of columns
// are compared lane by lane, an equal one later in the row giving way; then the first of the lanes
// that have the largest is taken. Lanes begin with -inf, and a NaN is never larger.
//
// Tested by tests/codegen_argmax_test.cc.
#include "codegen/argmax.h"

#include <limits>

#include "base/status.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::codegen {
namespace {

class ArgmaxFinder {
 public:
  explicit ArgmaxFinder(Emitter& e) : e_(e) {}

  // The largest, and its column, i32; of each lane, or of all.
  struct Found {
    LV value, column;
  };

  Found None(int lanes) {
    return {e_.Splat(-std::numeric_limits<double>::infinity(), lanes),
            llvm::Constant::getNullValue(IntType(lanes))};
  }

  // Of `count` columns whose values begin at `address`, the first of them number 0.
  Found Of(LV address, LV count) {
    LV whole = e_.b().CreateSub(count, e_.b().CreateURem(count, e_.I64(e_.lanes())));
    const Found vectors = Run(address, e_.I64(0), whole, e_.lanes(), None(e_.lanes()));
    return Run(address, whole, count, 1, Merge(vectors, e_.lanes()));
  }

 private:
  Found Run(LV address, LV from, LV to, int lanes, const Found& first) {
    llvm::IRBuilder<>& b = e_.b();
    const std::vector<LV> found = e_.ForCarry(
        from, to, lanes, {first.value, first.column},
        [&](LV column, const std::vector<LV>& before) {
          LV at = e_.Offset(address, b.CreateMul(column, e_.I64(4)));
          LV value = e_.LoadFloat(at, DType::kF32, lanes);
          LV larger = b.CreateFCmpOGT(value, before[0]);
          return std::vector<LV>{b.CreateSelect(larger, value, before[0]),
                                 b.CreateSelect(larger, Columns(column, lanes), before[1])};
        });
    return {found[0], found[1]};
  }

  Found Merge(const Found& found, int lanes) {
    llvm::IRBuilder<>& b = e_.b();
    LV most = e_.ReduceMax(found.value, lanes);
    LV has = b.CreateFCmpOEQ(found.value, e_.SplatValue(most, lanes));
    LV none = llvm::ConstantInt::get(IntType(lanes), std::numeric_limits<int32_t>::max());
    LV first = b.CreateSelect(has, found.column, none);
    return {most, b.CreateIntMinReduce(first, /*IsSigned=*/true)};
  }

  llvm::Type* IntType(int lanes) const {
    llvm::Type* type = e_.b().getInt32Ty();
    return lanes == 1 ? type : llvm::FixedVectorType::get(type, lanes);
  }
  LV Columns(LV first, int lanes) {
    LV column = e_.b().CreateTrunc(first, e_.b().getInt32Ty());
    if (lanes == 1) return column;
    std::vector<uint32_t> steps(lanes);
    for (int i = 0; i < lanes; ++i) steps[i] = i;
    LV behind = llvm::ConstantDataVector::get(e_.b().getContext(), steps);
    return e_.b().CreateAdd(e_.b().CreateVectorSplat(lanes, column), behind);
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
  e.For(panel, b.CreateAdd(panel, e.I64(group)), 1, [&](LV index) {
    LV first = b.CreateMul(index, e.I64(formats::kPanelColumns));
    LV count = e.I64(formats::kPanelColumns);
    if (n % formats::kPanelColumns != 0) count = e.Smaller(b.CreateSub(e.I64(n), first), count);
    const ArgmaxFinder::Found found = finder.Of(ElementAddress(e, logits, row, ld, first), count);
    LV column = b.CreateAdd(b.CreateTrunc(first, b.getInt32Ty()), found.column);
    for (const ir::Node* node : parts) {
      const int result = ResultIndex(e.body(), node->result());
      const int64_t stride = program::LeadingDimension(program::RowColumns(node->result()->type()));
      LV address = ElementAddress(e, e.OutputAddress(result), row, stride, index);
      b.CreateAlignedStore(node == parts[0] ? found.value : column, address, llvm::Align(4));
    }
  });
}

void EmitArgmax(Emitter& e) {
  const ir::Node& node = *e.body().results()[0]->producer();
  const LineScope scope(e, node);
  const ir::Value* x = node.operand(0);
  ArgmaxFinder finder(e);
  e.For(e.begin(), e.end(), 1, [&](LV row) {
    llvm::IRBuilder<>& b = e.b();
    const ArgmaxFinder::Found found =
        finder.Of(InputRow(e, x, row), e.I64(program::RowColumns(x->type())));
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
