// See run_plan.h.
// Tested by tests/compiler_test.cc.
#include "compiler/run_plan.h"

#include <algorithm>
#include <numeric>

#include "base/machine.h"
#include "base/status.h"
#include "cuda/driver/cuda_executor.h"
#include "plan/reader.h"
#include "plan/writer.h"
#include "runtime/cpu_executor.h"
#include "runtime/cpu_image.h"
#include "runtime/kv_pages.h"
#include "runtime/sampling/sampling.h"

namespace ninfer::compiler {

Runner FindRunner(const plan::Plan& plan) {
  Runner runner;
  runner.cpu = runtime::ChooseImage(plan, CpuFeatures());
  if (runner.cpu != nullptr) return runner;
  if (!plan.cards.has_value()) {
    runner.none = absl::StrCat("for want of a CPU that runs the code: ",
                               runtime::MissingFeatures(plan, CpuFeatures()));
    return runner;
  }
  const auto cards = cuda::ListCards();
  if (cards.ok()) {
    for (const cuda::Card& card : *cards) {
      if (cuda::ChooseImage(plan, card.capability) == nullptr) continue;
      runner.card = card;
      return runner;
    }
  }
  runner.none = absl::StrCat("for want of a card that runs the code",
                             cards.ok() ? "" : absl::StrCat(": ", cards.status().message()));
  return runner;
}

std::string Runner::name() const {
  return cpu != nullptr ? cpu->target : card.has_value() ? card->architecture() : "";
}

absl::StatusOr<std::unique_ptr<runtime::Executor>> ExecutorOf(const Compiled& compiled,
                                                              const Runner& runner, int threads) {
  NINFER_ASSIGN_OR_RETURN(
      plan::LoadedPlan loaded,
      plan::PlanInMemory(plan::SerializeSections(compiled.plan), "the new plan",
                         compiled.weights->data(), compiled.plan.weight_bytes, nullptr));
  auto plan = std::make_shared<const plan::LoadedPlan>(std::move(loaded));
  if (runner.card.has_value()) {
    NINFER_ASSIGN_OR_RETURN(const cuda::Driver* driver, cuda::Driver::Open());
    return cuda::CudaExecutor::Create(std::move(plan), driver, *runner.card, {});
  }
  runtime::CpuExecutorOptions run;
  run.threads = threads;
  return runtime::CpuExecutor::Create(std::move(plan), run);
}

namespace {

// The ids that the step itself finds are those of its logits, the last of `logits`.
absl::Status CheckArgmax(runtime::Executor& executor, const runtime::StepInput& step,
                         const std::vector<float>& logits) {
  const size_t vocab = executor.metadata().vocab_size, rows = step.rows.size();
  std::vector<int32_t> ids(rows);
  NINFER_RETURN_IF_ERROR(executor.StepGreedy(step, ids.data()));
  for (size_t i = 0; i < rows; ++i) {
    const int32_t expected = runtime::FirstLargest(
        absl::MakeConstSpan(logits).subspan(logits.size() - (rows - i) * vocab, vocab));
    if (ids[i] == expected) continue;
    return absl::InternalError(
        absl::StrCat("the plan's argmax does not agree with its logits: expected ", expected,
                     ", found ", ids[i]));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<float>> RunPlan(runtime::Executor& executor,
                                           const std::vector<int32_t>& ids, int64_t first) {
  const int64_t vocab = executor.metadata().vocab_size;
  const runtime::ExecutorLimits& limits = executor.limits();
  const auto count = static_cast<int64_t>(ids.size());
  runtime::KvPages pages(&executor);
  runtime::HeldPages held;
  std::vector<float> logits(count * vocab);
  for (int64_t done = 0; done < count;) {
    const int64_t most = std::min(limits.max_rows, limits.max_tokens);
    int64_t step = first == 0 ? most : done == 0 ? std::min(first, most) : 1;
    if (!limits.has_kv_cache) step = limits.max_rows;
    const int64_t next = std::min(count, done + step);
    // Without a cache every step takes the whole text, and wants the next of its rows.
    const int64_t begin = limits.has_kv_cache ? done : 0, end = limits.has_kv_cache ? next : count;
    const std::vector<int32_t> tokens(ids.begin() + begin, ids.begin() + end);
    std::vector<int32_t> positions(tokens.size()), rows(next - done);
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(begin));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(done - begin));
    const std::vector<int32_t> rope_len(tokens.size(), static_cast<int32_t>(count));
    const int32_t bounds[] = {0, static_cast<int32_t>(end - begin)};
    const int32_t cached[] = {static_cast<int32_t>(begin)};
    std::vector<int32_t> table;
    if (limits.has_kv_cache) {
      NINFER_RETURN_IF_ERROR(pages.Reserve(done, next, &held));
      table = runtime::PageTable(limits, {&held});
    }
    runtime::StepInput input{tokens, positions, bounds, cached, table, rows, rope_len};
    NINFER_RETURN_IF_ERROR(executor.Step(input, logits.data() + done * vocab));
    done = next;
    if (done == count) NINFER_RETURN_IF_ERROR(CheckArgmax(executor, input, logits));
  }
  return logits;
}

}  // namespace ninfer::compiler
