// A plan's code in memory: one segment to execute and one read-only, position-independent, so that
// loading is mapping. Never writable and executable at once. Tested by
// tests/runtime_cpu_image_test.cc.
#ifndef NINFER_RUNTIME_CPU_IMAGE_H_
#define NINFER_RUNTIME_CPU_IMAGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "plan/plan.h"

namespace ninfer::runtime {

class GdbRegistration;

// What target code exports for a kernel; see program/program.h.
using KernelFunction = void (*)(void* const* operands, const int32_t* dims, int64_t begin,
                                int64_t end, void* scratch);

struct CpuImageOptions {
  // Appends to /tmp/perf-PID.map, where perf looks for the names of code without a file.
  bool perf_map = false;
};

class CpuImage {
 public:
  // `kernels` gives names where the image has none.
  static absl::StatusOr<std::unique_ptr<CpuImage>> Load(const plan::CodeImage& image,
                                                        const std::vector<plan::Kernel>& kernels,
                                                        const CpuImageOptions& options);
  ~CpuImage();
  CpuImage(const CpuImage&) = delete;
  CpuImage& operator=(const CpuImage&) = delete;

  KernelFunction kernel(uint32_t index) const { return kernels_[index]; }

 private:
  CpuImage(uint8_t* code, uint64_t bytes);
  uint8_t* code_;
  uint64_t bytes_;
  std::vector<KernelFunction> kernels_;
  std::unique_ptr<GdbRegistration> gdb_;
};

// The image with the most required features of those that this CPU can run; null when there is
// none.
const plan::CodeImage* ChooseImage(const plan::Plan& plan,
                                   const absl::flat_hash_set<std::string>& features);

// One line: which features each image needs and this CPU lacks.
std::string MissingFeatures(const plan::Plan& plan,
                            const absl::flat_hash_set<std::string>& features);

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CPU_IMAGE_H_
