// Min-p (Nguyen and others, "Turning up the heat", 2024), as MinPLogitsWarper of transformers.
// Tested by tests/runtime_sampling_test.cc.
#include <cmath>

#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {

void KeepMinP(const SamplingOptions& options, absl::Span<const int32_t> text,
              Candidates* candidates) {
  const float most = HighestScore(*candidates);
  std::erase_if(*candidates, [&](const Candidate& candidate) {
    return candidate.score < most && std::exp(double{candidate.score} - most) < options.min_p;
  });
}

}  // namespace ninfer::runtime
