// Linears of integer weights: how a row of the input is prepared, and the register tile that
// multiplies prepared rows with a quantised panel. Rows of integers: products are summed exactly
// within a block of 32, blocks in f32 in the order of k; all exactly where weights and rows have
// one scale each for all of k. Rows of f32: the integers are widened, and products summed in the
// order of k, block by block. Each way the result is the same for any rows and target. Tested by
// tests/codegen_quantised_test.cc.
#ifndef NINFER_CODEGEN_QUANTISED_H_
#define NINFER_CODEGEN_QUANTISED_H_

#include <vector>

#include "base/quantise.h"
#include "codegen/emitter.h"
#include "formats/formats.h"

namespace ninfer::codegen {

// What rows of x are beside integer weights: f32, or integers with a scale for each 32 or for all.
enum class QuantisedRows : uint8_t { kFloats, kByBlock, kWhole };

struct QuantisedProduct {
  const QuantiseScheme* weights = nullptr;  // null: floats
  QuantisedRows rows = QuantisedRows::kByBlock;
  // No more than two. LLVM makes their count a bit, and moves the sums to other registers and back.
  bool few_blocks = false;
  bool widened() const { return weights != nullptr && rows == QuantisedRows::kFloats; }
  bool one_sum() const { return rows == QuantisedRows::kWhole && weights->group == 0; }
};

// A prepared row of integers: for each block of 32 its integers, then its scale (f32) and what its
// products begin with (i32): minus the weights' zero point times the sum of the integers (of
// shifted weights: minus the sum; of weights with a sign 0). Of one_sum() the first block has that
// of all. Where the target multiplies pairs the integers are i16, of four neighbours the first and
// third, then the second and fourth.
int64_t PreparedBlockBytes(const Target& target);
int64_t PreparedRowBytes(const Target& target, int64_t columns);

// Prepares a row of `columns` values at `source`, as QuantiseGroup rounds them. `padded` is room
// for one block of f32.
void EmitPrepareRow(Emitter& e, const QuantisedProduct& product, LV source, DType dtype,
                    int64_t columns, LV target, LV padded);

// A prepared row of f32: widened, and zeros up to whole blocks.
int64_t WidenedRowBytes(int64_t columns);
void EmitWidenRow(Emitter& e, LV source, DType dtype, int64_t columns, LV target);

// acc[row][slot] = sum over blocks of (sum of the products * scale of x) * scale of w, the former
// of integers alone; the scale of a whole row multiplies the sum over blocks.
struct QuantisedTile {
  QuantisedProduct product;
  formats::BlockLayout layout;  // of a panel
  std::vector<LV> a_rows;       // address of each prepared row
  // Of each slot's panel: the address of its first byte, and its first column.
  std::vector<LV> b_panels;
  std::vector<int64_t> b_columns;
  int64_t prefetch = 0;  // bytes ahead that are asked for
  NextWeights next;      // or these, a step being a load of a panel
  // Sums the slots of a block one after the other, with registers for the sums of one.
  bool slots_in_turn = false;
};
std::vector<LV> EmitQuantisedTile(Emitter& e, const QuantisedTile& tile);

TileShape LargestQuantisedTile(const Target& target, const QuantisedProduct& product);
TileShape QuantisedTileFor(const Target& target, const QuantisedProduct& product, int rows);
int RowsOfOneQuantisedTile(const Target& target, const QuantisedProduct& product);
// Whether all of a block is straight code, and how many loads of a panel it has.
bool UnrollsBlocks(const Target& target, const QuantisedProduct& product);
int64_t LoadsOfBlock(const QuantisedProduct& product);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_QUANTISED_H_
