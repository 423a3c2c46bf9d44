// Rounding of rows of f32 to integers times a scale: as a cache of integers keeps them, as what is
// multiplied with it is rounded (base/quantise.h: kCacheScheme, RoundToWords), and as the inputs of
// quantised linears are (quantised_rows.cc).
// Tested by tests/codegen_kv_test.cc, tests/codegen_attention_test.cc,
// tests/codegen_quantised_test.cc.
#ifndef NINFER_CODEGEN_INTEGER_ROWS_H_
#define NINFER_CODEGEN_INTEGER_ROWS_H_

#include "codegen/emitter.h"

namespace ninfer::codegen {

// The scale of values whose largest magnitude is `largest`, and what they are multiplied with to be
// rounded; both are 0 where the scale would be too small. Scalars, or a vector's worth of them.
struct RoundingScale {
  LV value, inverse;
};
RoundingScale EmitRoundingScale(Emitter& e, LV largest, int levels);
// f32 [lanes] times `inverse`, a scalar, as i32 within [-levels, levels]; of NaN the lowest.
LV EmitRounded(Emitter& e, LV x, LV inverse, int levels);
// i32 [lanes] in 16 bits: of each four the first and third, then the second and fourth.
LV EmitPairedWords(Emitter& e, LV integers);

// Stores `count` f32, a multiple of 32, as bytes of the cache; returns the scale, a scalar.
LV EmitCacheRow(Emitter& e, LV source, int64_t count, LV target);

// A row of DotMode::kInt8, in words of 16 bits: of each four neighbours the upper bytes, then the
// lower (which have a sign, too) where the target multiplies bytes; else the first and third word,
// then the second and fourth.
struct FactorRow {
  LV source = nullptr;   // address of f32 [count]
  LV factors = nullptr;  // of f32 [count] that the source is first multiplied by, in place; or null
  LV target = nullptr;   // of 2 * count bytes
  int64_t count = 0;     // a multiple of 32
  int64_t terms = 0;     // see RoundToWords
};
struct FactorScale {
  LV scale;  // f32
  LV start;  // i32: what a sum of products with the cache's bytes begins with
};
FactorScale EmitFactorRow(Emitter& e, const FactorRow& row);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_INTEGER_ROWS_H_
