// See attention_softmax.h. A masked position's score is -inf and its weight an exact zero.
// Tested by tests/codegen_test.cc.
#include "codegen/attention_softmax.h"

#include <vector>

#include "codegen/math.h"

namespace ninfer::codegen {

void AttentionScratch::Begin(LV r) {
  LV lowest = llvm::ConstantFP::getInfinity(e_.b().getFloatTy(), true);
  e_.StoreFloat(lowest, Maximum(r), DType::kF32, 1);
  e_.StoreFloat(e_.Splat(0, 1), Sum(r), DType::kF32, 1);
  e_.StoreFloat(e_.Splat(1, 1), Correction(r), DType::kF32, 1);
  e_.For(e_.I64(0), e_.I64(columns_), e_.lanes(), [&](LV c) {
    LV address = e_.Offset(Values(r), e_.b().CreateMul(c, e_.I64(4)));
    e_.StoreFloat(e_.Splat(0, e_.lanes()), address, DType::kF32, e_.lanes());
  });
}

// Scaled scores of `lanes` positions from `first` on; -inf behind the row's own position.
LV AttentionScratch::MaskedScores(LV raw, LV first, LV position) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  std::vector<llvm::Constant*> steps;
  for (int i = 0; i < lanes; ++i) steps.push_back(b.getInt32(i));
  LV index = b.CreateAdd(e_.b().CreateVectorSplat(lanes, b.CreateTrunc(first, b.getInt32Ty())),
                         llvm::ConstantVector::get(steps));
  LV visible = b.CreateICmpSLE(index, b.CreateVectorSplat(lanes, position));
  LV scaled = b.CreateFMul(raw, e_.Splat(scale_, lanes));
  return b.CreateSelect(visible, scaled, llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true));
}

// Masks and scales the scores of positions [start, start + count) in place; their maximum.
LV AttentionScratch::MaskScores(LV scores, LV start, LV count, LV position) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV lowest = llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true);
  LV most = e_.ForCarry(e_.I64(0), count, lanes, {lowest}, [&](LV j, const std::vector<LV>& acc) {
    LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
    LV raw = e_.LoadFloat(address, DType::kF32, lanes);
    LV masked = MaskedScores(raw, b.CreateAdd(start, j), position);
    e_.StoreFloat(masked, address, DType::kF32, lanes);
    return std::vector<LV>{e_.Max(masked, acc[0])};
  })[0];
  return e_.ReduceMax(most, lanes);
}

// scores = exp(scores - maximum); their sum.
LV AttentionScratch::Exponentiate(LV scores, LV count, LV maximum) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV shift = e_.SplatValue(maximum, lanes);
  LV sum = e_.ForCarry(e_.I64(0), count, lanes, {e_.Splat(0, lanes)},
                       [&](LV j, const std::vector<LV>& acc) {
                         LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
                         LV score = e_.LoadFloat(address, DType::kF32, lanes);
                         LV weight = EmitExp(e_, b.CreateFSub(score, shift));
                         e_.StoreFloat(weight, address, DType::kF32, lanes);
                         return std::vector<LV>{b.CreateFAdd(acc[0], weight)};
                       })[0];
  return e_.ReduceAdd(sum, lanes);
}

void AttentionScratch::UpdateSoftmax(LV page, LV r) {
  llvm::IRBuilder<>& b = e_.b();
  LV start = b.CreateMul(page, e_.I64(kPage));
  LV most = MaskScores(Scores(r), start, e_.I64(kPage), e_.LoadI32(Position(r)));
  LV before = e_.LoadFloat(Maximum(r), DType::kF32, 1);
  LV maximum = e_.Max(most, before);
  LV correction = EmitExp(e_, b.CreateFSub(before, maximum));
  LV sum = Exponentiate(Scores(r), e_.I64(kPage), maximum);
  LV total = e_.Fma(e_.LoadFloat(Sum(r), DType::kF32, 1), correction, sum);
  e_.StoreFloat(maximum, Maximum(r), DType::kF32, 1);
  e_.StoreFloat(correction, Correction(r), DType::kF32, 1);
  e_.StoreFloat(total, Sum(r), DType::kF32, 1);
}

void AttentionScratch::WholeSoftmax(LV scores, LV r, LV pages) {
  LV end = e_.b().CreateMul(pages, e_.I64(kPage));
  LV maximum = MaskScores(scores, e_.I64(0), end, e_.LoadI32(Position(r)));
  e_.StoreFloat(Exponentiate(scores, end, maximum), Sum(r), DType::kF32, 1);
}

void AttentionScratch::Normalise(LV scores, LV r, LV pages) {
  llvm::IRBuilder<>& b = e_.b();
  LV sum = e_.SplatValue(e_.LoadFloat(Sum(r), DType::kF32, 1), e_.lanes());
  e_.For(e_.I64(0), b.CreateMul(pages, e_.I64(kPage)), e_.lanes(), [&](LV j) {
    LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
    LV weight = e_.LoadFloat(address, DType::kF32, e_.lanes());
    e_.StoreFloat(b.CreateFDiv(weight, sum), address, DType::kF32, e_.lanes());
  });
  e_.StoreFloat(e_.Splat(1, 1), Sum(r), DType::kF32, 1);
}

}  // namespace ninfer::codegen
