// The @vision of a plan on the CPU: patches of a picture's frame to rows of embeddings.
// Tested by tests/vision_test.cc.
#ifndef NINFER_RUNTIME_CPU_VISION_H_
#define NINFER_RUNTIME_CPU_VISION_H_

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/cpu_function.h"
#include "runtime/executor.h"
#include "runtime/step_layout.h"

namespace ninfer::runtime {

// Refuses what does not belong to `vision`: sizes, and numbers of patches and positions that are
// none.
absl::Status CheckVisionInput(const VisionInput& input, const plan::Vision& vision);

class CpuVision {
 public:
  // `vision`, which has a function, `weights` and `pool` must outlive the object.
  static absl::StatusOr<std::unique_ptr<CpuVision>> Create(const plan::Vision& vision,
                                                           const uint8_t* weights, ThreadPool* pool,
                                                           bool perf_map);
  absl::Status Run(const VisionInput& input, float* rows);

 private:
  CpuVision(const plan::Vision& vision, std::unique_ptr<CpuFunction> function)
      : vision_(vision), function_(std::move(function)) {}
  absl::Status CheckOutput() const;

  const plan::Vision& vision_;
  std::unique_ptr<CpuFunction> function_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CPU_VISION_H_
