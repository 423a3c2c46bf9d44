// Tested by tests/runtime_cpu_executor_test.cc.
#include "runtime/cpu_function.h"

#include <algorithm>
#include <chrono>

#include "absl/container/flat_hash_set.h"
#include "base/machine.h"
#include "base/status.h"
#include "runtime/step_layout.h"

namespace ninfer::runtime {
namespace {

constexpr uint64_t kStrideAlignment = 4096;

uint64_t AlignStride(uint64_t bytes) {
  return (bytes + kStrideAlignment - 1) / kStrideAlignment * kStrideAlignment;
}

int64_t Nanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// Whether the barrier stands in a step of many rows, or of one in which a sequence has several.
bool Stands(plan::Barrier barrier, bool many, bool prefill) {
  switch (barrier) {
    case plan::Barrier::kNone:
      return false;
    case plan::Barrier::kMany:
      return many;
    case plan::Barrier::kPrefill:
      return prefill;
    case plan::Barrier::kManyOrPrefill:
      return many || prefill;
    case plan::Barrier::kAlways:
      return true;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuFunction>> CpuFunction::Create(const plan::Plan* plan,
                                                                 const uint8_t* weights,
                                                                 absl::string_view entry,
                                                                 ThreadPool* pool) {
  std::unique_ptr<CpuFunction> function(new CpuFunction(plan, weights, pool));
  NINFER_ASSIGN_OR_RETURN(function->entry_, FindEntry(*plan, entry));
  const absl::flat_hash_set<std::string> features = CpuFeatures();
  function->code_ = ChooseImage(*plan, features);
  if (function->code_ == nullptr)
    return InvalidArgument("plan: ", MissingFeatures(*plan, features));
  function->dims_.assign(plan->symbols.size(), 0);
  return function;
}

absl::Status CpuFunction::Place(absl::FunctionRef<int64_t(absl::string_view)> length,
                                std::vector<uint8_t*> pools, bool perf_map) {
  pools_ = std::move(pools);
  NINFER_ASSIGN_OR_RETURN(image_, CpuImage::Load(*code_, plan_->kernels, {.perf_map = perf_map}));
  NINFER_RETURN_IF_ERROR(Allocate());
  NINFER_RETURN_IF_ERROR(PlaceArguments(length));
  PlaceLaunches();
  return absl::OkStatus();
}

absl::Status CpuFunction::Allocate() {
  uint64_t scratch = 0;
  for (const plan::Launch& launch : entry_->launches) {
    scratch = std::max(scratch, plan_->kernels[launch.kernel].scratch_bytes);
  }
  replica_stride_ = AlignStride(entry_->replica_bytes);
  scratch_stride_ = AlignStride(scratch);
  NINFER_ASSIGN_OR_RETURN(
      arena_, plan::Memory::Allocate(AlignStride(entry_->arena_bytes) +
                                         pool_->size() * (replica_stride_ + scratch_stride_),
                                     "arena"));
  return absl::OkStatus();
}

absl::Status CpuFunction::PlaceArguments(absl::FunctionRef<int64_t(absl::string_view)> length) {
  std::vector<int64_t> offsets;
  int64_t total = 0;
  for (const std::string& name : entry_->arguments) {
    const int64_t count = length(name);
    if (count < 0) return InvalidArgument("plan: argument ", name, ": expected a known one");
    offsets.push_back(total);
    total += (count + 15) / 16 * 16;
  }
  argument_data_.assign(total, 0);
  for (int64_t offset : offsets) arguments_.push_back(argument_data_.data() + offset);
  return absl::OkStatus();
}

uint8_t* CpuFunction::BufferAddress(uint32_t index, int thread) const {
  const plan::Buffer& buffer = plan_->buffers[index];
  if (!buffer.replicated) return arena_->data() + buffer.offset;
  return arena_->data() + AlignStride(entry_->arena_bytes) + thread * replica_stride_ +
         buffer.offset;
}

void* CpuFunction::OperandAddress(const plan::Operand& operand, int thread) const {
  switch (operand.kind) {
    case plan::OperandKind::kBuffer:
      return BufferAddress(operand.index, thread);
    case plan::OperandKind::kWeight:
      // Kernels take all operands alike; they never write to a weight.
      return const_cast<uint8_t*>(weights_ + plan_->weights[operand.index].offset);
    case plan::OperandKind::kArgument:
      return arguments_[operand.index];
    case plan::OperandKind::kKv:
      return pools_[operand.index];
  }
  return nullptr;
}

void CpuFunction::PlaceLaunches() {
  few_operands_.resize(pool_->size());
  for (const plan::Launch& launch : entry_->launches) {
    launches_.push_back({image_->kernel(launch.kernel), launch.barrier, launch.replicated,
                         launch.factor, launch.block, launch.symbol, many_operands_.size()});
    for (const plan::Operand& operand : launch.operands) {
      many_operands_.push_back(OperandAddress(operand, 0));
      for (int thread = 0; thread < pool_->size(); ++thread) {
        few_operands_[thread].push_back(OperandAddress(operand, thread));
      }
    }
  }
  unit_counts_.resize(launches_.size());
  meets_.resize(launches_.size());
}

int32_t* CpuFunction::argument(absl::string_view name) {
  for (size_t i = 0; i < arguments_.size(); ++i) {
    if (entry_->arguments[i] == name) return arguments_[i];
  }
  return nullptr;
}

void CpuFunction::SetDim(absl::string_view symbol, int64_t value) {
  for (size_t i = 0; i < dims_.size(); ++i) {
    if (plan_->symbols[i].name == symbol) dims_[i] = static_cast<int32_t>(value);
  }
}

int64_t CpuFunction::Dim(absl::string_view symbol) const {
  for (size_t i = 0; i < dims_.size(); ++i) {
    if (plan_->symbols[i].name == symbol) return dims_[i];
  }
  return 0;
}

void CpuFunction::Run(int64_t rows, absl::FunctionRef<void(int thread)> finish,
                      const Watch* watch) {
  few_rows_ = rows <= entry_->few_rows;
  const bool prefill = rows > Dim("S");
  for (size_t i = 0; i < launches_.size(); ++i) {
    const Step& launch = launches_[i];
    unit_counts_[i] =
        launch.symbol < 0
            ? launch.factor
            : launch.factor * ((dims_[launch.symbol] + launch.block - 1) / launch.block);
    meets_[i] = Stands(launch.barrier, !few_rows_, prefill);
  }
  pool_->Run([&](int thread) { RunThread(thread, finish, watch); });
}

void CpuFunction::Time(LaunchTimes* times) {
  times_ = times;
  if (times == nullptr) return;
  times->threads.assign(pool_->size(), std::vector<LaunchTimes::Span>(launches_.size()));
}

void CpuFunction::RunThread(int thread, absl::FunctionRef<void(int)> finish, const Watch* watch) {
  const int threads = pool_->size();
  void* const* operands = few_rows_ ? few_operands_[thread].data() : many_operands_.data();
  void* scratch = arena_->data() + AlignStride(entry_->arena_bytes) + threads * replica_stride_ +
                  thread * scratch_stride_;
  LaunchTimes::Span* times = times_ == nullptr ? nullptr : times_->threads[thread].data();
  for (size_t i = 0; i < launches_.size(); ++i) {
    const Step& launch = launches_[i];
    if (meets_[i]) pool_->Meet();
    const UnitRange units = few_rows_ && launch.replicated
                                ? UnitRange{0, unit_counts_[i]}
                                : DealUnits(unit_counts_[i], thread, threads);
    if (times != nullptr) times[i].begin = Nanoseconds();
    if (units.begin < units.end) {
      launch.kernel(operands + launch.first_operand, dims_.data(), units.begin, units.end, scratch);
    }
    if (times != nullptr) times[i].end = Nanoseconds();
    if (watch == nullptr || !watch->launches[i]) continue;
    pool_->Meet();
    if (thread == 0) watch->call(i);
    pool_->Meet();
  }
  pool_->Meet();
  finish(thread);
}

}  // namespace ninfer::runtime
