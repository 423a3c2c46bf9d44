// See divergence.h.
// Tested by tests/compiler_quality_test.cc.
#include "compiler/divergence.h"

#include <algorithm>
#include <cmath>

namespace ninfer::compiler {
namespace {

double Perplexity(double loss, int64_t predictions) {
  return predictions > 0 ? std::exp(loss / static_cast<double>(predictions)) : 0;
}

}  // namespace

void Divergence::Add(const float* reference, const float* found, int64_t count, int64_t vocab,
                     absl::Span<const int32_t> next) {
  for (int64_t r = 0; r < count; ++r) {
    const float* p = reference + r * vocab;
    const float* q = found + r * vocab;
    const float* p_best = std::max_element(p, p + vocab);
    const float* q_best = std::max_element(q, q + vocab);
    flips += p_best - p != q_best - q;
    const double p_top = *p_best, q_top = *q_best;
    double p_sum = 0, q_sum = 0, cross = 0;
    for (int64_t i = 0; i < vocab; ++i) {
      const double weight = std::exp(p[i] - p_top);
      p_sum += weight;
      q_sum += std::exp(q[i] - q_top);
      cross += weight * ((p[i] - p_top) - (q[i] - q_top));
    }
    kl += cross / p_sum + std::log(q_sum) - std::log(p_sum);
    if (r >= static_cast<int64_t>(next.size())) continue;
    ++predictions;
    reference_loss += std::log(p_sum) - (p[next[r]] - p_top);
    loss += std::log(q_sum) - (q[next[r]] - q_top);
  }
  rows += count;
}

double Divergence::reference_perplexity() const { return Perplexity(reference_loss, predictions); }
double Divergence::perplexity() const { return Perplexity(loss, predictions); }

}  // namespace ninfer::compiler
