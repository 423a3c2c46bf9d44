// The arithmetic of a step, counted from the imported graph: every matrix product that is not
// computed once and for all from weights. Attention is causal (a row sees the positions up to its
// own, or those of them that a sliding window leaves), and the head is computed for the last row
// alone, as generation needs it; other arithmetic is left out, as everyone leaves it out. No
// configuration file is read. Tested by tests/bench_count_test.cc.
#ifndef NINFER_BENCH_COUNT_H_
#define NINFER_BENCH_COUNT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "ir/module.h"

namespace ninfer::bench {

// The attention of a model's first layer.
struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
};

// Pairs of a row and a position that it sees, of `rows` rows behind `depth` cached positions;
// `window` is the most that one row sees, its own position among them (0: all before it).
double PairsSeen(int64_t rows, int64_t depth, int64_t window);

struct StepCost {
  struct Pair {
    int64_t window = 0;
    double operations = 0;  // of one row and one position that it sees
  };
  double per_row = 0;       // operations (a product and a sum are two) of one row, without the head
  std::vector<Pair> pairs;  // by window, each once
  double head = 0;          // of one row of logits
  absl::optional<AttentionShape> attention;

  // Of a prompt's `rows` tokens behind `depth` cached positions.
  double Prefill(int64_t rows, int64_t depth) const;
  // Of one more token of each of so many texts, each behind its own `depth` positions.
  double Decode(int64_t texts, int64_t depth) const;
};

absl::StatusOr<StepCost> CountStep(const ir::Module& imported);
absl::StatusOr<StepCost> CountStep(const std::string& imported_graph_text);

}  // namespace ninfer::bench

#endif  // NINFER_BENCH_COUNT_H_
