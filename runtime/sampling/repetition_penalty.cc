// The repetition penalty (Keskar and others, "CTRL", 2019), as RepetitionPenaltyLogitsProcessor of
// transformers: once for each token that the text has, however often. Tested by
// tests/runtime_sampling_test.cc.
#include "absl/container/flat_hash_set.h"
#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {

void PenaliseRepetition(const SamplingOptions& options, absl::Span<const int32_t> text,
                        Candidates* candidates) {
  const auto penalty = static_cast<float>(options.repetition_penalty);
  const absl::flat_hash_set<int32_t> seen(text.begin(), text.end());
  for (Candidate& candidate : *candidates) {
    if (!seen.contains(candidate.id)) continue;
    candidate.score = candidate.score < 0 ? candidate.score * penalty : candidate.score / penalty;
  }
}

}  // namespace ninfer::runtime
