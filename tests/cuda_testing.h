// The host shim in place of NVIDIA's driver and of NVRTC, for tests of plans for cards.
#ifndef NINFER_TESTS_CUDA_TESTING_H_
#define NINFER_TESTS_CUDA_TESTING_H_

#include <stdlib.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cuda/driver/cuda_executor.h"

namespace ninfer::cuda {

// The libraries are named before either is opened, which happens once:
// compiling for cards asks for this too.
inline void UseHostShim() {
  const std::string libraries = NINFER_BINARY_DIR "/lib/libninfer-shim-";
  setenv("NINFER_CUDA_DRIVER", absl::StrCat(libraries, "cuda.so").c_str(), 1);
  setenv("NINFER_NVRTC", absl::StrCat(libraries, "nvrtc.so").c_str(), 1);
}

inline absl::StatusOr<std::unique_ptr<CudaExecutor>> ExecuteOnShim(
    std::shared_ptr<const plan::LoadedPlan> plan, int64_t pages = 0) {
  NINFER_ASSIGN_OR_RETURN(const Driver* driver, Driver::Open());
  NINFER_ASSIGN_OR_RETURN(const std::vector<Card> cards, driver->ListCards());
  return CudaExecutor::Create(std::move(plan), driver, cards.at(0), {pages, {}});
}

}  // namespace ninfer::cuda

#endif  // NINFER_TESTS_CUDA_TESTING_H_
