// Runs a plan's code on the CPU: its @step with the caches, and the @vision of a model that sees.
// Tested by tests/runtime_cpu_executor_test.cc.
#ifndef NINFER_RUNTIME_CPU_EXECUTOR_H_
#define NINFER_RUNTIME_CPU_EXECUTOR_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "plan/memory.h"
#include "runtime/cpu_function.h"
#include "runtime/cpu_vision.h"
#include "runtime/executor.h"
#include "runtime/step_check.h"
#include "runtime/step_layout.h"
#include "runtime/tensor_dump.h"
#include "runtime/thread_pool.h"

namespace ninfer::runtime {

struct CpuExecutorOptions {
  int threads = 0;          // 0: what the affinity mask and the cgroup's quota allow
  int64_t total_pages = 0;  // of the cache, as KvLimitsOf takes them
  bool perf_map = false;
  // Receives the buffers that it matches, each after the launch that writes it. Must outlive the
  // executor; steps take longer with it.
  TensorDump* dump = nullptr;
};

class CpuExecutor : public Executor {
 public:
  // Refuses a plan without an entry `step`, with arguments that it does not know, or without code
  // for this CPU.
  static absl::StatusOr<std::unique_ptr<CpuExecutor>> Create(
      std::shared_ptr<const plan::LoadedPlan> plan, const CpuExecutorOptions& options);

  const plan::Metadata& metadata() const override { return plan_->plan.metadata; }
  const ExecutorLimits& limits() const override { return layout_->limits(); }
  void ClearPage(int group, int32_t page) override;
  absl::Status Step(const StepInput& input, float* logits) override;
  absl::Status StepGreedy(const StepInput& input, int32_t* ids) override;
  const plan::Vision* vision() const override {
    return plan_->plan.vision.has_value() ? &*plan_->plan.vision : nullptr;
  }
  absl::Status See(const VisionInput& input, float* rows) override;
  int64_t BytesPerToken(int64_t cached) const override {
    return weight_bytes_read_ + layout_->CacheBytesRead(cached);
  }
  int64_t CacheBytes(int64_t positions) const override { return layout_->CacheBytes(positions); }
  int64_t scratch_bytes() const override {
    return static_cast<int64_t>(function_->scratch_bytes());
  }
  std::string description() const override;

  ThreadPool* pool() { return &pool_; }
  // Every later step notes when its launches ran, as CpuFunction::Time says; null: no step does.
  void TimeLaunches(LaunchTimes* times) { function_->Time(times); }
  const plan::LoadedPlan& plan() const { return *plan_; }

 private:
  // What the dump takes after a launch.
  struct Dumped {
    std::vector<uint32_t> buffers;
    uint32_t probabilities = ~0u;  // of attention, among them
  };

  CpuExecutor(std::shared_ptr<const plan::LoadedPlan> plan, const CpuExecutorOptions& options);
  absl::Status Place(bool perf_map);
  absl::Status AllocateCache();
  void ChooseDumps();

  // Runs the step's launches on all threads, then `finish` on each.
  absl::Status Run(const StepInput& input, absl::FunctionRef<void(int thread)> finish);
  void CopyLogits(int thread, const StepInput& input, float* logits) const;
  bool IsProbabilities(const plan::Launch& launch, const plan::Buffer& buffer) const;
  void Dump(const Dumped& dumped, const StepInput& input);
  void DumpProbabilities(const std::string& name, const RowType& type, const float* from,
                         int64_t stride, const StepInput& input);

  std::shared_ptr<const plan::LoadedPlan> plan_;
  TensorDump* dump_;
  ThreadPool pool_;
  absl::optional<StepLayout> layout_;
  int64_t weight_bytes_read_ = 0;  // by one decode step
  std::unique_ptr<StepChecker> checker_;
  std::vector<std::unique_ptr<plan::Memory>> kv_pools_;  // one for each layer
  std::vector<std::vector<bool>> used_pages_;            // by group: handed out before, not zero
  std::unique_ptr<CpuFunction> function_;                // @step
  std::unique_ptr<CpuVision> vision_;                    // of a model that sees
  std::vector<Dumped> dumped_;                           // by launch
  CpuFunction::Watch watch_;                             // `call` is unset when nothing is dumped
  const StepInput* input_ = nullptr;                     // of the step that runs
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CPU_EXECUTOR_H_
