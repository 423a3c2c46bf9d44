// Top-p (Holtzman and others, "The curious case of neural text degeneration", 2020), as
// TopPLogitsWarper of transformers: a candidate stays while the more likely ones together have less
// than p. Of candidates that tie at the border, those with lower ids stay. Tested by
// tests/runtime_sampling_test.cc.
#include <algorithm>
#include <cmath>

#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {
namespace {

// A vocabulary need not be sorted when a few tokens have the mass, as they mostly do.
constexpr size_t kFirstSorted = 64;

bool MoreLikely(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

}  // namespace

void KeepTopP(const SamplingOptions& options, absl::Span<const int32_t> text,
              Candidates* candidates) {
  const float most = HighestScore(*candidates);
  double total = 0;
  for (const Candidate& candidate : *candidates) total += std::exp(candidate.score - most);

  size_t kept = 0, sorted = 0;
  double before = 0;
  while (kept < candidates->size()) {
    if (kept == sorted) {
      sorted = std::min(candidates->size(), std::max(kFirstSorted, sorted * 4));
      std::partial_sort(candidates->begin() + kept, candidates->begin() + sorted, candidates->end(),
                        MoreLikely);
    }
    if (kept > 0 && before >= options.top_p * total) break;
    before += std::exp((*candidates)[kept].score - most);
    ++kept;
  }
  candidates->resize(kept);
  std::sort(candidates->begin(), candidates->end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

}  // namespace ninfer::runtime
