// Temperature, as TemperatureLogitsWarper of transformers. Tested by
// tests/runtime_sampling_test.cc.
#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {

void ScaleByTemperature(const SamplingOptions& options, absl::Span<const int32_t> text,
                        Candidates* candidates) {
  const float temperature = static_cast<float>(options.temperature);
  float most = -INFINITY, largest = 0;
  for (const Candidate& candidate : *candidates) {
    most = std::max(most, candidate.score);
    largest = std::max(largest, std::abs(candidate.score));
  }
  if (std::isfinite(largest / temperature) || !std::isfinite(largest)) {
    for (Candidate& candidate : *candidates) candidate.score /= temperature;
    return;
  }
  // So low that quotients overflow. Less the greatest score, which changes no probability, none of
  // them can but downwards, to the lowest number.
  constexpr double kLowest = std::numeric_limits<float>::lowest();
  for (Candidate& candidate : *candidates) {
    const double below = static_cast<double>(candidate.score) - most;
    candidate.score = static_cast<float>(std::max(below / options.temperature, kLowest));
  }
}

}  // namespace ninfer::runtime
