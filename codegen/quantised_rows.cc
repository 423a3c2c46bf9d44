// How a row of the input of a quantised linear is prepared.
// Tested by tests/codegen_quantised_test.cc.
#include <functional>

#include "codegen/integer_rows.h"
#include "codegen/quantised.h"
#include "codegen/quantised_layout.h"

namespace ninfer::codegen {
namespace {

constexpr int64_t kBlock = kQuantiseBlock;
constexpr int64_t kAhead = 2048;  // bytes of the input that are asked for before they are read
constexpr int kFour = 4;
constexpr int kLevels = 127;

class RowPreparer {
 public:
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

  RoundingScale ScaleOf(LV largest) {
    return EmitRoundingScale(e_, e_.ReduceMax(largest, e_.lanes()), kLevels);
  }

  // Four blocks at once: what is done once for a block, reductions over lanes and divisions, takes
  // as long as all else together.
  void FourBlocks(const std::function<LV(int)>& source, DType dtype,
                  const std::function<LV(int)>& target) {
    llvm::IRBuilder<>& b = e_.b();
    std::vector<LV> largest, sums;
    for (int i = 0; i < kFour; ++i) largest.push_back(Largest(source(i), dtype));
    const auto larger = [this](LV x, LV y) { return e_.Max(x, y); };
    const RoundingScale scale = EmitRoundingScale(e_, ReduceFour(largest, larger), kLevels);
    for (int i = 0; i < kFour; ++i) {
      sums.push_back(
          StoreIntegers(source(i), dtype, b.CreateExtractElement(scale.inverse, i), target(i)));
    }
    LV bias = ReduceFour(sums, [&](LV x, LV y) { return b.CreateAdd(x, y); });
    bias = b.CreateMul(bias, b.CreateVectorSplat(kFour, b.getInt32(-ZeroPoint())));
    for (int i = 0; i < kFour; ++i) {
      StoreScalar(b.CreateExtractElement(scale.value, i),
                  e_.Offset(target(i), quantised::ScaleAt(e_.target())));
      StoreBias(b.CreateExtractElement(bias, i), target(i));
    }
  }

  // Stores a block; returns what its products begin with.
  LV Block(LV source, DType dtype, const RoundingScale& scale, LV target) {
    llvm::IRBuilder<>& b = e_.b();
    LV sum = StoreIntegers(source, dtype, scale.inverse, target);
    StoreScalar(scale.value, e_.Offset(target, quantised::ScaleAt(e_.target())));
    LV bias = b.CreateMul(b.CreateAddReduce(sum), b.getInt32(-ZeroPoint()));
    StoreBias(bias, target);
    return bias;
  }

  void StoreBias(LV bias, LV target) {
    StoreScalar(bias, e_.Offset(target, quantised::BiasAt(e_.target())));
  }

 private:
  int ZeroPoint() const {
    if (quantised::SignedWeights(e_.target(), weights_)) return 0;
    return weights_.grid == QuantiseGrid::kShifted ? 1 : weights_.zero_point();
  }

  // The integers of a block; their sums by lane.
  LV StoreIntegers(LV source, DType dtype, LV inverse, LV target) {
    const std::vector<LV> x = Values(source, dtype);
    LV sum = nullptr;
    for (size_t i = 0; i < x.size(); ++i) {
      LV integers = EmitRounded(e_, x[i], inverse, kLevels);
      sum = sum == nullptr ? integers : e_.b().CreateAdd(sum, integers);
      Store(integers, target, static_cast<int64_t>(i) * e_.lanes());
    }
    return sum;
  }

  // Of four vectors each one's lanes, combined, as a vector of four.
  LV ReduceFour(const std::vector<LV>& x, const std::function<LV(LV, LV)>& combine) {
    LV all = Halved(Halved(x[0], x[1], 1, combine), Halved(x[2], x[3], 1, combine), 2, combine);
    const int lanes = e_.lanes(), own = lanes / kFour;
    for (int step = own / 2; step > 0; step /= 2) {
      std::vector<int> other(lanes);
      for (int i = 0; i < lanes; ++i) other[i] = i ^ step;
      all = combine(all, e_.b().CreateShuffleVector(all, other));
    }
    std::vector<int> firsts;
    for (int i = 0; i < kFour; ++i) firsts.push_back(i * own);
    return e_.b().CreateShuffleVector(all, firsts);
  }

  // Of x, which has so many parts, each part's halves combined; then those of y.
  LV Halved(LV x, LV y, int parts, const std::function<LV(LV, LV)>& combine) {
    const int lanes = e_.lanes();
    std::vector<int> low, high;
    for (int of : {0, lanes}) {
      for (int part = 0; part < parts; ++part) {
        const int size = lanes / parts;
        for (int i = 0; i < size / 2; ++i) {
          low.push_back(of + part * size + i);
          high.push_back(of + part * size + size / 2 + i);
        }
      }
    }
    return combine(e_.b().CreateShuffleVector(x, y, low), e_.b().CreateShuffleVector(x, y, high));
  }

  std::vector<LV> Values(LV source, DType dtype) {
    std::vector<LV> x;
    for (int64_t i = 0; i < kBlock; i += e_.lanes()) {
      x.push_back(e_.LoadFloat(e_.Offset(source, i * DTypeSize(dtype)), dtype, e_.lanes()));
    }
    return x;
  }

  void Store(LV integers, LV target, int64_t at) {
    llvm::IRBuilder<>& b = e_.b();
    const int64_t size = quantised::IntegerBytes(e_.target());
    LV values =
        size == 2 ? EmitPairedWords(e_, integers)
                  : b.CreateTrunc(integers, llvm::FixedVectorType::get(b.getInt8Ty(), e_.lanes()));
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
  const auto ask = [&](LV g) {
    for (int64_t at = 0; at < kBlock * size; at += 64) e.Prefetch(e.Offset(from(g), kAhead + at));
  };
  const auto to = [&](LV g) { return e.Offset(target, b.CreateMul(g, e.I64(block_bytes))); };
  if (left > 0) CopyPadded(e, e.Offset(source, whole * kBlock * size), dtype, left, padded);
  if (product.rows == QuantisedRows::kByBlock) {
    const int64_t fours = e.lanes() == 16 ? whole / kFour * kFour : 0;  // registers for four
    e.For(e.I64(0), e.I64(fours), kFour, [&](LV g) {
      const auto next = [&](int i) { return b.CreateAdd(g, e.I64(i)); };
      for (int i = 0; i < kFour; ++i) ask(next(i));
      preparer.FourBlocks([&](int i) { return from(next(i)); }, dtype,
                          [&](int i) { return to(next(i)); });
    });
    e.For(e.I64(fours), e.I64(whole), 1, [&](LV g) {
      ask(g);
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
        ask(g);
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
