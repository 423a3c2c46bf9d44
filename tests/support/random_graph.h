// Seeded random graphs that verify: the one generator with which parser, passes, planner and code
// generation are fuzzed. The entry has the importer's signature,
//
//   @step(%tokens: i32[T], %positions: i32[T], %seq_bounds: i32[S+1]) -> f32[T,vocab]
//
// and the importer's conventions: f32 activations, stored dtypes for weights, spelled-out
// attention. Widths are awkward (1, 7, 33, 65), some nodes are dead or double, some weights are
// expressions. Values stay finite and of moderate size for any tokens below `vocab`, so that
// results of two engines can be compared. Rows mix only through attention, as in a language model.
#ifndef NINFER_TESTS_SUPPORT_RANDOM_GRAPH_H_
#define NINFER_TESTS_SUPPORT_RANDOM_GRAPH_H_

#include <cstdint>
#include <memory>

#include "ir/module.h"
#include "tests/support/memory_weights.h"

namespace ninfer {

struct RandomGraphOptions {
  int steps = 16;             // building blocks, of one to about twenty nodes each
  bool attention = true;      // spelled-out attention among them
  bool half_weights = true;   // some weights in bf16 and f16
  bool moves = true;          // concat, repeat and transposed heads, which no kernel takes
  int64_t max_tokens = 64;    // upper bound of T
  int64_t max_sequences = 4;  // upper bound of S
};

struct RandomGraph {
  ir::Module module;
  std::shared_ptr<MemoryWeights> weights;
  int64_t vocab;
};

// Equal seeds and options give equal graphs and weights. The module verifies.
RandomGraph MakeRandomGraph(uint64_t seed, const RandomGraphOptions& options = {});

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_RANDOM_GRAPH_H_
