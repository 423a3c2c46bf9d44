// See attention_softmax.h. A masked position's score is -inf and its weight an exact zero.
// Tested by tests/codegen_test.cc.
#include "codegen/attention_softmax.h"

#include <vector>

#include "codegen/math.h"

namespace ninfer::codegen {

ScoreRule RuleOf(const ir::Node& node) {
  ScoreRule rule;
  rule.scale = node.attr_float("scale");
  rule.window = node.attr_int_or("window", 0);
  // No position is that far behind another.
  if (rule.window > INT32_MAX / 2) rule.window = 0;
  rule.softcap = node.attr_float_or("softcap", 0);
  rule.alibi = node.find_attr("alibi_scale") != nullptr;
  rule.alibi_scale = node.attr_float_or("alibi_scale", 1);
  rule.round_alibi = node.find_attr("alibi_rounding") != nullptr;
  return rule;
}

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

// Adds scale * slope * position, the slope and the product rounded as the op says.
LV AttentionScratch::Biased(LV scores, LV index, LV r) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV slope = e_.SplatValue(e_.LoadFloat(Slope(r), DType::kF32, 1), lanes);
  LV position = b.CreateSIToFP(index, e_.FloatType(lanes));
  if (rule_.round_alibi) position = e_.RoundTo(position, DType::kBF16, lanes);
  LV bias = b.CreateFMul(slope, position);
  if (rule_.round_alibi) bias = e_.RoundTo(bias, DType::kBF16, lanes);
  return e_.Fma(bias, e_.Splat(rule_.alibi_scale, lanes), scores);
}

// Scores of `lanes` positions from `first` on, as softmax takes them; -inf behind the row's own
// position and before its window.
LV AttentionScratch::MaskedScores(LV raw, LV first, LV r) {
  llvm::IRBuilder<>& b = e_.b();
  LV position = e_.LoadI32(Position(r));
  const int lanes = e_.lanes();
  std::vector<llvm::Constant*> steps;
  for (int i = 0; i < lanes; ++i) steps.push_back(b.getInt32(i));
  LV index = b.CreateAdd(e_.b().CreateVectorSplat(lanes, b.CreateTrunc(first, b.getInt32Ty())),
                         llvm::ConstantVector::get(steps));
  LV visible = b.CreateICmpSLE(index, b.CreateVectorSplat(lanes, position));
  if (rule_.window > 0) {
    LV begin = b.CreateSub(position, b.getInt32(static_cast<int32_t>(rule_.window)));
    visible = b.CreateAnd(visible, b.CreateICmpSGT(index, b.CreateVectorSplat(lanes, begin)));
  }
  LV scaled = b.CreateFMul(raw, e_.Splat(rule_.scale, lanes));
  if (rule_.softcap > 0) {
    LV capped = b.CreateFDiv(scaled, e_.Splat(rule_.softcap, lanes));
    scaled = b.CreateFMul(EmitUnary(e_, ir::Op::kTanh, capped), e_.Splat(rule_.softcap, lanes));
  }
  if (rule_.alibi) scaled = Biased(scaled, index, r);
  return b.CreateSelect(visible, scaled, llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true));
}

// Masks and scales the scores of positions [start, start + count) in place; their maximum.
LV AttentionScratch::MaskScores(LV scores, LV start, LV count, LV r) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV lowest = llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true);
  LV most = e_.ForCarry(e_.I64(0), count, lanes, {lowest}, [&](LV j, const std::vector<LV>& acc) {
    LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
    LV raw = e_.LoadFloat(address, DType::kF32, lanes);
    LV masked = MaskedScores(raw, b.CreateAdd(start, j), r);
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
  LV most = MaskScores(Scores(r), start, e_.I64(kPage), r);
  LV before = e_.LoadFloat(Maximum(r), DType::kF32, 1);
  LV maximum = e_.Max(most, before);
  LV correction = EmitExp(e_, b.CreateFSub(before, Shift(maximum)));
  LV sum = Exponentiate(Scores(r), e_.I64(kPage), Shift(maximum));
  LV total = e_.Fma(e_.LoadFloat(Sum(r), DType::kF32, 1), correction, sum);
  e_.StoreFloat(maximum, Maximum(r), DType::kF32, 1);
  e_.StoreFloat(correction, Correction(r), DType::kF32, 1);
  e_.StoreFloat(total, Sum(r), DType::kF32, 1);
}

// The page at hand may lie before a row's window, all of it masked: -inf less -inf is no number.
LV AttentionScratch::Shift(LV maximum) {
  if (rule_.window == 0) return maximum;
  llvm::IRBuilder<>& b = e_.b();
  LV lowest = llvm::ConstantFP::getInfinity(b.getFloatTy(), true);
  return b.CreateSelect(b.CreateFCmpOEQ(maximum, lowest), e_.Splat(0, 1), maximum);
}

void AttentionScratch::WholeSoftmax(LV scores, LV r, LV first, LV pages) {
  llvm::IRBuilder<>& b = e_.b();
  LV start = b.CreateMul(first, e_.I64(kPage));
  LV count = b.CreateSub(b.CreateMul(pages, e_.I64(kPage)), start);
  LV seen = e_.Offset(scores, b.CreateMul(start, e_.I64(4)));
  LV maximum = MaskScores(seen, start, count, r);
  e_.StoreFloat(Exponentiate(seen, count, maximum), Sum(r), DType::kF32, 1);
}

void AttentionScratch::Normalise(LV scores, LV r, LV first, LV pages) {
  llvm::IRBuilder<>& b = e_.b();
  LV sum = e_.SplatValue(e_.LoadFloat(Sum(r), DType::kF32, 1), e_.lanes());
  LV begin = b.CreateMul(first, e_.I64(kPage));
  if (rule_.window > 0) {
    e_.For(e_.I64(0), begin, e_.lanes(), [&](LV j) {
      LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
      e_.StoreFloat(e_.Splat(0, e_.lanes()), address, DType::kF32, e_.lanes());
    });
  }
  e_.For(begin, b.CreateMul(pages, e_.I64(kPage)), e_.lanes(), [&](LV j) {
    LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
    LV weight = e_.LoadFloat(address, DType::kF32, e_.lanes());
    e_.StoreFloat(b.CreateFDiv(weight, sum), address, DType::kF32, e_.lanes());
  });
  e_.StoreFloat(e_.Splat(1, 1), Sum(r), DType::kF32, 1);
}

}  // namespace ninfer::codegen
