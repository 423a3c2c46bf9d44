// Tested by tests/codegen_quantised_test.cc.
#include "codegen/quantised_ops.h"

#include "base/status.h"
#include "llvm/IR/IntrinsicsAArch64.h"
#include "llvm/IR/IntrinsicsX86.h"

namespace ninfer::codegen::quantised {
namespace {

llvm::Type* Vector(llvm::Type* scalar, int lanes) {
  return llvm::FixedVectorType::get(scalar, lanes);
}

// The same step by step, for targets that cannot move bytes by a variable: each entry is what it
// differs from the one before.
LV ChooseBytes(Emitter& e, const uint8_t (&table)[16], LV levels) {
  llvm::IRBuilder<>& b = e.b();
  const auto constant = [&](int byte) { return llvm::ConstantInt::get(levels->getType(), byte); };
  LV found = constant(table[0]);
  for (int i = 1; i < 16; ++i) {
    LV beyond = b.CreateSExt(b.CreateICmpSGT(levels, constant(i - 1)), levels->getType());
    found = b.CreateXor(found, b.CreateAnd(beyond, constant(table[i] ^ table[i - 1])));
  }
  return found;
}

}  // namespace

LV PairProducts(Emitter& e, LV a, LV b) {
  if (e.target().architecture == Architecture::kAArch64) {
    const auto low = [&](LV x) { return e.b().CreateAShr(e.b().CreateShl(x, 16), 16); };
    const auto high = [&](LV x) { return e.b().CreateAShr(x, 16); };
    return e.b().CreateAdd(e.b().CreateMul(low(a), low(b)), e.b().CreateMul(high(a), high(b)));
  }
  llvm::Type* pairs = Vector(e.b().getInt16Ty(), e.lanes() * 2);
  const auto intrinsic = e.target().vector_bits == 512   ? llvm::Intrinsic::x86_avx512_pmaddw_d_512
                         : e.target().vector_bits == 256 ? llvm::Intrinsic::x86_avx2_pmadd_wd
                                                         : llvm::Intrinsic::x86_sse2_pmadd_wd;
  return e.b().CreateIntrinsic(intrinsic, {},
                               {e.b().CreateBitCast(a, pairs), e.b().CreateBitCast(b, pairs)});
}

LV DotBytes(Emitter& e, LV sum, LV weights, LV x) {
  NINFER_CHECK(e.target().integer_dot != IntegerDot::kPairs) << e.target().name;
  if (e.target().integer_dot == IntegerDot::kSignedBySigned) {
    llvm::Type* bytes = Vector(e.b().getInt8Ty(), e.lanes() * 4);
    return e.b().CreateIntrinsic(
        llvm::Intrinsic::aarch64_neon_sdot, {sum->getType(), bytes},
        {sum, e.b().CreateBitCast(weights, bytes), e.b().CreateBitCast(x, bytes)});
  }
  const auto intrinsic = e.target().vector_bits == 512 ? llvm::Intrinsic::x86_avx512_vpdpbusd_512
                                                       : llvm::Intrinsic::x86_avx512_vpdpbusd_256;
  return e.b().CreateIntrinsic(intrinsic, {}, {sum, weights, x});
}

LV WithSign(Emitter& e, LV bytes) {
  return e.b().CreateXor(bytes, llvm::ConstantInt::get(bytes->getType(), 0x80808080u));
}

LV LookUpBytes(Emitter& e, const uint8_t (&table)[16], LV levels) {
  llvm::IRBuilder<>& b = e.b();
  LV places = b.CreateBitCast(levels, Vector(b.getInt8Ty(), e.lanes() * 4));
  std::vector<llvm::Constant*> bytes;
  for (int i = 0; i < e.lanes() * 4; ++i) bytes.push_back(b.getInt8(table[i % 16]));
  LV entries = llvm::ConstantVector::get(bytes);
  LV found = nullptr;
  if (e.target().architecture == Architecture::kAArch64) {
    found = b.CreateIntrinsic(llvm::Intrinsic::aarch64_neon_tbl1, {places->getType()},
                              {entries, places});
  } else if (e.target().vector_bits == 128) {
    found = ChooseBytes(e, table, places);
  } else {
    const auto shuffle = e.target().vector_bits == 512 ? llvm::Intrinsic::x86_avx512_pshuf_b_512
                                                       : llvm::Intrinsic::x86_avx2_pshuf_b;
    found = b.CreateIntrinsic(shuffle, {}, {entries, places});
  }
  return b.CreateBitCast(found, levels->getType());
}

}  // namespace ninfer::codegen::quantised
