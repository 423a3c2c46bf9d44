// The repetition penalty (Keskar and others, "CTRL", 2019), as RepetitionPenaltyLogitsProcessor of
// transformers: once for each token that the text has, however often. Tested by
// tests/runtime_sampling_test.cc.
#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {

void PenaliseRepetition(const SamplingOptions& options, absl::Span<const int32_t> text,
                        Candidates* candidates) {
  const auto penalty = static_cast<float>(options.repetition_penalty);
  std::vector<bool> seen(static_cast<size_t>(candidates->back().id) + 1);  // ids ascend
  for (const int32_t id : text) {
    if (static_cast<size_t>(id) < seen.size()) seen[id] = true;
  }
  for (Candidate& candidate : *candidates) {
    if (!seen[candidate.id]) continue;
    candidate.score = candidate.score < 0 ? candidate.score * penalty : candidate.score / penalty;
  }
}

}  // namespace ninfer::runtime
