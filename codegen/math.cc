// exp, log and tanh after Cephes (S. Moshier), erf after the rational approximation that Eigen
// uses, sine and cosine by reduction to [-pi/4, pi/4] in double precision. Tested by
// tests/codegen_test.cc.
#include "codegen/math.h"

#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/IntrinsicsX86.h"

namespace ninfer::codegen {
namespace {

llvm::Type* Like(LV x, llvm::Type* scalar) {
  if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x->getType())) {
    return llvm::FixedVectorType::get(scalar, vector->getNumElements());
  }
  return scalar;
}

constexpr int kNearestEven = 4;  // the rounding in force, as AVX-512's intrinsics name it

LV Real(LV x, double value) { return llvm::ConstantFP::get(x->getType(), value); }

// ((c0 * x + c1) * x + c2) ...
LV Polynomial(Emitter& e, LV x, std::initializer_list<double> coefficients) {
  LV sum = nullptr;
  for (double c : coefficients) sum = sum == nullptr ? Real(x, c) : e.Fma(sum, x, Real(x, c));
  return sum;
}

LV Absolute(Emitter& e, LV x) {
  return e.b().CreateIntrinsic(llvm::Intrinsic::fabs, {x->getType()}, {x});
}

LV CopySign(Emitter& e, LV magnitude, LV sign) {
  return e.b().CreateIntrinsic(llvm::Intrinsic::copysign, {magnitude->getType()},
                               {magnitude, sign});
}

// 2^n for the integers n in [-126, 127].
LV PowerOfTwo(Emitter& e, LV n, LV like) {
  LV biased = e.b().CreateAdd(n, llvm::ConstantInt::get(n->getType(), 127));
  return e.b().CreateBitCast(e.b().CreateShl(biased, 23), like->getType());
}

// p 2^n for a whole number n of [-126, 128], which the low bits of `shifted` count from `magic`.
LV TimesPowerOfTwo(Emitter& e, LV p, LV n, LV shifted, LV magic) {
  llvm::IRBuilder<>& b = e.b();
  if (p->getType() == e.FloatType(16)) {
    return b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_scalef_ps_512, {},
                             {p, n, p, b.getInt16(-1), b.getInt32(kNearestEven)});
  }
  // In two factors: 2^128 is no float, the result can be one.
  llvm::Type* i32 = Like(p, b.getInt32Ty());
  LV integer = b.CreateSub(b.CreateBitCast(shifted, i32), b.CreateBitCast(magic, i32));
  LV half = b.CreateAShr(integer, 1);
  return b.CreateFMul(b.CreateFMul(p, PowerOfTwo(e, half, p)),
                      PowerOfTwo(e, b.CreateSub(integer, half), p));
}

// Sine (quarter = 0) or cosine (quarter = 1).
LV SineOfQuarter(Emitter& e, LV x, int quarter) {
  llvm::IRBuilder<>& b = e.b();
  llvm::Type* f64 = Like(x, b.getDoubleTy());
  llvm::Type* i64 = Like(x, b.getInt64Ty());
  llvm::Type* i32 = Like(x, b.getInt32Ty());
  LV wide = b.CreateFPExt(x, f64);
  // Adding 1.5 * 2^52 rounds to the nearest integer, which then stands in the low bits.
  LV magic = llvm::ConstantFP::get(f64, 6755399441055744.0);
  LV shifted = e.Fma(wide, llvm::ConstantFP::get(f64, 0.63661977236758134308), magic);
  LV n = b.CreateFSub(shifted, magic);
  LV reduced = e.Fma(n, llvm::ConstantFP::get(f64, -1.57079632679489655800), wide);
  reduced = e.Fma(n, llvm::ConstantFP::get(f64, -6.12323399573676603587e-17), reduced);
  LV r = b.CreateFPTrunc(reduced, x->getType());
  LV quadrant = b.CreateTrunc(b.CreateBitCast(shifted, i64), i32);
  quadrant = b.CreateAdd(quadrant, llvm::ConstantInt::get(i32, quarter));
  LV r2 = b.CreateFMul(r, r);
  LV sine = Polynomial(e, r2, {-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1});
  sine = e.Fma(b.CreateFMul(sine, r2), r, r);
  LV cosine =
      Polynomial(e, r2, {2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5});
  cosine = e.Fma(cosine, r2, Real(x, 1.0));
  LV one = llvm::ConstantInt::get(i32, 1);
  LV zero = llvm::ConstantInt::get(i32, 0);
  LV odd = b.CreateICmpNE(b.CreateAnd(quadrant, one), zero);
  LV value = b.CreateSelect(odd, cosine, sine);
  LV negative = b.CreateICmpNE(b.CreateAnd(quadrant, llvm::ConstantInt::get(i32, 2)), zero);
  return b.CreateSelect(negative, b.CreateFNeg(value), value);
}

}  // namespace

