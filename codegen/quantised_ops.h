// The instructions of a target that multiply integers and look bytes up, for linears of quantised
// weights and attention over a cache of integers. Vectors are of as many i32 as the target has
// lanes; four bytes, or two numbers of 16 bits, lie in each.
#ifndef NINFER_CODEGEN_QUANTISED_OPS_H_
#define NINFER_CODEGEN_QUANTISED_OPS_H_

#include <cstdint>

#include "codegen/emitter.h"

namespace ninfer::codegen::quantised {

// a[0] * b[0] + a[1] * b[1] of each lane's numbers of 16 bits.
LV PairProducts(Emitter& e, LV a, LV b);

// sum + the four products of each lane's bytes: of weights, with or without a sign as the target's
// `integer_dot` says, and of inputs with a sign. For targets with such an instruction.
LV DotBytes(Emitter& e, LV sum, LV weights, LV x);

// Bytes without a sign, less the 128 that stands for 0 in them.
LV WithSign(Emitter& e, LV bytes);

// For each byte of `levels`, 0 to 15, that entry of `table`.
LV LookUpBytes(Emitter& e, const uint8_t (&table)[16], LV levels);

}  // namespace ninfer::codegen::quantised

#endif  // NINFER_CODEGEN_QUANTISED_OPS_H_
