// Conversions that not every target has an instruction for, as arithmetic on vectors where it has
// none: LLVM would call its library's functions. Tested by tests/codegen_test.cc.
#include <cmath>

#include "codegen/emitter.h"
#include "llvm/IR/Intrinsics.h"

namespace ninfer::codegen {
namespace {

// 1.5 * 2^23: of what is added to it the whole part is left, in the low bits.
constexpr double kRoundsToWhole = 12582912.0;

llvm::Type* Vector(llvm::Type* scalar, int lanes) {
  return lanes == 1 ? scalar : llvm::FixedVectorType::get(scalar, lanes);
}

// As `x`, of whole numbers of 32 bits.
llvm::Type* WholeLike(llvm::IRBuilder<>& b, LV x) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  return Vector(b.getInt32Ty(), vector == nullptr ? 1 : static_cast<int>(vector->getNumElements()));
}

constexpr uint32_t kInfinity = 0x7f800000;  // of f32
constexpr int kMantissaGap = 23 - 10;       // bits of mantissa that f16 lacks
constexpr int kExponentGap = 127 - 15;      // by how much the exponents' biases differ

}  // namespace

LV Emitter::FromF16(LV bits, int lanes) {
  llvm::IRBuilder<>& b = builder_;
  if (target_.f16) {
    return b.CreateFPExt(b.CreateBitCast(bits, Vector(b.getHalfTy(), lanes)), FloatType(lanes));
  }
  llvm::Type* whole = Vector(b.getInt32Ty(), lanes);
  const auto constant = [&](uint32_t value) { return llvm::ConstantInt::get(whole, value); };
  // Exponent and mantissa in their places give the value less the gap of the biases, of subnormal
  // numbers too; infinities and NaN then lack the exponent's upper bits.
  LV wide = b.CreateZExt(bits, whole);
  LV magnitude = b.CreateShl(b.CreateAnd(wide, constant(0x7fff)), kMantissaGap);
  LV scaled = b.CreateFMul(b.CreateBitCast(magnitude, FloatType(lanes)),
                           Splat(std::ldexp(1.0, kExponentGap), lanes));
  LV special = b.CreateICmpSGE(magnitude, constant(0x7c00u << kMantissaGap));
  LV value = b.CreateBitCast(scaled, whole);
  value = b.CreateOr(value, b.CreateSelect(special, constant(kInfinity), constant(0)));
  value = b.CreateOr(value, b.CreateShl(b.CreateAnd(wide, constant(0x8000)), 16));
  return b.CreateBitCast(value, FloatType(lanes));
}

LV Emitter::ToF16(LV value, int lanes) {
  llvm::IRBuilder<>& b = builder_;
  llvm::Type* narrow = Vector(b.getInt16Ty(), lanes);
  if (target_.f16) {
    return b.CreateBitCast(b.CreateFPTrunc(value, Vector(b.getHalfTy(), lanes)), narrow);
  }
  llvm::Type* whole = Vector(b.getInt32Ty(), lanes);
  const auto constant = [&](uint32_t number) { return llvm::ConstantInt::get(whole, number); };
  LV bits = b.CreateBitCast(value, whole);
  LV magnitude = b.CreateAnd(bits, constant(0x7fffffff));
  // Nearest, of two the even one, by a carry into what is kept.
  LV odd = b.CreateAnd(b.CreateLShr(magnitude, kMantissaGap), constant(1));
  LV normal = b.CreateSub(magnitude, constant((kExponentGap << 23) - 0xfff));
  normal = b.CreateLShr(b.CreateAdd(normal, odd), kMantissaGap);
  // Below 2^-14 the last bit is worth 2^-24, as it is in f32 of what lies from 0.5 on.
  LV half = Splat(0.5, lanes);
  LV moved = b.CreateFAdd(b.CreateBitCast(magnitude, FloatType(lanes)), half);
  LV subnormal = b.CreateSub(b.CreateBitCast(moved, whole), b.CreateBitCast(half, whole));
  const auto from = [&](int exponent) {
    return constant(static_cast<uint32_t>(127 + exponent) << 23);
  };
  LV result = b.CreateSelect(b.CreateICmpSLT(magnitude, from(-14)), subnormal, normal);
  result = b.CreateSelect(b.CreateICmpSGE(magnitude, from(16)), constant(0x7c00), result);
  LV nan = b.CreateOr(b.CreateAnd(b.CreateLShr(magnitude, kMantissaGap), constant(0x3ff)),
                      constant(0x7e00));
  result = b.CreateSelect(b.CreateICmpSGT(magnitude, constant(kInfinity)), nan, result);
  result = b.CreateOr(result, b.CreateAnd(b.CreateLShr(bits, 16), constant(0x8000)));
  return b.CreateTrunc(result, narrow);
}

LV Emitter::Floor(LV x) {
  llvm::IRBuilder<>& b = builder_;
  if (target_.rounds) return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x);
  LV one = llvm::ConstantFP::get(x->getType(), 1.0);
  LV towards_zero = b.CreateSIToFP(b.CreateFPToSI(x, WholeLike(b, x)), x->getType());
  LV above = b.CreateFCmpOGT(towards_zero, x);
  LV below = b.CreateSelect(above, b.CreateFSub(towards_zero, one), towards_zero);
  below = b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, below, x);  // of -0 too
  // From 2^23 on every number is whole; NaN does not compare.
  LV small = b.CreateFCmpOLT(b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x),
                             llvm::ConstantFP::get(x->getType(), 8388608.0));
  return b.CreateSelect(small, below, x);
}

LV Emitter::RoundEven(LV x) {
  llvm::IRBuilder<>& b = builder_;
  if (target_.rounds) return b.CreateUnaryIntrinsic(llvm::Intrinsic::nearbyint, x);
  LV magic = llvm::ConstantFP::get(x->getType(), kRoundsToWhole);
  return b.CreateFSub(b.CreateFAdd(x, magic), magic);
}

LV Emitter::RoundToWhole(LV x) {
  llvm::IRBuilder<>& b = builder_;
  LV magic = llvm::ConstantFP::get(x->getType(), kRoundsToWhole);
  llvm::Type* integers = x->getType()->getWithNewType(b.getInt32Ty());
  return b.CreateSub(b.CreateBitCast(b.CreateFAdd(x, magic), integers),
                     b.CreateBitCast(magic, integers));
}

}  // namespace ninfer::codegen
