// How a row of the input of a quantised linear is prepared.
// Tested by tests/codegen_quantised_test.cc.
#include "codegen/quantised.h"
#include "codegen/quantised_layout.h"

namespace ninfer::codegen {
namespace {

constexpr int64_t kBlock = kQuantiseBlock;

class RowPreparer {
 public:
  struct Scale {
    LV value, inverse;
  };

  RowPreparer(Emitter& e, const QuantiseScheme& weights) : e_(e), weights_(weights) {}

  // The largest magnitudes in a block, by lane; 0 for NaN.
  LV Largest(LV source, DType dtype) {
    LV largest = nullptr;
    for (LV x : Values(source, dtype)) {
      LV size = e_.b().CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
      largest = largest == nullptr ? e_.Max(size, e_.Splat(0, e_.lanes())) : e_.Max(size, largest);
    }
    return largest;
  }

  Scale ScaleOf(LV largest) {
    llvm::IRBuilder<>& b = e_.b();
    LV scale = b.CreateFDiv(e_.ReduceMax(largest, e_.lanes()), e_.Splat(127.0, 1));
    LV zero = e_.Splat(0, 1);
    LV normal = b.CreateFCmpOGE(scale, e_.Splat(kSmallestQuantiseScale, 1));
    scale = b.CreateSelect(normal, scale, zero);
    return {scale, b.CreateSelect(normal, b.CreateFDiv(e_.Splat(1, 1), scale), zero)};
  }

  // Stores a block; returns what its products begin with.
  LV Block(LV source, DType dtype, const Scale& scale, LV target) {
    llvm::IRBuilder<>& b = e_.b();
    const std::vector<LV> x = Values(source, dtype);
    LV sum = nullptr;
    for (size_t i = 0; i < x.size(); ++i) {
      LV integers = Round(x[i], scale.inverse, e_.lanes());
      sum = sum == nullptr ? integers : b.CreateAdd(sum, integers);
      Store(integers, target, static_cast<int64_t>(i) * e_.lanes(), e_.lanes());
    }
    StoreScalar(scale.value, e_.Offset(target, quantised::ScaleAt(e_.target())));
    const int point = weights_.grid == QuantiseGrid::kShifted ? 1 : weights_.zero_point();
    LV bias = b.CreateMul(b.CreateAddReduce(sum), b.getInt32(-point));
    StoreBias(bias, target);
    return bias;
  }

  void StoreBias(LV bias, LV target) {
    StoreScalar(bias, e_.Offset(target, quantised::BiasAt(e_.target())));
  }

 private:
  std::vector<LV> Values(LV source, DType dtype) {
    std::vector<LV> x;
    for (int64_t i = 0; i < kBlock; i += e_.lanes()) {
      x.push_back(e_.LoadFloat(e_.Offset(source, i * DTypeSize(dtype)), dtype, e_.lanes()));
    }
    return x;
  }

  LV Round(LV x, LV inverse, int lanes) {
    llvm::IRBuilder<>& b = e_.b();
    LV scaled = b.CreateFMul(x, e_.SplatValue(inverse, lanes));
    // Of NaN, which does not compare, the second operand is left.
    LV lowest = e_.Splat(-127, lanes), highest = e_.Splat(127, lanes);
    scaled = b.CreateSelect(b.CreateFCmpOGT(scaled, lowest), scaled, lowest);
    scaled = b.CreateSelect(b.CreateFCmpOLT(scaled, highest), scaled, highest);
    return b.CreateFPToSI(e_.RoundEven(scaled), llvm::FixedVectorType::get(b.getInt32Ty(), lanes));
  }

  void Store(LV integers, LV target, int64_t at, int lanes) {
    llvm::IRBuilder<>& b = e_.b();
    const int64_t size = quantised::IntegerBytes(e_.target());
    llvm::Type* narrow = size == 1 ? b.getInt8Ty() : b.getInt16Ty();
    LV values = b.CreateTrunc(integers, llvm::FixedVectorType::get(narrow, lanes));
    if (size == 2) {
      std::vector<int> order;
      for (int i = 0; i < lanes; i += quantised::kNeighbours) {
        for (int k : {0, 2, 1, 3}) order.push_back(i + k);
      }
      values = b.CreateShuffleVector(values, order);
    }
    b.CreateAlignedStore(values, e_.Offset(target, at * size), llvm::Align(4));
  }

  void StoreScalar(LV value, LV address) {
    e_.b().CreateAlignedStore(value, address, llvm::Align(4));
  }

