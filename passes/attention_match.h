// Recognises attention as the importers spell it:
//
//   matmul(q, k^T) -> mul or div by constants -> causal_mask -> softmax -> matmul(., v)
//
// with transposes, and for grouped queries repeats, between the projections and the two matmuls. A
// scale on q instead of on the scores is recognised too. Shared by the kv-cache and attention
// passes. Tested by tests/passes_golden_test.cc.
#ifndef NINFER_PASSES_ATTENTION_MATCH_H_
#define NINFER_PASSES_ATTENTION_MATCH_H_

#include <vector>

#include "absl/types/optional.h"
#include "ir/module.h"
#include "passes/rewrite.h"

namespace ninfer::passes {

struct SpelledAttention {
  ir::Node* scores = nullptr;      // matmul of queries and keys
  std::vector<ir::Node*> between;  // scalings by constants, a cap by tanh, alibi, in order
  ir::Node* alibi = nullptr;       // the last of them, or null
  ir::Node* mask = nullptr;
  ir::Node* softmax = nullptr;
  ir::Node* output = nullptr;  // matmul with the values, [H, T, d]
  ir::Value* q = nullptr;      // [T, H, d], not yet scaled
  ir::Value* k = nullptr;      // [C, G, d]
  ir::Value* v = nullptr;      // [C, G, d]
  double scale = 1;            // of the scores and of q together
  double softcap = 0;          // c in c tanh(scores / c), 0: none

  int64_t query_heads() const { return q->type().shape[1].offset; }
  int64_t kv_heads() const { return k->type().shape[1].offset; }
};

// None when the nodes around the mask are anything else, or one of their values has another use.
absl::optional<SpelledAttention> MatchAttention(ir::Node* mask, const Uses& uses);

// Moves scores, what follows them, mask and softmax to right before the output, where q, k and v
// are all known.
void GatherBeforeOutput(ir::Function& function, const SpelledAttention& attention);

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_ATTENTION_MATCH_H_
