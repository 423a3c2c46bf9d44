// Linears of integers: how a row of the input is prepared, and the register tile that multiplies
// prepared rows with a quantised panel. Integers are summed exactly within a group, groups in f32
// in the order of k, so that the result is the same for any rows, target or way to multiply bytes.
// Tested by tests/codegen_quantised_test.cc.
#ifndef NINFER_CODEGEN_QUANTISED_H_
#define NINFER_CODEGEN_QUANTISED_H_

#include <vector>

#include "base/quantise.h"
#include "codegen/emitter.h"

namespace ninfer::codegen {

// A prepared row: for each group of 32 its integers, then its scale (f32) and what its products
// begin with (i32): minus the weights' zero point times the sum of the integers. Without VPDPBUSD
// the integers are i16, of four neighbours the first and third, then the second and fourth.
int64_t PreparedGroupBytes(const Target& target);
int64_t PreparedRowBytes(const Target& target, int64_t columns);

// Prepares a row of `columns` values at `source`, as QuantiseGroup rounds them. `padded` is room
// for one group of f32.
void EmitPrepareRow(Emitter& e, const QuantiseScheme& weights, LV source, DType dtype,
                    int64_t columns, LV target, LV padded);

// acc[row][slot] = sum over groups of (sum of the integers' products) * (scale of w * scale of x).
struct QuantisedTile {
  const QuantiseScheme* weights = nullptr;
  std::vector<LV> a_rows;    // address of each prepared row
  std::vector<LV> b_slots;   // address of each slot's first integers
  std::vector<LV> b_scales;  // and of its first scales
  int64_t groups = 0;
  int64_t group_bytes = 0;  // of a panel
  int64_t prefetch = 0;     // bytes ahead that are asked for
};
std::vector<LV> EmitQuantisedTile(Emitter& e, const QuantisedTile& tile);

TileShape LargestQuantisedTile(const Target& target);
TileShape QuantisedTileFor(const Target& target, int rows);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_QUANTISED_H_
