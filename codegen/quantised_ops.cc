// Tested by tests/codegen_quantised_test.cc.
#include "codegen/quantised_ops.h"

#include "base/status.h"
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
  llvm::Type* pairs = Vector(e.b().getInt16Ty(), e.lanes() * 2);
  const auto intrinsic = e.target().vector_bits == 512   ? llvm::Intrinsic::x86_avx512_pmaddw_d_512
                         : e.target().vector_bits == 256 ? llvm::Intrinsic::x86_avx2_pmadd_wd
                                                         : llvm::Intrinsic::x86_sse2_pmadd_wd;
  return e.b().CreateIntrinsic(intrinsic, {},
                               {e.b().CreateBitCast(a, pairs), e.b().CreateBitCast(b, pairs)});
}

LV DotBytes(Emitter& e, LV sum, LV weights, LV x) {
  NINFER_CHECK(e.target().integer_dot == IntegerDot::kUnsignedBySigned) << e.target().name;
  const auto intrinsic = e.target().vector_bits == 512 ? llvm::Intrinsic::x86_avx512_vpdpbusd_512
                                                       : llvm::Intrinsic::x86_avx512_vpdpbusd_256;
  return e.b().CreateIntrinsic(intrinsic, {}, {sum, weights, x});
}

LV LookUpBytes(Emitter& e, const uint8_t (&table)[16], LV levels) {
  llvm::IRBuilder<>& b = e.b();
  LV places = b.CreateBitCast(levels, Vector(b.getInt8Ty(), e.lanes() * 4));
  LV found = nullptr;
  if (e.target().vector_bits == 128) {
    found = ChooseBytes(e, table, places);
  } else {
    std::vector<llvm::Constant*> bytes;
    for (int i = 0; i < e.lanes() * 4; ++i) bytes.push_back(b.getInt8(table[i % 16]));
    const auto shuffle = e.target().vector_bits == 512 ? llvm::Intrinsic::x86_avx512_pshuf_b_512
                                                       : llvm::Intrinsic::x86_avx2_pshuf_b;
    found = b.CreateIntrinsic(shuffle, {}, {llvm::ConstantVector::get(bytes), places});
  }
  return b.CreateBitCast(found, levels->getType());
}

}  // namespace ninfer::codegen::quantised
