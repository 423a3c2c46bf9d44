// From logits to a token: greedy, or the stages of samplers.def and a draw from what they leave.
// Agrees with the logits processors of Hugging Face transformers, in their order. The draw uses a
// counter-based generator, so that a seed and the number of tokens drawn before fix the token.
// Tested by tests/runtime_sampling_test.cc.
#ifndef NINFER_RUNTIME_SAMPLING_SAMPLING_H_
#define NINFER_RUNTIME_SAMPLING_SAMPLING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "plan/plan.h"

namespace ninfer::runtime {

// When a stage of samplers.def is applied.
inline constexpr bool kAlways = true, kSampled = false;

struct SamplingOptions {
  bool sample = false;  // false: the most likely token, the lowest id of those that tie
  uint64_t seed = 0;
#define SAMPLER(function, field, type, neutral, ...) type field = neutral;
#include "runtime/sampling/samplers.def"
};

// What the model's generation_config.json asks for. Absent keys are as in generate(): neutral, but
// for top_k, which is 50 where the file has the model sample.
SamplingOptions DefaultSampling(const plan::Metadata& metadata);
// Values within the bounds of samplers.def; messages name the flag.
absl::Status CheckSampling(const SamplingOptions& options);

struct Candidate {
  int32_t id;
  float score;
};
// Ascending by id. A stage changes scores or takes candidates out, and leaves one at least; `text`
// is all ids so far.
using Candidates = std::vector<Candidate>;
float HighestScore(const Candidates& candidates);

#define SAMPLER(function, ...)                                                  \
  void function(const SamplingOptions& options, absl::Span<const int32_t> text, \
                Candidates* candidates);
#include "runtime/sampling/samplers.def"

// All stages that are not neutral, in order; without sampling those that are for greedy, too.
void ApplySamplers(const SamplingOptions& options, absl::Span<const int32_t> text,
                   Candidates* candidates);

// The id of the highest logit, the lowest id of those that tie; -1 where none is above -inf.
int32_t FirstLargest(absl::Span<const float> logits);
// The id that FirstLargest gave; an error where it gave none.
absl::StatusOr<int32_t> CheckChosen(int32_t id);

// The candidate on which `uniform`, from [0, 1), falls when each takes its softmax probability.
int32_t Draw(const Candidates& candidates, double uniform);

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options) {}
  // `text`: the ids before it, prompt and all. Refuses logits of which none is a number, and, where
  // a token is drawn, infinite ones, of which there are no probabilities.
  absl::StatusOr<int32_t> Choose(absl::Span<const float> logits, absl::Span<const int32_t> text);
  // Whether it always chooses the largest logit.
  bool TakesLargest() const;

 private:
  bool Draws() const;

  SamplingOptions options_;
  uint64_t drawn_ = 0;
  Candidates candidates_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_SAMPLING_SAMPLING_H_
