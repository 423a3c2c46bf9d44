// One entry of a plan on the CPU: its code, its arena, its arguments and its list of launches with
// barriers. Running it computes nothing but kernel calls: every address is known when it is placed,
// and threads keep the same units for life. What the arguments mean is its caller's business.
// Tested by tests/runtime_cpu_executor_test.cc.
#ifndef NINFER_RUNTIME_CPU_FUNCTION_H_
#define NINFER_RUNTIME_CPU_FUNCTION_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "plan/memory.h"
#include "plan/plan.h"
#include "runtime/cpu_image.h"
#include "runtime/thread_pool.h"

namespace ninfer::runtime {

// When each launch of a run began and ended on each thread, in nanoseconds of a clock that only
// goes forwards. What lies between two launches is the wait for other threads.
struct LaunchTimes {
  struct Span {
    int64_t begin = 0, end = 0;
  };
  std::vector<std::vector<Span>> threads;  // [threads, launches]
};

class CpuFunction {
 public:
  // `plan`, `weights` and `pool` must outlive the function. Refuses a plan without the entry, or
  // without code for this CPU.
  static absl::StatusOr<std::unique_ptr<CpuFunction>> Create(const plan::Plan* plan,
                                                             const uint8_t* weights,
                                                             absl::string_view entry,
                                                             ThreadPool* pool);

  // Loads the code and takes memory, once. `length` tells how many four-byte values an argument has
  // at most, -1 for one that is not known; `pools` are the caches' first bytes, by layer.
  absl::Status Place(absl::FunctionRef<int64_t(absl::string_view argument)> length,
                     std::vector<uint8_t*> pools, bool perf_map);

  const plan::Entry& entry() const { return *entry_; }
  const plan::CodeImage& code() const { return *code_; }
  const plan::Buffer& output() const { return plan_->buffers[entry_->output]; }
  uint64_t scratch_bytes() const { return arena_->bytes(); }  // arena, replicas and thread scratch

  // Null where the entry does not take the argument.
  int32_t* argument(absl::string_view name);
  float* rows_argument(absl::string_view name) { return reinterpret_cast<float*>(argument(name)); }
  void SetDim(absl::string_view symbol, int64_t value);
  int64_t Dim(absl::string_view symbol) const;  // 0 where there is none

  // Runs all launches on all threads, then `finish` on each. `rows`, and the dimension S beside it,
  // decide which barriers stand (plan::Barrier). Launches of which `watches` is true call `watch`
  // from one thread, the others waiting.
  struct Watch {
    std::vector<bool> launches;
    std::function<void(size_t launch)> call;
  };
  void Run(int64_t rows, absl::FunctionRef<void(int thread)> finish, const Watch* watch = nullptr);

  // Every later run notes its times in `times`, which must outlive it; null, as at first: it asks
  // no clock.
  void Time(LaunchTimes* times);

  // The buffer's bytes after the launches, as `thread` sees them.
  const uint8_t* Result(uint32_t buffer, int thread) const {
    return BufferAddress(buffer, few_rows_ ? thread : 0);
  }
  const uint8_t* SharedResult(uint32_t buffer) const { return BufferAddress(buffer, 0); }

 private:
  struct Step {
    KernelFunction kernel;
    plan::Barrier barrier;
    bool replicated;
    int64_t factor, block;
    int32_t symbol;
    size_t first_operand;  // in the operand tables
  };

  CpuFunction(const plan::Plan* plan, const uint8_t* weights, ThreadPool* pool)
      : plan_(plan), weights_(weights), pool_(pool) {}
  absl::Status Allocate();
  absl::Status PlaceArguments(absl::FunctionRef<int64_t(absl::string_view)> length);
  void PlaceLaunches();
  void* OperandAddress(const plan::Operand& operand, int thread) const;
  uint8_t* BufferAddress(uint32_t buffer, int thread) const;
  void RunThread(int thread, absl::FunctionRef<void(int)> finish, const Watch* watch);

  const plan::Plan* plan_;
  const uint8_t* weights_;
  ThreadPool* pool_;
  const plan::Entry* entry_ = nullptr;
  const plan::CodeImage* code_ = nullptr;
  std::unique_ptr<CpuImage> image_;

  // [arena][replicas of thread 0][of thread 1]...[scratch of thread 0]...
  std::unique_ptr<plan::Memory> arena_;
  uint64_t replica_stride_ = 0, scratch_stride_ = 0;
  std::vector<uint8_t*> pools_;

  std::vector<int32_t> argument_data_;
  std::vector<int32_t*> arguments_;  // by index in entry_->arguments
  std::vector<int32_t> dims_;        // by index in plan.symbols
  std::vector<Step> launches_;
  std::vector<int64_t> unit_counts_;  // of each launch, in the step that runs
  std::vector<bool> meets_;           // before each launch, in the step that runs
  bool few_rows_ = false;             // the step that runs
  LaunchTimes* times_ = nullptr;
  // Operand addresses of all launches: for steps of many rows, and for each thread in steps of few
  // rows (replicated buffers differ).
  std::vector<void*> many_operands_;
  std::vector<std::vector<void*>> few_operands_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CPU_FUNCTION_H_