LV EmitExp(Emitter& e, LV x) {
  llvm::IRBuilder<>& b = e.b();
  LV magic = Real(x, 12582912.0);  // 1.5 * 2^23 rounds to the nearest integer
  LV shifted = e.Fma(x, Real(x, 1.44269504088896341), magic);
  LV n = b.CreateFSub(shifted, magic);
  LV r = e.Fma(n, Real(x, -0.693359375), x);
  r = e.Fma(n, Real(x, 2.12194440e-4), r);
  LV p = Polynomial(e, r,
                    {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
                     1.6666665459e-1, 5.0000001201e-1});
  p = e.Fma(b.CreateFMul(p, r), r, b.CreateFAdd(r, Real(x, 1.0)));
  LV y = TimesPowerOfTwo(e, p, n, shifted, magic);
  LV tiny = b.CreateFCmpOLT(x, Real(x, -87.3365447504));
  LV huge = b.CreateFCmpOGT(x, Real(x, 88.7228391117));
  y = b.CreateSelect(tiny, Real(x, 0.0), y);
  return b.CreateSelect(huge, llvm::ConstantFP::getInfinity(x->getType()), y);
}

LV EmitTanh(Emitter& e, LV x) {
  llvm::IRBuilder<>& b = e.b();
  LV magnitude = Absolute(e, x);
  LV x2 = b.CreateFMul(x, x);
  LV small = Polynomial(e, x2,
                        {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
                         -3.33332819422e-1});
  small = e.Fma(b.CreateFMul(small, x2), x, x);
  LV grown = EmitExp(e, b.CreateFMul(magnitude, Real(x, 2.0)));
  LV large =
      b.CreateFSub(Real(x, 1.0), b.CreateFDiv(Real(x, 2.0), b.CreateFAdd(grown, Real(x, 1.0))));
  LV is_small = b.CreateFCmpOLT(magnitude, Real(x, 0.625));
  return b.CreateSelect(is_small, small, CopySign(e, large, x));
}

LV EmitSigmoid(Emitter& e, LV x) {
  llvm::IRBuilder<>& b = e.b();
  LV one = Real(x, 1.0);
  return b.CreateFDiv(one, b.CreateFAdd(one, EmitExp(e, b.CreateFNeg(x))));
}

LV EmitErf(Emitter& e, LV x) {
  llvm::IRBuilder<>& b = e.b();
  LV limit = Real(x, 4.0);
  LV low = b.CreateSelect(b.CreateFCmpOGT(x, limit), limit, x);
  LV c = b.CreateSelect(b.CreateFCmpOLT(low, Real(x, -4.0)), Real(x, -4.0), low);
  LV c2 = b.CreateFMul(c, c);
  LV p = Polynomial(
      e, c2,
      {-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
       -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02});
  LV q = Polynomial(e, c2,
                    {-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03,
                     -7.37332916720468e-03, -1.42647390514189e-02});
  return b.CreateFDiv(b.CreateFMul(c, p), q);
}

