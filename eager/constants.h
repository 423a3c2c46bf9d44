// Constant expressions (weights, and concat, transpose, reshape, cast, slice and quantise of them),
// read block by block from the checkpoint, and the constants of a function for its evaluator.
// Tested by tests/eager_constants_test.cc.
#ifndef NINFER_EAGER_CONSTANTS_H_
#define NINFER_EAGER_CONSTANTS_H_

#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eager/evaluator.h"
#include "ir/module.h"
#include "ir/weights.h"

namespace ninfer::eager {

// Rows as EvaluateRows counts them: all dimensions but the last flattened; of a vector, its
// elements.
int64_t RowsOf(const ir::Value* value);

// True when EvaluateRows can read the expression in blocks.
bool IsBlockwise(const ir::Value* value);

// True for a transpose of a matrix that turns it.
bool TurnsMatrix(const ir::Node& node);

// A rectangle of a matrix; of other ranks, trailing dimensions flattened.
struct Block {
  int64_t row0, row1, column0, column1;
  int64_t rows() const { return row1 - row0; }
  int64_t columns() const { return column1 - column0; }
};

// A block of an expression that IsBlockwise.
absl::Status EvaluateBlock(const ir::Value* value, const ir::Module& module,
                           const ir::WeightSource& weights, const Block& block, float* out);

// Where converted constants come from and how long they stay. Module, weights and memory outlive
// the slots.
struct ConstantSource {
  const ir::Module* module;
  const ir::WeightSource* weights;
  WeightCopies copies;
  Workspace* memory;  // lends and counts what is converted
};

// The results of nodes that depend on weights and constants alone, which FoldConstants replaces. A
// region is none: it runs as it stands.
absl::flat_hash_set<const ir::Value*> ConstantResults(const ir::Function& function);

// The values of constant expressions that nodes of `function` with other operands, or its results,
// use; weights that linears alone use are turned (see Slot). What cannot be read in blocks is
// evaluated here and held.
absl::StatusOr<Slots> FoldConstants(const Context& context, const ir::Function& function,
                                    const ConstantSource& source);

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_CONSTANTS_H_
