// Tested by tests/runtime_sampling_test.cc.
#include "runtime/sampling/sampling.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "runtime/sampling/philox.h"

namespace ninfer::runtime {

SamplingOptions DefaultSampling(const plan::Metadata& metadata) {
  SamplingOptions options;
  options.sample = metadata.do_sample.value_or(false);
  options.temperature = metadata.temperature.value_or(options.temperature);
  options.top_k = metadata.top_k.value_or(options.top_k);
  options.top_p = metadata.top_p.value_or(options.top_p);
  if (options.temperature == 0) options.sample = false;
  return options;
}

absl::Status CheckSampling(const SamplingOptions& options) {
#define SAMPLER(function, field, type, neutral, least, most, help)                                \
  if (!(options.field >= (least) && options.field <= (most))) {                                   \
    return InvalidArgument("--", absl::StrReplaceAll(#field, {{"_", "-"}}), ": expected ", least, \
                           " to ", most, ", found ", options.field);                              \
  }
#include "runtime/sampling/samplers.def"
  return absl::OkStatus();
}

void ApplySamplers(const SamplingOptions& options, Candidates* candidates) {
#define SAMPLER(function, field, type, neutral, ...) \
  if (options.field != (neutral)) function(options, candidates);
#include "runtime/sampling/samplers.def"
}

absl::StatusOr<int32_t> Greedy(absl::Span<const float> logits) {
  int32_t best = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    if (best < 0 || logits[i] > logits[best]) best = static_cast<int32_t>(i);
  }
  if (best < 0 || logits[best] == -INFINITY) {
    return absl::InternalError("sampling: expected a logit that is a number, found none");
  }
  return best;
}

int32_t Draw(const Candidates& candidates, double uniform) {
  float most = -INFINITY;
  for (const Candidate& candidate : candidates) most = std::max(most, candidate.score);
  double total = 0;
  for (const Candidate& candidate : candidates) total += std::exp(candidate.score - most);
  const double target = uniform * total;
  double sum = 0;
  int32_t chosen = candidates.front().id;
  for (const Candidate& candidate : candidates) {
    const double weight = std::exp(candidate.score - most);
    if (weight == 0) continue;  // never drawn, not even by rounding at the end
    chosen = candidate.id;
    sum += weight;
    if (target < sum) break;
  }
  return chosen;
}

absl::StatusOr<int32_t> Sampler::Choose(absl::Span<const float> logits) {
  NINFER_ASSIGN_OR_RETURN(const int32_t best, Greedy(logits));
  if (!options_.sample || options_.temperature == 0) return best;
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i]) && logits[i] != -INFINITY) {
      candidates_.push_back({static_cast<int32_t>(i), logits[i]});
    }
  }
  ApplySamplers(options_, &candidates_);
  return Draw(candidates_, PhiloxUniform(options_.seed, drawn_++));
}

}  // namespace ninfer::runtime