LV EmitLog(Emitter& e, LV x) {
  llvm::IRBuilder<>& b = e.b();
  llvm::Type* i32 = Like(x, b.getInt32Ty());
  const auto whole = [i32](int64_t value) { return llvm::ConstantInt::get(i32, value); };
  // Subnormal numbers are brought into the normal range first.
  LV subnormal = b.CreateFCmpOLT(x, Real(x, 1.17549435e-38));
  LV scaled = b.CreateSelect(subnormal, b.CreateFMul(x, Real(x, 8388608.0)), x);
  LV bits = b.CreateBitCast(scaled, i32);
  // m in [0.5, 1) and the exponent that goes with it.
  LV m = b.CreateBitCast(b.CreateOr(b.CreateAnd(bits, whole(0x007fffff)), whole(0x3f000000)),
                         x->getType());
  LV exponent = b.CreateSub(b.CreateLShr(bits, whole(23)), whole(126));
  exponent = b.CreateSelect(subnormal, b.CreateSub(exponent, whole(23)), exponent);
  LV small = b.CreateFCmpOLT(m, Real(x, 0.707106781186547524));
  exponent = b.CreateSelect(small, b.CreateSub(exponent, whole(1)), exponent);
  m = b.CreateFSub(b.CreateSelect(small, b.CreateFAdd(m, m), m), Real(x, 1.0));
  LV power = b.CreateSIToFP(exponent, x->getType());
  LV z = b.CreateFMul(m, m);
  LV y = Polynomial(
      e, m,
      {7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
       -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1});
  y = b.CreateFMul(b.CreateFMul(y, m), z);
  y = e.Fma(power, Real(x, -2.12194440e-4), y);
  y = e.Fma(z, Real(x, -0.5), y);
  y = e.Fma(power, Real(x, 0.693359375), b.CreateFAdd(m, y));
  LV infinity = llvm::ConstantFP::getInfinity(x->getType());
  y = b.CreateSelect(b.CreateFCmpOEQ(x, infinity), infinity, y);
  y = b.CreateSelect(b.CreateFCmpOEQ(x, Real(x, 0.0)),
                     llvm::ConstantFP::getInfinity(x->getType(), true), y);
  LV negative = b.CreateFCmpULT(x, Real(x, 0.0));  // or no number
  return b.CreateSelect(negative, llvm::ConstantFP::getNaN(x->getType()), y);
}

LV EmitSin(Emitter& e, LV x) { return SineOfQuarter(e, x, 0); }
LV EmitCos(Emitter& e, LV x) { return SineOfQuarter(e, x, 1); }

LV EmitUnary(Emitter& e, ir::Op op, LV x) {
  llvm::IRBuilder<>& b = e.b();
  auto sqrt = [&](LV v) { return b.CreateIntrinsic(llvm::Intrinsic::sqrt, {v->getType()}, {v}); };
  switch (op) {
    case ir::Op::kNeg:
      return b.CreateFNeg(x);
    case ir::Op::kExp:
      return EmitExp(e, x);
    case ir::Op::kLog:
      return EmitLog(e, x);
    case ir::Op::kFloor:
      return e.Floor(x);
    case ir::Op::kTanh:
      return EmitTanh(e, x);
    case ir::Op::kSigmoid:
      return EmitSigmoid(e, x);
    case ir::Op::kSilu:
      return b.CreateFDiv(x, b.CreateFAdd(Real(x, 1.0), EmitExp(e, b.CreateFNeg(x))));
    case ir::Op::kGelu: {
      LV erf = EmitErf(e, b.CreateFMul(x, Real(x, 0.70710678118654752440)));
      return b.CreateFMul(b.CreateFMul(x, Real(x, 0.5)), b.CreateFAdd(erf, Real(x, 1.0)));
    }
    case ir::Op::kGeluTanh: {
      // x/2 (1 + tanh u) = x / (1 + e^-2u)
      LV cubic = b.CreateFMul(b.CreateFMul(x, x), x);
      LV u = e.Fma(cubic, Real(x, 0.044715), x);
      LV grown = EmitExp(e, b.CreateFMul(u, Real(x, -2.0 * 0.79788456080286535588)));
      return b.CreateFDiv(x, b.CreateFAdd(Real(x, 1.0), grown));
    }
    case ir::Op::kRelu:
      return b.CreateSelect(b.CreateFCmpOLT(x, Real(x, 0.0)), Real(x, 0.0), x);
    case ir::Op::kSqrt:
      return sqrt(x);
    case ir::Op::kRsqrt:
      return b.CreateFDiv(Real(x, 1.0), sqrt(x));
    case ir::Op::kCos:
      return EmitCos(e, x);
    case ir::Op::kSin:
      return EmitSin(e, x);
    default:
      return nullptr;
  }
}

}  // namespace ninfer::codegen
