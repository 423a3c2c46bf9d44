// Runs a plan's @step on a CUDA card. Weights, cache and arena lie in the card's memory; a step
// sends its arguments, launches the plan's kernels in order, and brings the logits back. Steps of
// few tokens are recorded once for each bucket of sizes, as a CUDA graph that reads everything else
// from the card's memory. Tested by tests/cuda_driver_test.cc.
#ifndef NINFER_CUDA_DRIVER_CUDA_EXECUTOR_H_
#define NINFER_CUDA_DRIVER_CUDA_EXECUTOR_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "cuda/driver/driver.h"
#include "runtime/executor.h"
#include "runtime/step_check.h"
#include "runtime/step_layout.h"

namespace ninfer::cuda {

// The image of the plan that the card runs: code for it, else the newest PTX that it takes; null
// where there is neither.
const plan::CardImage* ChooseImage(const plan::Plan& plan, int capability);
// "code for sm_90 or PTX up to it": what ChooseImage did not find, beside what there is.
std::string MissingImage(const plan::Plan& plan, const Card& card);

struct CudaExecutorOptions {
  int64_t total_pages = 0;                    // of the cache, as runtime::KvLimitsOf takes them
  std::function<void(double done)> progress;  // of loading the weights; may be empty
};

class CudaExecutor : public runtime::Executor {
 public:
  // Refuses a plan without code for the card, and one that does not fit its free memory, saying how
  // much it needs and what would fit.
  static absl::StatusOr<std::unique_ptr<CudaExecutor>> Create(
      std::shared_ptr<const plan::LoadedPlan> plan, const Driver* driver, const Card& card,
      const CudaExecutorOptions& options);
  ~CudaExecutor() override;

  const plan::Metadata& metadata() const override { return plan_->plan.metadata; }
  const runtime::ExecutorLimits& limits() const override { return layout_->limits(); }
  // Kernels read no position that no row sees.
  void ClearPage(int group, int32_t page) override {}
  absl::Status Step(const runtime::StepInput& input, float* logits) override;
  absl::Status StepGreedy(const runtime::StepInput& input, int32_t* ids) override;
  int64_t BytesPerToken(int64_t cached) const override {
    return weight_bytes_read_ + layout_->CacheBytesRead(cached);
  }
  int64_t CacheBytes(int64_t positions) const override { return layout_->CacheBytes(positions); }
  int64_t scratch_bytes() const override { return static_cast<int64_t>(arena_.bytes()); }
  std::string description() const override;
  // By copies within the card's memory, bytes read and written.
  double MeasureBandwidth(double seconds) override;

 private:
  // A launch's operands as addresses, and its kernel's functions.
  struct Launch {
    std::vector<uint64_t> operands;     // and the dimensions behind them
    const std::vector<int>* functions;  // of plan.cards->functions, by most_rows
  };

  CudaExecutor(std::shared_ptr<const plan::LoadedPlan> plan, const Card& card)
      : plan_(std::move(plan)), card_(card) {}
  absl::Status Load(const Driver* driver, const CudaExecutorOptions& options);
  absl::Status LoadFunctions();
  absl::Status CheckFits() const;
  absl::Status AllocateCache();
  absl::Status LoadWeights(const std::function<void(double)>& progress);
  absl::Status PlaceArguments();
  void PlaceLaunches();
  uint64_t OperandAddress(const plan::Operand& operand) const;

  // The step's dimensions rounded up to those of its bucket.
  std::vector<int32_t> BucketOf(const std::vector<int32_t>& dims) const;
  absl::Status Run(const runtime::StepInput& input, int32_t buffer, uint64_t bytes);
  absl::Status LaunchAll(const std::vector<int32_t>& dims);
  absl::Status LaunchGraph(const std::vector<int32_t>& dims);

  std::shared_ptr<const plan::LoadedPlan> plan_;
  Card card_;
  const plan::Entry* entry_ = nullptr;
  absl::optional<runtime::StepLayout> layout_;
  std::unique_ptr<runtime::StepChecker> checker_;
  int64_t weight_bytes_read_ = 0;  // by one decode step

  std::unique_ptr<Context> context_;
  void* stream_ = nullptr;
  void* module_ = nullptr;
  std::vector<void*> functions_;              // as plan.cards->functions
  std::vector<std::vector<int>> of_kernel_;   // functions of each kernel, in order
  std::vector<std::vector<int64_t>> bounds_;  // of each symbol: where buckets end, ascending
  DeviceMemory weights_, arena_, arguments_;
  std::vector<DeviceMemory> pools_;  // one for each layer
  // Arguments and dimensions as they are sent, and logits or ids as they come.
  PinnedMemory sent_, received_;
  std::vector<int64_t> argument_places_;  // in four-byte values, by argument
  int64_t dims_place_ = 0;
  std::vector<Launch> launches_;
  std::map<std::vector<int32_t>, void*> graphs_;  // by bucket
};

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_DRIVER_CUDA_EXECUTOR_H_
