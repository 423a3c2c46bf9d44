// Linears of many rows and weights of half precision: the weights are widened once for many tiles
// of rows, a slice of k at a time that stays in the caches. Widening in every tile costs a sixth of
// its products. Sums pass through memory between slices, in the order of k, so that a row gets the
// same bits as in a tile of few. Tested by tests/codegen_linear_test.cc.
#ifndef NINFER_CODEGEN_SLICES_H_
#define NINFER_CODEGEN_SLICES_H_

#include <functional>
#include <vector>

#include "codegen/emitter.h"

namespace ninfer::codegen {

// What a linear lends.
struct SlicedLinear {
  DotMode mode = DotMode::kBf16Pairs;  // or kF16
  int64_t k = 0;
  int64_t k_bytes = 0;  // from one k to the next in a panel
  int64_t slots = 0;    // vectors of one k in the panels at hand
  DType a_dtype = DType::kF32;
  int64_t row_bytes = 0;    // from one row of x to the next
  int64_t next_panels = 0;  // from these panels to the next
  // The first vectors of all slots; the addresses of rows of x from a column on.
  std::function<std::vector<LV>(LV panel)> weights = nullptr;
  std::function<std::vector<LV>(LV from, LV row, LV k, int rows)> inputs = nullptr;
  // Calls the epilogue of a tile of rows, whose sums lie at `at` in scratch.
  std::function<void(LV panel, LV row, LV at)> epilogue = nullptr;
};

bool WantsSlices(DotMode mode);
// How many rows a tile of slices has, and how many of `rows` are to be summed so: whole tiles, or
// none where they are too few.
int SliceTileRows(const Target& target);
LV SlicedRows(Emitter& e, LV rows);

// The first `count` rows (whole tiles) of the block of rows that begins at `from`; `name` tells
// these panels from others.
void EmitSlices(Emitter& e, const SlicedLinear& linear, const std::string& name, LV panel, LV from,
                LV count);
int64_t SliceSumsBytes(const Emitter& e, int64_t slots);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_SLICES_H_