  Emitter& e_;
  const QuantiseScheme& weights_;
};

// `count` values in f32, and zeros behind them up to a block.
void CopyPadded(Emitter& e, LV source, DType dtype, int64_t count, LV padded) {
  for (int64_t i = 0; i < kBlock; i += e.lanes()) {
    e.StoreFloat(e.Splat(0, e.lanes()), e.Offset(padded, i * 4), DType::kF32, e.lanes());
  }
  e.For(e.I64(0), e.I64(count), 1, [&](LV i) {
    LV from = e.Offset(source, e.b().CreateMul(i, e.I64(DTypeSize(dtype))));
    e.StoreFloat(e.LoadFloat(from, dtype, 1), e.Offset(padded, e.b().CreateMul(i, e.I64(4))),
                 DType::kF32, 1);
  });
}

}  // namespace

int64_t PreparedBlockBytes(const Target& target) { return quantised::BiasAt(target) + 4; }

int64_t PreparedRowBytes(const Target& target, int64_t columns) {
  return (columns + kBlock - 1) / kBlock * PreparedBlockBytes(target);
}

int64_t WidenedRowBytes(int64_t columns) { return (columns + kBlock - 1) / kBlock * kBlock * 4; }

void EmitWidenRow(Emitter& e, LV source, DType dtype, int64_t columns, LV target) {
  e.ForColumns(columns, e.lanes(), [&](LV c, int lanes) {
    LV from = e.Offset(source, e.b().CreateMul(c, e.I64(DTypeSize(dtype))));
    LV to = e.Offset(target, e.b().CreateMul(c, e.I64(4)));
    e.StoreFloat(e.LoadFloat(from, dtype, lanes), to, DType::kF32, lanes);
  });
  const int64_t padded = WidenedRowBytes(columns) / 4;
  if (padded == columns) return;
  e.For(e.I64(columns), e.I64(padded), 1, [&](LV c) {
    e.StoreFloat(e.Splat(0, 1), e.Offset(target, e.b().CreateMul(c, e.I64(4))), DType::kF32, 1);
  });
}

void EmitPrepareRow(Emitter& e, const QuantisedProduct& product, LV source, DType dtype,
                    int64_t columns, LV target, LV padded) {
  llvm::IRBuilder<>& b = e.b();
  RowPreparer preparer(e, *product.weights);
  const int64_t whole = columns / kBlock, left = columns % kBlock;
  const int64_t size = DTypeSize(dtype), block_bytes = PreparedBlockBytes(e.target());
  const auto from = [&](LV g) { return e.Offset(source, b.CreateMul(g, e.I64(kBlock * size))); };
  const auto to = [&](LV g) { return e.Offset(target, b.CreateMul(g, e.I64(block_bytes))); };
  if (left > 0) CopyPadded(e, e.Offset(source, whole * kBlock * size), dtype, left, padded);
  if (product.rows == QuantisedRows::kByBlock) {
    e.For(e.I64(0), e.I64(whole), 1, [&](LV g) {
      preparer.Block(from(g), dtype, preparer.ScaleOf(preparer.Largest(from(g), dtype)), to(g));
    });
    if (left == 0) return;
    const auto scale = preparer.ScaleOf(preparer.Largest(padded, DType::kF32));
    preparer.Block(padded, DType::kF32, scale, to(e.I64(whole)));
    return;
  }
  LV none = e.Splat(0, e.lanes());
  LV largest =
      e.ForCarry(e.I64(0), e.I64(whole), 1, {none}, [&](LV g, const std::vector<LV>& so_far) {
        return std::vector<LV>{e.Max(preparer.Largest(from(g), dtype), so_far[0])};
      })[0];
  if (left > 0) largest = e.Max(preparer.Largest(padded, DType::kF32), largest);
  const auto scale = preparer.ScaleOf(largest);
  LV bias = e.ForCarry(e.I64(0), e.I64(whole), 1, {b.getInt32(0)},
                       [&](LV g, const std::vector<LV>& so_far) {
                         LV own = preparer.Block(from(g), dtype, scale, to(g));
                         return std::vector<LV>{b.CreateAdd(so_far[0], own)};
                       })[0];
  if (left > 0) {
    bias = b.CreateAdd(bias, preparer.Block(padded, DType::kF32, scale, to(e.I64(whole))));
  }
  if (product.one_sum()) preparer.StoreBias(bias, target);
}

}  // namespace ninfer::codegen
