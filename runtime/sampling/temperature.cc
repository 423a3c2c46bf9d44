// Temperature, as TemperatureLogitsWarper of transformers. Tested by
// tests/runtime_sampling_test.cc.
#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {

void ScaleByTemperature(const SamplingOptions& options, Candidates* candidates) {
  const float temperature = static_cast<float>(options.temperature);
  for (Candidate& candidate : *candidates) candidate.score /= temperature;
}

}  // namespace ninfer::runtime
