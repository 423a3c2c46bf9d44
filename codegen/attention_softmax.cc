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

// `lanes` positions from `first` on.
LV AttentionScratch::Positions(LV first) {
  llvm::IRBuilder<>& b = e_.b();
  std::vector<llvm::Constant*> steps;
  for (int i = 0; i < e_.lanes(); ++i) steps.push_back(b.getInt32(i));
  return b.CreateAdd(b.CreateVectorSplat(e_.lanes(), b.CreateTrunc(first, b.getInt32Ty())),
                     llvm::ConstantVector::get(steps));
}

LV AttentionScratch::Scored(LV raw, LV first, LV r) {
  if (ScalesLate()) return raw;
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV scaled = b.CreateFMul(raw, e_.Splat(rule_.scale, lanes));
  if (rule_.softcap > 0) {
    LV capped = b.CreateFDiv(scaled, e_.Splat(rule_.softcap, lanes));
    scaled = b.CreateFMul(EmitUnary(e_, ir::Op::kTanh, capped), e_.Splat(rule_.softcap, lanes));
  }
  return rule_.alibi ? Biased(scaled, Positions(first), r) : scaled;
}

// -inf behind the row's own position and before its window.
LV AttentionScratch::Masked(LV scores, LV first, LV r) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV position = e_.LoadI32(Position(r));
  LV index = Positions(first);
  LV visible = b.CreateICmpSLE(index, b.CreateVectorSplat(lanes, position));
  if (rule_.window > 0) {
    LV begin = b.CreateSub(position, b.getInt32(static_cast<int32_t>(rule_.window)));
    visible = b.CreateAnd(visible, b.CreateICmpSGT(index, b.CreateVectorSplat(lanes, begin)));
  }
  return b.CreateSelect(visible, scores, llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true));
}

// Masks the scores of positions [start, start + count) in place; their maximum. Whole vectors that
// the row sees need no mask.
LV AttentionScratch::MaskScores(LV scores, LV start, LV count, LV r) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV zero = e_.I64(0);
  const auto within = [&](LV at) {  // places of the row's range in that of the scores
    at = b.CreateSelect(b.CreateICmpSLT(at, zero), zero, at);
    return b.CreateSelect(b.CreateICmpSGT(at, count), count, at);
  };
  const auto whole = [&](LV at) { return b.CreateAnd(at, e_.I64(-lanes)); };
  LV behind = b.CreateAdd(b.CreateSExt(e_.LoadI32(Position(r)), b.getInt64Ty()), e_.I64(1));
  LV last = whole(within(b.CreateSub(behind, start)));
  LV first = zero;
  if (rule_.window > 0) {
    LV seen = within(b.CreateSub(b.CreateSub(behind, e_.I64(rule_.window)), start));
    first = whole(b.CreateAdd(seen, e_.I64(lanes - 1)));
    last = b.CreateSelect(b.CreateICmpSLT(last, first), first, last);
  }
  LV most = llvm::ConstantFP::getInfinity(e_.FloatType(lanes), true);
  const auto visit = [&](LV from, LV to, bool masked) {
    most = e_.ForCarry(from, to, lanes, {most}, [&](LV j, const std::vector<LV>& acc) {
      LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
      LV score = Scored(e_.LoadFloat(address, DType::kF32, lanes), b.CreateAdd(start, j), r);
      if (masked) score = Masked(score, b.CreateAdd(start, j), r);
      if (masked || !ScalesLate()) e_.StoreFloat(score, address, DType::kF32, lanes);
      return std::vector<LV>{e_.Max(score, acc[0])};
    })[0];
  };
  if (rule_.window > 0) visit(zero, first, true);
  visit(first, last, false);
  visit(last, count, true);
  LV maximum = e_.ReduceMax(most, lanes);
  return ScalesLate() ? b.CreateFMul(maximum, e_.Splat(rule_.scale, 1)) : maximum;
}

// scores = exp(scores - maximum); their sum.
LV AttentionScratch::Exponentiate(LV scores, LV count, LV maximum) {
  llvm::IRBuilder<>& b = e_.b();
  const int lanes = e_.lanes();
  LV shift = e_.SplatValue(maximum, lanes);
  LV minus = b.CreateFNeg(shift);
  LV sum = e_.ForCarry(e_.I64(0), count, lanes, {e_.Splat(0, lanes)},
                       [&](LV j, const std::vector<LV>& acc) {
                         LV address = e_.Offset(scores, b.CreateMul(j, e_.I64(4)));
                         LV score = e_.LoadFloat(address, DType::kF32, lanes);
                         score = ScalesLate() ? e_.Fma(score, e_.Splat(rule_.scale, lanes), minus)
                                              : b.CreateFSub(score, shift);
                         LV weight = EmitExp(e_, score);
                         e_.StoreFloat(weight, address, DType::kF32, lanes);
                         return std::vector<LV>{b.CreateFAdd(acc[0], weight)};
                       })[0];
  return e_.ReduceAdd(sum, lanes);
}

void AttentionScratch::UpdateSoftmax(LV start, LV count, LV r) {
  llvm::IRBuilder<>& b = e_.b();
  LV most = MaskScores(Scores(r), start, count, r);
  LV before = e_.LoadFloat(Maximum(r), DType::kF32, 1);
  LV maximum = e_.Max(most, before);
  LV correction = EmitExp(e_, b.CreateFSub(before, Shift(maximum)));
  LV sum = Exponentiate(Scores(r), count, Shift(maximum));
  LV total = e_.Fma(e_.LoadFloat(Sum(r), DType::kF32, 1), correction, sum);
  e_.StoreFloat(maximum, Maximum(r), DType::kF32, 1);
  e_.StoreFloat(total, Sum(r), DType::kF32, 1);
  LV shrink = e_.SplatValue(correction, e_.lanes());
  e_.For(e_.I64(0), e_.I64(columns_), e_.lanes(), [&](LV c) {
    LV address = e_.Offset(Values(r), b.CreateMul(c, e_.I64(4)));
    LV value = b.CreateFMul(e_.LoadFloat(address, DType::kF32, e_.lanes()), shrink);
    e_.StoreFloat(value, address, DType::kF32, e_.lanes());
  });
}

// The span at hand may lie before a row's window, all of it masked: -inf less -inf is no number.
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
