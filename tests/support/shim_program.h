// A kernel program run by its generated CUDA C++ on the host shim: the step's arguments in, logits
// out, as eager::ProgramInterpreter. Arena, outputs and KV pools hold NaN before the first step,
// and the arena again before every other.
#ifndef NINFER_TESTS_SUPPORT_SHIM_PROGRAM_H_
#define NINFER_TESTS_SUPPORT_SHIM_PROGRAM_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cuda/host_shim/host_module.h"
#include "eager/eager.h"
#include "ir/weights.h"
#include "program/program.h"

namespace ninfer {

class ShimProgram {
 public:
  // A laid-out, scheduled program with its buffers planned. The source is left in the test's folder
  // under `name`.
  static absl::StatusOr<std::unique_ptr<ShimProgram>> Create(const program::Program* program,
                                                             const ir::WeightSource& weights,
                                                             int64_t kv_pages,
                                                             const std::string& name);

  absl::StatusOr<eager::Tensor> Run(const eager::StepArguments& arguments);
  // The ids that the last step found; no tensor where the program does not look for them.
  eager::Tensor Argmax();
  const cuda::Source& source() const { return module_->source(); }

 private:
  ShimProgram() = default;
  uint8_t* BufferAt(int buffer);

  const program::Program* program_ = nullptr;
  std::unique_ptr<cuda::HostModule> module_;
  int64_t kv_pages_ = 0;
  std::vector<int64_t> dims_;  // of the last step
  std::vector<int64_t> weight_offsets_;
  std::vector<uint8_t> weights_, arena_;
  std::vector<std::vector<uint8_t>> pools_;
};

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_SHIM_PROGRAM_H_
