// Tested by tests/runtime_pictures_test.cc.
#include "runtime/executor.h"

#include "base/status.h"

namespace ninfer::runtime {

absl::Status Executor::See(const VisionInput& input, float* rows) {
  return InvalidArgument("pictures: expected a model that sees, found one that does not");
}

}  // namespace ninfer::runtime
