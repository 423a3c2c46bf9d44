// The routing family: the numbers of the largest columns of a row. Each column counts how many come
// before it, and where fewer than k do, that is its place.
// Tested by tests/codegen_experts_test.cc.
#include "base/status.h"
#include "codegen/emitter.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::codegen {
namespace {

class RoutingEmitter {
 public:
  explicit RoutingEmitter(Emitter& e)
      : e_(e), top_(*program::FindNode(e.body(), ir::Op::kTopK)), lanes_(e.lanes()) {}

  void Row(LV row) {
    const int64_t chosen = top_.attr_int("k");
    const int64_t ld = program::LeadingDimension(chosen);
    LV y = e_.Offset(e_.OutputAddress(0), e_.b().CreateMul(row, e_.I64(ld * 4)));
    FindInput(row);
    // Of NaN nothing is larger: the places that are left empty then hold columns that exist.
    for (int64_t j = 0; j < chosen; ++j) Store(e_.b().getInt32(j), e_.Offset(y, j * 4));
    e_.For(e_.I64(0), e_.I64(columns_), 1, [&](LV i) {
      LV rank = Rank(i);
      e_.If(e_.b().CreateICmpSLT(rank, e_.b().getInt32(chosen)), [&] {
        LV place = e_.b().CreateZExt(rank, e_.b().getInt64Ty());
        Store(e_.b().CreateTrunc(i, e_.b().getInt32Ty()),
              e_.Offset(y, e_.b().CreateMul(place, e_.I64(4))));
      });
    });
  }

 private:
  void FindInput(LV row) {
    const ir::Value* x = top_.operand(0);
    const absl::optional<program::ColumnRange> range = program::ResolveColumns(x);
    NINFER_CHECK(range.has_value()) << e_.kernel().name;
    dtype_ = x->type().dtype;
    columns_ = program::RowColumns(x->type());
    const int64_t ld = program::LeadingDimension(program::RowColumns(range->root->type()));
    LV element = e_.AddMul(e_.I64(range->offset), row, ld);
    x_ = e_.Offset(e_.ParameterAddress(range->root),
                   e_.b().CreateMul(element, e_.I64(DTypeSize(dtype_))));
  }

  void Store(LV value, LV address) { e_.b().CreateAlignedStore(value, address, llvm::Align(4)); }

  LV Load(LV column, int lanes) {
    LV address = e_.Offset(x_, e_.b().CreateMul(column, e_.I64(DTypeSize(dtype_))));
    return e_.LoadFloat(address, dtype_, lanes);
  }

  // How many columns are larger than column i, or equal and before it.
  LV Rank(LV i) {
    LV own = Load(i, 1);
    LV before = Count(e_.I64(0), i, own, /*equal_too=*/true);
    LV behind = Count(e_.b().CreateAdd(i, e_.I64(1)), e_.I64(columns_), own, /*equal_too=*/false);
    return e_.b().CreateAdd(before, behind);
  }

  LV Count(LV from, LV to, LV own, bool equal_too) {
    llvm::IRBuilder<>& b = e_.b();
    LV size = b.CreateSub(to, from);
    LV whole = b.CreateAdd(from, b.CreateSub(size, b.CreateURem(size, e_.I64(lanes_))));
    const auto run = [&](LV first, LV last, int lanes) {
      llvm::Type* type = lanes == 1 ? static_cast<llvm::Type*>(b.getInt32Ty())
                                    : llvm::FixedVectorType::get(b.getInt32Ty(), lanes);
      LV splat = e_.SplatValue(own, lanes);
      return e_.ForCarry(first, last, lanes, {llvm::Constant::getNullValue(type)},
                         [&](LV column, const std::vector<LV>& acc) {
                           LV x = Load(column, lanes);
                           LV larger =
                               equal_too ? b.CreateFCmpOGE(x, splat) : b.CreateFCmpOGT(x, splat);
                           return std::vector<LV>{b.CreateAdd(acc[0], b.CreateZExt(larger, type))};
                         })[0];
    };
    LV vectors = run(from, whole, lanes_);
    return b.CreateAdd(b.CreateAddReduce(vectors), run(whole, to, 1));
  }

  Emitter& e_;
  const ir::Node& top_;
  const int lanes_;
  LV x_ = nullptr;
  DType dtype_ = DType::kF32;
  int64_t columns_ = 0;
};

}  // namespace

void EmitRouting(Emitter& e) {
  RoutingEmitter routing(e);
  e.For(e.begin(), e.end(), 1, [&](LV row) { routing.Row(row); });
  e.Finish();
}

}  // namespace ninfer::codegen
