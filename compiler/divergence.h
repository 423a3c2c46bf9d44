// How far one model's predictions are from another's, on the same text.
// Tested by tests/compiler_quality_test.cc.
#ifndef NINFER_COMPILER_DIVERGENCE_H_
#define NINFER_COMPILER_DIVERGENCE_H_

#include <cstdint>

#include "absl/types/span.h"

namespace ninfer::compiler {

// Sums over rows of logits; natural logarithms.
struct Divergence {
  int64_t rows = 0, flips = 0;          // rows whose most likely ids differ
  double kl = 0;                        // of the reference's distribution from the one found
  int64_t predictions = 0;              // rows whose next id is known
  double reference_loss = 0, loss = 0;  // minus the logarithm of its probability

  // `rows` rows of `vocab` logits each; next[i] is the id that follows row i. Rows that `next` does
  // not reach count as distributions alone.
  void Add(const float* reference, const float* found, int64_t rows, int64_t vocab,
           absl::Span<const int32_t> next);

  double mean_kl() const { return rows > 0 ? kl / static_cast<double>(rows) : 0; }
  double reference_perplexity() const;
  double perplexity() const;
};

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_DIVERGENCE_H_
