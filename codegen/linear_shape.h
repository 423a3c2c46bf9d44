// What a linear's kernel multiplies, and how its operands lie: in their buffers, in panels, and as
// they are prepared in the thread's scratch. Tested by tests/codegen_linear_test.cc,
// tests/codegen_experts_test.cc.
#ifndef NINFER_CODEGEN_LINEAR_SHAPE_H_
#define NINFER_CODEGEN_LINEAR_SHAPE_H_

#include <cstdint>

#include "codegen/emitter.h"
#include "codegen/quantised.h"
#include "codegen/slices.h"
#include "formats/formats.h"
#include "program/scratch.h"

namespace ninfer::codegen {

class LinearShape {
 public:
  // x as the linear reads it: rows of a buffer from some column on.
  struct Input {
    const ir::Value* buffer = nullptr;
    int64_t ld = 0;
    int64_t first_column = 0;
    DType dtype = DType::kF32;
  };

  // Of the kernel that `e` emits, which has a linear.
  explicit LinearShape(const Emitter& e);

  bool Quantised() const { return product.weights != nullptr; }
  // Whether rows are read from where they were widened, gathered or quantised, behind the
  // accumulators in scratch.
  bool Prepares() const { return Widens() || grouped || Quantised(); }
  // Whether the weights are widened a slice of k at a time (slices.h).
  bool Slices() const { return !Quantised() && WantsSlices(mode); }

  // Rows of a tile where there are several, and up to how many are one.
  int LargestRows() const;
  int RowsOfOneTile() const;
  // Up to how many rows panels are visited in pairs, since a tile is as wide; INT_MAX: always, 0:
  // never.
  int RowsOfPairs() const;
  // Whether tiles ask for parts of the panels that come next.
  bool AsksForNextPanels() const {
    // Products of pairs leave no registers for it.
    const bool roomy = !Quantised() || (UnrollsBlocks(target_, product) &&
                                        target_.integer_dot != IntegerDot::kPairs);
    return roomy && AsksForNextWeights(target_);
  }

  // Of a prepared row.
  DType PreparedType() const { return mode == DotMode::kBf16Dot ? DType::kBF16 : DType::kF32; }
  int64_t PreparedBytes() const;
  // Rows of x as tiles read them: prepared, or where they are.
  DType RowType() const { return Prepares() ? PreparedType() : input.dtype; }
  int64_t RowBytes() const {
    return Prepares() ? PreparedBytes() : input.ld * DTypeSize(input.dtype);
  }

  // Where a block's choices of experts and its prepared rows lie in scratch.
  int64_t ChoicesAt() const;
  int64_t PreparedAt() const { return ChoicesAt() + (grouped ? program::kLinearRowBlock * 8 : 0); }

  // Of a panel of floats.
  int64_t Step() const { return formats::InfoOf(format).k_step; }
  int64_t ElementBytes() const { return DTypeSize(formats::InfoOf(format).dtype); }

  const ir::Node* linear = nullptr;
  Input input;
  DotMode mode = DotMode::kF32;  // of a weight in floats
  formats::Format format = formats::Format::kPanelF32;
  QuantisedProduct product;  // of a quantised weight
  int64_t segments = 1, k = 0, n = 0;
  bool grouped = false, own_inputs = false;  // the latter: x is [T, k, K]
  int64_t experts = 1, chosen = 1;

 private:
  // Widening bf16 activations in the tile would cost as many instructions as half of its products,
  // so it is done once for a block of rows.
  bool Widens() const {
    return !Quantised() && mode == DotMode::kBf16Pairs && input.dtype == DType::kBF16;
  }

  const Target& target_;
};

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_LINEAR_SHAPE_H_
