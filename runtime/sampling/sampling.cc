// Tested by tests/runtime_sampling_test.cc.
#include "runtime/sampling/sampling.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "runtime/sampling/philox.h"

namespace ninfer::runtime {
namespace {

// Whether a stage that greedy takes, too, is not neutral.
bool ChangesGreedy(const SamplingOptions& options) {
  bool changes = false;
#define SAMPLER(function, field, type, neutral, least, most, when, ...) \
  changes = changes || ((when) && options.field != (neutral));
#include "runtime/sampling/samplers.def"
  return changes;
}

}  // namespace

float HighestScore(const Candidates& candidates) {
  float most = -INFINITY;
  for (const Candidate& candidate : candidates) most = std::max(most, candidate.score);
  return most;
}

SamplingOptions DefaultSampling(const plan::Metadata& metadata) {
  SamplingOptions options;
  options.sample = metadata.do_sample.value_or(false);
  options.temperature = metadata.temperature.value_or(options.temperature);
  // What generate() samples with where the file does not say.
  constexpr int64_t kTopK = 50;
  options.top_k = metadata.top_k.value_or(options.sample ? kTopK : options.top_k);
  options.top_p = metadata.top_p.value_or(options.top_p);
  options.min_p = metadata.min_p.value_or(options.min_p);
  options.repetition_penalty = metadata.repetition_penalty.value_or(options.repetition_penalty);
  if (options.temperature == 0) options.sample = false;
  return options;
}

absl::Status CheckSampling(const SamplingOptions& options) {
#define SAMPLER(function, field, type, neutral, least, most, when, help)                          \
  if (!(options.field >= (least) && options.field <= (most))) {                                   \
    return InvalidArgument("--", absl::StrReplaceAll(#field, {{"_", "-"}}), ": expected ", least, \
                           " to ", most, ", found ", options.field);                              \
  }
#include "runtime/sampling/samplers.def"
  return absl::OkStatus();
}

void ApplySamplers(const SamplingOptions& options, absl::Span<const int32_t> text,
                   Candidates* candidates) {
#define SAMPLER(function, field, type, neutral, least, most, when, ...) \
  if (options.field != (neutral) && (options.sample || (when))) {       \
    function(options, text, candidates);                                \
  }
#include "runtime/sampling/samplers.def"
}

int32_t FirstLargest(absl::Span<const float> logits) {
  int32_t best = -1;
  float most = -INFINITY;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] > most)) continue;  // nor a NaN
    most = logits[i];
    best = static_cast<int32_t>(i);
  }
  return best;
}

absl::StatusOr<int32_t> CheckChosen(int32_t id) {
  if (id >= 0) return id;
  return absl::InternalError("sampling: expected a logit that is a number, found none");
}

int32_t Draw(const Candidates& candidates, double uniform) {
  const float most = HighestScore(candidates);
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

bool Sampler::Draws() const { return options_.sample && options_.temperature != 0; }

bool Sampler::TakesLargest() const { return !Draws() && !ChangesGreedy(options_); }

absl::StatusOr<int32_t> Sampler::Choose(absl::Span<const float> logits,
                                        absl::Span<const int32_t> text) {
  NINFER_ASSIGN_OR_RETURN(const int32_t best, CheckChosen(FirstLargest(logits)));
  if (TakesLargest()) return best;
  const bool draws = Draws();
  if (draws && std::isinf(logits[best])) {
    return absl::InternalError("sampling: expected finite logits, found inf");
  }
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i]) && logits[i] != -INFINITY) {
      candidates_.push_back({static_cast<int32_t>(i), logits[i]});
    }
  }
  ApplySamplers(options_, text, &candidates_);
  if (draws) return Draw(candidates_, PhiloxUniform(options_.seed, drawn_++));
  const auto lower = [](const Candidate& a, const Candidate& b) { return a.score < b.score; };
  return std::max_element(candidates_.begin(), candidates_.end(), lower)->id;
}

}  // namespace ninfer::runtime
