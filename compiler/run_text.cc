// See run_text.h.
// Tested by tests/compiler_verify_test.cc.
#include "compiler/run_text.h"

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "base/status.h"
#include "eager/eager.h"
#include "eager/program_interpreter.h"
#include "passes/passes.h"
#include "plan/memory.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kPage = program::KvLayout::kPagePositions;
constexpr int kSimulatedThreads = 2;

int64_t MaxOfSymbol(absl::Span<const ir::Symbol> symbols, absl::string_view name,
                    int64_t fallback) {
  for (const ir::Symbol& symbol : symbols) {
    if (symbol.name == name) return symbol.max;
  }
  return fallback;
}

// What a graph or program lets a step hold.
struct StepLimits {
  int64_t tokens, rows;
  bool cached;
};

StepLimits LimitsOf(absl::Span<const ir::Symbol> symbols, bool cached) {
  const int64_t tokens = MaxOfSymbol(symbols, "T", INT32_MAX);
  return {tokens, MaxOfSymbol(symbols, "R", tokens), cached};
}

using RunStep = absl::FunctionRef<absl::StatusOr<eager::Tensor>(const eager::StepArguments&)>;

// One step, from token `from` on, whose logits come by as many rows as may be asked for: without a
// cache the step is repeated, which changes nothing.
absl::Status RunRows(const std::vector<int32_t>& ids, int64_t from, int64_t to,
                     const StepLimits& limits, RunStep run, TextLogits* out) {
  eager::StepArguments arguments;
  arguments.tokens.assign(ids.begin() + from, ids.begin() + to);
  arguments.seq_bounds = {0, static_cast<int32_t>(to - from)};
  arguments.cached_lens = {static_cast<int32_t>(from)};
  for (int64_t done = 0; done < to - from;) {
    arguments.rows.clear();
    for (int64_t r = done; r < std::min(to - from, done + limits.rows); ++r) {
      arguments.rows.push_back(static_cast<int32_t>(r));
    }
    NINFER_ASSIGN_OR_RETURN(const eager::Tensor logits, run(arguments));
    if (logits.floats == nullptr || logits.shape.size() != 2 || logits.shape[0] == 0) {
      return InvalidArgument("@step: expected logits f32[rows,vocabulary] as the first result");
    }
    out->vocab = logits.shape[1];
    out->values.insert(out->values.end(), logits.floats->begin(), logits.floats->end());
    done += logits.shape[0];
  }
  return absl::OkStatus();
}

absl::StatusOr<TextLogits> RunSteps(const std::vector<int32_t>& ids, int64_t singles,
                                    const StepLimits& limits, RunStep run) {
  const int64_t count = static_cast<int64_t>(ids.size());
  const int64_t chunk = limits.cached ? std::min(limits.tokens, limits.rows) : count;
  TextLogits out;
  for (int64_t done = 0; done < count;) {
    const int64_t left = limits.cached ? std::max<int64_t>(1, count - singles - done) : count;
    const int64_t next = done + std::min(left, chunk);
    NINFER_RETURN_IF_ERROR(RunRows(ids, done, next, limits, run, &out));
    done = next;
  }
  return out;
}

int64_t PagesFor(const std::vector<int32_t>& ids) {
  return (static_cast<int64_t>(ids.size()) + kPage - 1) / kPage;
}

}  // namespace

absl::StatusOr<TextLogits> RunGraph(const ir::Module& module,
                                    std::shared_ptr<const ir::WeightSource> weights,
                                    const std::vector<int32_t>& ids, int64_t singles, int threads) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<eager::Interpreter> interpreter,
                          eager::Interpreter::Create(&module, std::move(weights), threads,
                                                     eager::WeightCopies::kStreamed));
  std::vector<eager::KvPool> pools;
  for (const auto& parameter : module.FindFunction("step")->parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv) continue;
    eager::KvPool pool{type.dtype, type.shape[0].offset, type.shape[1].offset, PagesFor(ids), {}};
    pool.data.assign(pool.pages * 2 * pool.heads * kPage * pool.head_dim, 0);
    pools.push_back(std::move(pool));
  }
  const auto run = [&](const eager::StepArguments& step) -> absl::StatusOr<eager::Tensor> {
    NINFER_ASSIGN_OR_RETURN(std::vector<eager::Tensor> results, interpreter->Run(step, &pools));
    if (results.empty()) return eager::Tensor();
    return std::move(results[0]);
  };
  return RunSteps(ids, singles, LimitsOf(module.symbols(), !pools.empty()), run);
}

absl::StatusOr<TextLogits> RunProgram(const program::Program& program,
                                      const ir::WeightSource& weights,
                                      const std::vector<int32_t>& ids, int64_t singles,
                                      int threads) {
  // Before the layout pass weights have no places yet; any will do for the values.
  program::Program copy = program::Clone(program);
  if (!copy.weights.empty() && copy.weights[0].offset < 0) {
    NINFER_RETURN_IF_ERROR(passes::LayOutWeights(copy, passes::PassOptions()).status());
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<plan::Memory> packed,
                          plan::Memory::Allocate(copy.weight_bytes, "the packed weights"));
  NINFER_RETURN_IF_ERROR(eager::PackWeights(
      copy, weights, threads, [](int64_t) {}, packed->data()));
  NINFER_ASSIGN_OR_RETURN(
      std::unique_ptr<eager::ProgramInterpreter> interpreter,
      eager::ProgramInterpreter::Create(&copy, packed->data(), kSimulatedThreads, PagesFor(ids)));
  const auto run = [&](const eager::StepArguments& step) { return interpreter->Run(step); };
  return RunSteps(ids, singles, LimitsOf(copy.symbols, !copy.kv.empty()), run);
}

}  // namespace ninfer::compiler
