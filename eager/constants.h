// Constant expressions (weights, and concat, transpose, reshape, cast and slice of them), read
// block by block from the checkpoint. Tested by tests/eager_constants_test.cc.
#ifndef NINFER_EAGER_CONSTANTS_H_
#define NINFER_EAGER_CONSTANTS_H_

#include <cstdint>

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

// The values of constant expressions that nodes of `function` with other operands, or its results,
// use; weights that linears alone use are held turned (see Slot).
absl::StatusOr<Slots> FoldConstants(const Context& context, const ir::Module& module,
                                    const ir::Function& function, const ir::WeightSource& weights);

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_CONSTANTS_H_
