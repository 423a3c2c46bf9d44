// Tested by tests/runtime_pictures_test.cc.
#include "runtime/executor.h"

#include <algorithm>

#include "base/status.h"
#include "runtime/sampling/sampling.h"

namespace ninfer::runtime {

absl::Status Executor::StepGreedy(const StepInput& input, int32_t* ids) {
  const size_t vocab = metadata().vocab_size, rows = input.rows.size();
  logits_.resize(std::max(logits_.size(), rows * vocab));
  NINFER_RETURN_IF_ERROR(Step(input, logits_.data()));
  for (size_t i = 0; i < rows; ++i) {
    ids[i] = FirstLargest(absl::MakeConstSpan(logits_).subspan(i * vocab, vocab));
  }
  return absl::OkStatus();
}

absl::Status Executor::See(const VisionInput& input, float* rows) {
  return InvalidArgument("pictures: expected a model that sees, found one that does not");
}

}  // namespace ninfer::runtime
