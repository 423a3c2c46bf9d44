// Tested by tests/bench_work_test.cc.
#include "bench/work.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "plan/memory.h"
#include "runtime/session.h"

namespace ninfer::bench {

std::string Work::name() const {
  return absl::StrCat(prefill ? "pp" : "tg", tokens, texts > 1 ? absl::StrCat(" x", texts) : "",
                      depth > 0 ? absl::StrCat(" @ d", depth) : "");
}

std::vector<Work> WorkLists::Works() const {
  std::vector<Work> works;
  for (int64_t depth : depths) {
    for (int64_t tokens : prefill) works.push_back({true, tokens, depth, 1});
    for (int64_t tokens : decode) {
      for (int64_t texts : batches) works.push_back({false, tokens, depth, texts});
    }
  }
  return works;
}

std::vector<int64_t> WorkLists::TextLengths() const {
  int64_t texts = 1, longest = 1, longest_of_many = 1;
  for (const Work& work : Works()) {
    longest = std::max(longest, work.end());
    texts = std::max(texts, work.texts);
    if (work.texts > 1) longest_of_many = std::max(longest_of_many, work.end());
  }
  std::vector<int64_t> lengths(texts, longest_of_many);
  lengths[0] = longest;
  return lengths;
}

absl::Status CheckRoom(const runtime::Executor& executor, const WorkLists& lists) {
  const runtime::ExecutorLimits& limits = executor.limits();
  if (!limits.has_kv_cache) {
    return InvalidArgument("-p, -n: expected a plan with a KV cache, found one without");
  }
  const std::vector<int64_t> lengths = lists.TextLengths();
  const int64_t room = runtime::LongestText(limits), texts = static_cast<int64_t>(lengths.size());
  if (lengths[0] > room) {
    return InvalidArgument("-p, -n, --depth: expected texts of at most ", room,
                           " positions, the context's length, found ", lengths[0]);
  }
  const int64_t most = std::min({limits.max_sequences, limits.max_rows, limits.max_tokens});
  if (texts > most) {
    return InvalidArgument("--batch: expected at most ", most,
                           " texts, those of one step of the plan, found ", texts);
  }
  int64_t bytes = 0;
  for (int64_t length : lengths) bytes += executor.CacheBytes(length);
  // The probe of the limit reads as much as the caches hold, from memory of its own.
  const int64_t half = static_cast<int64_t>(plan::AvailableMemory() / 2);
  if (bytes > half) {
    return InvalidArgument("--batch, --depth: expected caches of at most ", half >> 20,
                           " MiB, half of the memory that is free, found ", bytes >> 20);
  }
  return absl::OkStatus();
}

std::vector<StepShape> StepsOf(const Work& work, int64_t max_tokens) {
  std::vector<StepShape> steps;
  if (!work.prefill) {
    steps.assign(work.tokens, {work.texts, 1, work.depth + work.tokens / 2});
    return steps;
  }
  for (int64_t begin = work.depth; begin < work.end(); begin += max_tokens) {
    steps.push_back({1, std::min(max_tokens, work.end() - begin), begin});
  }
  return steps;
}

WorkCost CostOf(const Work& work, const runtime::Executor& executor, const StepCost& cost) {
  WorkCost sum;
  const int64_t weights = executor.BytesPerToken(0);
  for (const StepShape& step : StepsOf(work, executor.limits().max_tokens)) {
    const int64_t cache = executor.BytesPerToken(step.cached) - weights;
    ++sum.steps;
    sum.bytes += static_cast<double>(weights + step.texts * cache);
    if (!work.prefill) sum.operations += cost.Decode(step.texts, step.cached);
  }
  if (work.prefill) sum.operations = cost.Prefill(work.tokens, work.depth);
  return sum;
}

absl::Status Compute(const Work& work, Texts* texts, absl::FunctionRef<void()> after_step) {
  const int64_t most = work.prefill ? texts->max_tokens() : 1;
  for (int64_t begin = work.depth; begin < work.end(); begin += most) {
    NINFER_RETURN_IF_ERROR(texts->Step(work.texts, begin, std::min(work.end(), begin + most)));
    after_step();
  }
  return absl::OkStatus();
}

}  // namespace ninfer::bench
