// See integer_rows.h.
// Tested by tests/codegen_kv_test.cc, tests/codegen_attention_test.cc.
#include "codegen/integer_rows.h"

#include "base/quantise.h"

namespace ninfer::codegen {
namespace {

class Rounder {
 public:
  // Takes in the row, multiplied by `factors` in place where there are any.
  Rounder(Emitter& e, LV source, LV factors, int64_t count, int levels)
      : e_(e), source_(source), count_(count), levels_(levels) {
    scale_ = EmitRoundingScale(e, LargestOf(factors), levels);
  }
  LV scale() const { return scale_.value; }

  // Calls store(place, integers) for each vector of i32; returns their sum.
  LV ForEach(const std::function<void(LV, LV)>& store) {
    llvm::IRBuilder<>& b = e_.b();
    llvm::Type* type = llvm::FixedVectorType::get(b.getInt32Ty(), e_.lanes());
    LV sum =
        e_.ForCarry(e_.I64(0), e_.I64(count_), e_.lanes(), {llvm::Constant::getNullValue(type)},
                    [&](LV i, const std::vector<LV>& so_far) {
                      LV integers = Rounded(i);
                      store(i, integers);
                      return std::vector<LV>{b.CreateAdd(so_far[0], integers)};
                    })[0];
    return b.CreateAddReduce(sum);
  }

 private:
  // The largest magnitude, 0 when all are NaN.
  LV LargestOf(LV factors) {
    llvm::IRBuilder<>& b = e_.b();
    const int lanes = e_.lanes();
    LV largest = e_.ForCarry(e_.I64(0), e_.I64(count_), lanes, {e_.Splat(0, lanes)},
                             [&](LV i, const std::vector<LV>& so_far) {
                               LV at = b.CreateMul(i, e_.I64(4));
                               LV x = e_.LoadFloat(e_.Offset(source_, at), DType::kF32, lanes);
                               if (factors != nullptr) {
                                 x = b.CreateFMul(
                                     x, e_.LoadFloat(e_.Offset(factors, at), DType::kF32, lanes));
                                 e_.StoreFloat(x, e_.Offset(source_, at), DType::kF32, lanes);
                               }
                               LV size = b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
                               return std::vector<LV>{e_.Max(size, so_far[0])};
                             })[0];
    return e_.ReduceMax(largest, lanes);
  }

  LV Rounded(LV i) {
    llvm::IRBuilder<>& b = e_.b();
    LV x = e_.LoadFloat(e_.Offset(source_, b.CreateMul(i, e_.I64(4))), DType::kF32, e_.lanes());
    return EmitRounded(e_, x, scale_.inverse, levels_);
  }

  Emitter& e_;
  LV source_;
  int64_t count_;
  int levels_;
  RoundingScale scale_;
};

LV Narrow(Emitter& e, LV integers, llvm::Type* element) {
  return e.b().CreateTrunc(integers, llvm::FixedVectorType::get(element, e.lanes()));
}

// Each four upper bytes, then their four lower ones: the integer is 256 * upper + lower.
LV SplitWords(Emitter& e, LV integers) {
  llvm::IRBuilder<>& b = e.b();
  const int fours = e.lanes() / 4;
  LV half = llvm::ConstantInt::get(integers->getType(), 128);
  LV upper = Narrow(e, b.CreateAShr(b.CreateAdd(integers, half), 8), b.getInt8Ty());
  LV lower = Narrow(e, integers, b.getInt8Ty());
  llvm::Type* type = llvm::FixedVectorType::get(b.getInt32Ty(), fours);
  std::vector<int> order;
  for (int i = 0; i < fours; ++i) {
    order.push_back(i);
    order.push_back(fours + i);
  }
  return b.CreateShuffleVector(b.CreateBitCast(upper, type), b.CreateBitCast(lower, type), order);
}

}  // namespace

RoundingScale EmitRoundingScale(Emitter& e, LV largest, int levels) {
  llvm::IRBuilder<>& b = e.b();
  const auto constant = [&](double v) { return llvm::ConstantFP::get(largest->getType(), v); };
  LV scale = b.CreateFDiv(largest, constant(levels));
  LV normal = b.CreateFCmpOGE(scale, constant(kSmallestQuantiseScale));
  scale = b.CreateSelect(normal, scale, constant(0));
  return {scale, b.CreateSelect(normal, b.CreateFDiv(constant(1), scale), constant(0))};
}

LV EmitRounded(Emitter& e, LV x, LV inverse, int levels) {
  llvm::IRBuilder<>& b = e.b();
  x = b.CreateFMul(x, e.SplatValue(inverse, e.lanes()));
  // Of NaN, which does not compare, the second operand is left.
  LV lowest = e.Splat(-levels, e.lanes()), highest = e.Splat(levels, e.lanes());
  x = b.CreateSelect(b.CreateFCmpOGT(x, lowest), x, lowest);
  x = b.CreateSelect(b.CreateFCmpOLT(x, highest), x, highest);
  return e.RoundToWhole(x);
}

LV EmitPairedWords(Emitter& e, LV integers) {
  std::vector<int> order;
  for (int i = 0; i < e.lanes(); i += 4) {
    for (const int k : {0, 2, 1, 3}) order.push_back(i + k);
  }
  return e.b().CreateShuffleVector(Narrow(e, integers, e.b().getInt16Ty()), order);
}

LV EmitCacheRow(Emitter& e, LV source, int64_t count, LV target) {
  llvm::IRBuilder<>& b = e.b();
  Rounder row(e, source, nullptr, count, kCacheScheme.highest());
  row.ForEach([&](LV i, LV integers) {
    integers = b.CreateAdd(integers, llvm::ConstantInt::get(integers->getType(), kCacheZero));
    b.CreateAlignedStore(Narrow(e, integers, b.getInt8Ty()), e.Offset(target, i), llvm::Align(4));
  });
  return row.scale();
}

FactorScale EmitFactorRow(Emitter& e, const FactorRow& row) {
  llvm::IRBuilder<>& b = e.b();
  Rounder rounder(e, row.source, row.factors, row.count, WordLevels(row.terms));
  LV sum = rounder.ForEach([&](LV i, LV integers) {
    const bool pairs = e.target().integer_dot == IntegerDot::kPairs;
    LV words = pairs ? EmitPairedWords(e, integers) : SplitWords(e, integers);
    b.CreateAlignedStore(words, e.Offset(row.target, b.CreateMul(i, e.I64(2))), llvm::Align(4));
  });
  const bool with_sign = e.target().integer_dot == IntegerDot::kSignedBySigned;
  return {rounder.scale(), b.CreateMul(sum, b.getInt32(with_sign ? 0 : -kCacheZero))};
}

}  // namespace ninfer::codegen
