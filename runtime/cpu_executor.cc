// Tested by tests/runtime_cpu_executor_test.cc.
#include "runtime/cpu_executor.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "base/status.h"

namespace ninfer::runtime {

absl::StatusOr<std::unique_ptr<CpuExecutor>> CpuExecutor::Create(
    std::shared_ptr<const plan::LoadedPlan> plan, const CpuExecutorOptions& options) {
  std::unique_ptr<CpuExecutor> executor(new CpuExecutor(std::move(plan), options));
  const plan::LoadedPlan& loaded = *executor->plan_;
  NINFER_ASSIGN_OR_RETURN(executor->function_, CpuFunction::Create(&loaded.plan, loaded.weights,
                                                                   "step", &executor->pool_));
  NINFER_ASSIGN_OR_RETURN(
      StepLayout layout,
      StepLayout::Create(&loaded.plan, &executor->function_->entry(), options.total_pages, {}));
  executor->layout_.emplace(std::move(layout));
  executor->checker_ =
      std::make_unique<StepChecker>(executor->layout_->limits(), loaded.plan.metadata.vocab_size);
  executor->weight_bytes_read_ = executor->layout_->WeightBytesRead(
      [&](uint32_t i) { return static_cast<int64_t>(loaded.plan.weights[i].bytes); });
  NINFER_RETURN_IF_ERROR(executor->Place(options.perf_map));
  if (loaded.plan.vision.has_value() && loaded.plan.vision->function != nullptr) {
    NINFER_ASSIGN_OR_RETURN(
        executor->vision_,
        CpuVision::Create(*loaded.plan.vision, loaded.weights, &executor->pool_, options.perf_map));
  }
  executor->ChooseDumps();
  if (options.dump != nullptr && !executor->watch_.call) return options.dump->NoneMatches();
  return executor;
}

CpuExecutor::CpuExecutor(std::shared_ptr<const plan::LoadedPlan> plan,
                         const CpuExecutorOptions& options)
    : plan_(std::move(plan)), dump_(options.dump), pool_(options.threads) {}

absl::Status CpuExecutor::Place(bool perf_map) {
  NINFER_RETURN_IF_ERROR(AllocateCache());
  std::vector<uint8_t*> pools;
  for (const auto& pool : kv_pools_) pools.push_back(pool->data());
  const auto length = [this](absl::string_view name) { return layout_->ArgumentLength(name); };
  return function_->Place(length, std::move(pools), perf_map);
}

absl::Status CpuExecutor::AllocateCache() {
  if (!limits().has_kv_cache) return absl::OkStatus();
  kv_pools_.resize(plan_->plan.kv_layers.size());
  for (size_t group = 0; group < layout_->kv_groups().size(); ++group) {
    const int64_t pages = limits().kv_groups[group].total_pages;
    used_pages_.emplace_back(pages, false);
    for (const int layer : layout_->kv_groups()[group].layers) {
      // A short text touches the first pages of each layer only: there, huge pages would mostly be
      // empty.
      NINFER_ASSIGN_OR_RETURN(
          kv_pools_[layer],
          plan::Memory::Allocate(
              static_cast<uint64_t>(pages * plan_->plan.kv_layers[layer].page_bytes), "cache",
              plan::kHugePage));
    }
  }
  return absl::OkStatus();
}

// The buffers that the dump matches, each at the launch that writes it.
void CpuExecutor::ChooseDumps() {
  if (dump_ == nullptr) return;
  const std::vector<plan::Launch>& launches = function_->entry().launches;
  watch_.launches.assign(launches.size(), false);
  dumped_.resize(launches.size());
  for (size_t i = 0; i < launches.size(); ++i) {
    for (const plan::Operand& operand : launches[i].operands) {
      if (operand.kind != plan::OperandKind::kBuffer) continue;
      const plan::Buffer& buffer = plan_->plan.buffers[operand.index];
      if (buffer.first_launch != static_cast<int64_t>(i) || !dump_->Matches(buffer.name) ||
          !ParseRowType(buffer.type).has_value()) {
        continue;
      }
      dumped_[i].buffers.push_back(operand.index);
      if (IsProbabilities(launches[i], buffer)) dumped_[i].probabilities = operand.index;
      watch_.launches[i] = true;
      watch_.call = [this](size_t launch) { Dump(dumped_[launch], *input_); };
    }
  }
}

// Naive attention keeps its probabilities in its last operand, f32[T,heads,positions]; no later
// launch reads them.
bool CpuExecutor::IsProbabilities(const plan::Launch& launch, const plan::Buffer& buffer) const {
  const absl::optional<RowType> type = ParseRowType(buffer.type);
  const plan::Operand& last = launch.operands.back();
  return plan_->plan.kernels[launch.kernel].family == "attention" &&
         last.kind == plan::OperandKind::kBuffer && &buffer == &plan_->plan.buffers[last.index] &&
         buffer.first_launch == buffer.last_launch && type.has_value() &&
         type->dtype == DType::kF32 && type->rows == "T" && type->trailing.size() == 2;
}

void CpuExecutor::ClearPage(int group, int32_t page) {
  if (group < 0 || group >= static_cast<int>(layout_->kv_groups().size())) return;
  if (page < 0 || page >= limits().kv_groups[group].total_pages) return;
  // Memory from the system is zero, and is not touched before it must be.
  if (used_pages_[group][page]) {
    for (const int layer : layout_->kv_groups()[group].layers) {
      const int64_t bytes = plan_->plan.kv_layers[layer].page_bytes;
      std::memset(kv_pools_[layer]->data() + page * bytes, 0, bytes);
    }
  }
  used_pages_[group][page] = true;
}

absl::Status CpuExecutor::Run(const StepInput& input, absl::FunctionRef<void(int thread)> finish) {
  NINFER_RETURN_IF_ERROR(checker_->Check(input));
  layout_->CopyArguments(input,
                         [this](absl::string_view name) { return function_->argument(name); });
  for (const plan::Symbol& symbol : plan_->plan.symbols) {
    function_->SetDim(symbol.name, layout_->Dim(symbol.name, input));
  }
  if (dump_ != nullptr) dump_->NextStep(/*whole_text=*/!limits().has_kv_cache);
  input_ = &input;
  function_->Run(static_cast<int64_t>(input.tokens.size()), finish,
                 watch_.call ? &watch_ : nullptr);
  return absl::OkStatus();
}

absl::Status CpuExecutor::Step(const StepInput& input, float* logits) {
  return Run(input, [&](int thread) { CopyLogits(thread, input, logits); });
}

absl::Status CpuExecutor::StepGreedy(const StepInput& input, int32_t* ids) {
  if (!layout_->finds_argmax()) return Executor::StepGreedy(input, ids);
  NINFER_RETURN_IF_ERROR(Run(input, [](int) {}));
  const uint8_t* found = function_->SharedResult(static_cast<uint32_t>(function_->entry().argmax));
  std::memcpy(ids, found, input.rows.size() * sizeof(int32_t));
  return absl::OkStatus();
}

absl::Status CpuExecutor::See(const VisionInput& input, float* rows) {
  if (vision_ == nullptr) return Executor::See(input, rows);
  return vision_->Run(input, rows);
}

// Each thread copies its part of the columns: of one row, too, all threads take part.
void CpuExecutor::CopyLogits(int thread, const StepInput& input, float* logits) const {
  const uint32_t index = static_cast<uint32_t>(function_->entry().output);
  const float* from = reinterpret_cast<const float*>(function_->Result(index, thread));
  const UnitRange part = DealUnits(metadata().vocab_size, thread, pool_.size());
  layout_->CopyLogits(input, from, part.begin, part.end, logits);
}

void CpuExecutor::Dump(const Dumped& dumped, const StepInput& input) {
  for (uint32_t index : dumped.buffers) {
    const plan::Buffer& buffer = plan_->plan.buffers[index];
    const absl::optional<RowType> type = ParseRowType(buffer.type);
    if (!type.has_value()) continue;
    int64_t rows = 0;
    const bool numbered = absl::SimpleAtoi(type->rows, &rows);
    if (!numbered) rows = function_->Dim(type->rows);
    const int64_t stride = std::max<int64_t>(buffer.ld, type->columns());
    const int64_t size = DTypeSize(type->dtype);
    const uint64_t held = buffer.bytes / size / std::max<int64_t>(stride, 1);
    if (rows < 0 || static_cast<uint64_t>(rows) > held) continue;
    const char* data = reinterpret_cast<const char*>(function_->SharedResult(index));
    if (index == dumped.probabilities) {
      DumpProbabilities(buffer.name, *type, reinterpret_cast<const float*>(data), stride, input);
    } else if (!numbered) {
      dump_->Append(buffer.name, *type, rows, stride, data);
    } else {
      std::string dense;
      for (int64_t row = 0; row < rows; ++row) {
        dense.append(data + row * stride * size, type->columns() * size);
      }
      std::vector<int64_t> shape = {rows};
      shape.insert(shape.end(), type->trailing.begin(), type->trailing.end());
      dump_->AddStep(buffer.name, type->dtype, shape, dense.data());
    }
  }
}

// The buffer [T, heads, positions of whole pages] as eager has it, [heads, T, keys]: the keys of
// all sequences one after the other, zero where a row looks at none. What lies behind a row's own
// position in its pages no kernel need have written.
void CpuExecutor::DumpProbabilities(const std::string& name, const RowType& type, const float* from,
                                    int64_t stride, const StepInput& input) {
  const int64_t rows = static_cast<int64_t>(input.tokens.size()), heads = type.trailing[0];
  const int64_t sequences = static_cast<int64_t>(input.cached_lens.size());
  std::vector<int64_t> first_key = {0};
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t added = input.seq_bounds[s + 1] - input.seq_bounds[s];
    first_key.push_back(first_key.back() + input.cached_lens[s] + added);
  }
  const int64_t keys = first_key.back();
  std::vector<float> out(heads * rows * keys, 0.0f);
  for (int64_t s = 0; s < sequences; ++s) {
    for (int64_t row = input.seq_bounds[s]; row < input.seq_bounds[s + 1]; ++row) {
      const int64_t seen = std::min<int64_t>(
          {input.positions[row] + 1, type.trailing[1], first_key[s + 1] - first_key[s]});
      for (int64_t head = 0; head < heads; ++head) {
        std::copy_n(from + row * stride + head * type.trailing[1], seen,
                    out.data() + (head * rows + row) * keys + first_key[s]);
      }
    }
  }
  dump_->AddStep(name, DType::kF32, {heads, rows, keys}, out.data());
}

std::string CpuExecutor::description() const {
  return absl::StrCat("compiled ", function_->code().target, ", ", pool_.size(),
                      pool_.size() == 1 ? " thread" : " threads");
}

}  // namespace ninfer::runtime
