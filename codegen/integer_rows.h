// Rounding of rows of f32 to integers times a scale: as a cache of integers keeps them, and as what
// is multiplied with it is rounded (base/quantise.h: kCacheScheme, RoundToWords).
// Tested by tests/codegen_kv_test.cc, tests/codegen_attention_test.cc.
#ifndef NINFER_CODEGEN_INTEGER_ROWS_H_
#define NINFER_CODEGEN_INTEGER_ROWS_H_

#include "codegen/emitter.h"

namespace ninfer::codegen {

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
