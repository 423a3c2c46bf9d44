// Runs a plan's code on the CPU: the arena, the caches, and the list of launches with its barriers.
// A step computes nothing but kernel calls: every address is known when the executor is made, and
// threads keep the same units for life. Tested by tests/runtime_cpu_executor_test.cc.
#ifndef NINFER_RUNTIME_CPU_EXECUTOR_H_
#define NINFER_RUNTIME_CPU_EXECUTOR_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/kv_groups.h"
#include "plan/memory.h"
#include "runtime/cpu_image.h"
#include "runtime/executor.h"
#include "runtime/step_check.h"
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
  const ExecutorLimits& limits() const override { return limits_; }
  void ClearPage(int group, int32_t page) override;
  absl::Status Step(const StepInput& input, float* logits) override;
  int64_t BytesPerToken(int64_t cached) const override;
  int64_t CacheBytes(int64_t positions) const override;
  int64_t scratch_bytes() const override { return static_cast<int64_t>(arena_->bytes()); }
  std::string description() const override;

  ThreadPool* pool() { return &pool_; }
  const plan::LoadedPlan& plan() const { return *plan_; }

 private:
  struct StepLaunch {
    KernelFunction kernel;
    plan::Barrier barrier;
    bool replicated;
    int64_t factor, block;
    int32_t symbol;
    size_t first_operand;          // in the operand tables
    std::vector<uint32_t> dump;    // buffers to hand to the dump after it
    uint32_t probabilities = ~0u;  // of attention, among them
  };

  CpuExecutor(std::shared_ptr<const plan::LoadedPlan> plan, const CpuExecutorOptions& options);
  absl::Status ReadLimits(int64_t total_pages);
  absl::Status ReadKvGroups(int64_t total_pages);
  absl::Status CheckOutput() const;
  absl::Status Allocate();
  absl::Status PlaceArguments();
  void PlaceLaunches();
  void* OperandAddress(const plan::Operand& operand, int thread) const;
  uint8_t* BufferAddress(uint32_t buffer, int thread) const;
  int32_t* DimOf(absl::string_view symbol);
  int GroupOf(absl::string_view page_table) const;

  void CopyArguments(const StepInput& input);
  void RunThread(int thread, const StepInput& input, float* logits);
  void CopyLogits(int thread, const StepInput& input, float* logits) const;
  bool IsProbabilities(const plan::Launch& launch, const plan::Buffer& buffer) const;
  void Dump(const StepLaunch& launch, const StepInput& input);
  void DumpProbabilities(const std::string& name, const RowType& type, const float* from,
                         int64_t stride, const StepInput& input);

  std::shared_ptr<const plan::LoadedPlan> plan_;
  const plan::Entry* entry_ = nullptr;
  const plan::CodeImage* code_ = nullptr;
  TensorDump* dump_;
  ThreadPool pool_;
  ExecutorLimits limits_;
  std::unique_ptr<StepChecker> checker_;
  std::unique_ptr<CpuImage> image_;

  // [arena][replicas of thread 0][of thread 1]...[scratch of thread 0]...
  std::unique_ptr<plan::Memory> arena_;
  uint64_t replica_stride_ = 0, scratch_stride_ = 0;
  std::vector<plan::KvGroup> kv_groups_;                 // as limits_.kv_groups
  std::vector<std::unique_ptr<plan::Memory>> kv_pools_;  // one for each layer
  std::vector<std::vector<bool>> used_pages_;  // by group: handed out before, no longer zero

  std::vector<int32_t> argument_data_;
  std::vector<int32_t*> arguments_;  // by index in entry_->arguments
  std::vector<int32_t> dims_;        // by index in plan.symbols
  std::vector<StepLaunch> launches_;
  std::vector<int64_t> unit_counts_;  // of each launch, in the step that runs
  bool few_rows_ = false;             // the step that runs
  // Operand addresses of all launches: for steps of many rows, and for each thread in steps of few
  // rows (replicated buffers differ).
  std::vector<void*> many_operands_;
  std::vector<std::vector<void*>> few_operands_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CPU_EXECUTOR_H_
