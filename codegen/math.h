// Elementary functions as straight vector code: polynomials and exponent arithmetic, no calls. Each
// takes and gives f32, a scalar or a vector.
// Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_MATH_H_
#define NINFER_CODEGEN_MATH_H_

#include "codegen/emitter.h"

namespace ninfer::codegen {

LV EmitExp(Emitter& e, LV x);   // under 2 ulp; 0 below -87.34, infinity above 88.72; exp(0) == 1
LV EmitLog(Emitter& e, LV x);   // under 2 ulp; -infinity of 0, no number below
LV EmitTanh(Emitter& e, LV x);  // under 3 ulp
LV EmitSigmoid(Emitter& e, LV x);
LV EmitErf(Emitter& e, LV x);  // absolute error under 4e-7
LV EmitSin(Emitter& e, LV x);  // |x| up to 1e7, absolute error under 1e-7
LV EmitCos(Emitter& e, LV x);

// The elementwise unary op `op` of the graph; null when it is not one.
LV EmitUnary(Emitter& e, ir::Op op, LV x);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_MATH_H_
