// Top-k, as TopKLogitsWarper of transformers: candidates that tie with the k-th stay.
// Tested by tests/runtime_sampling_test.cc.
#include <algorithm>
#include <functional>

#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {

void KeepTopK(const SamplingOptions& options, absl::Span<const int32_t> text,
              Candidates* candidates) {
  const size_t k = static_cast<size_t>(options.top_k);
  if (k >= candidates->size()) return;
  std::vector<float> scores;
  scores.reserve(candidates->size());
  for (const Candidate& candidate : *candidates) scores.push_back(candidate.score);
  std::nth_element(scores.begin(), scores.begin() + (k - 1), scores.end(), std::greater<float>());
  const float least = scores[k - 1];
  std::erase_if(*candidates, [least](const Candidate& c) { return c.score < least; });
}

}  // namespace ninfer::runtime
