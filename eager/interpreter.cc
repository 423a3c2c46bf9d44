// The interpreter of graphs: constants folded at creation, then @step by the evaluator.
// Tested by tests/eager_test.cc, tests/eager_models_test.cc.
#include <algorithm>
#include <utility>

#include "base/machine.h"
#include "base/status.h"
#include "eager/arguments.h"
#include "eager/constants.h"
#include "eager/eager.h"
#include "eager/evaluator.h"
#include "ir/text.h"

namespace ninfer::eager {
namespace {

// oneDNN crashes where its own code finds no place, and arenas of threads take the places of
// others.
constexpr uint64_t kLibraryBytes = uint64_t{64} << 20;

absl::Status CheckPool(const ir::Value& parameter, const KvPool& pool) {
  const ir::Type& type = parameter.type();
  const bool fits = type.rank() == 2 && pool.dtype == type.dtype &&
                    type.shape[0] == ir::Dim::Static(pool.heads) &&
                    type.shape[1] == ir::Dim::Static(pool.head_dim) &&
                    static_cast<int64_t>(pool.data.size()) ==
                        pool.pages * 2 * pool.heads * kPagePositions * pool.head_dim;
  if (fits) return absl::OkStatus();
  return InvalidArgument("%", parameter.name(), ": expected a cache of type ",
                         ir::TypeToString(type, {}), ", found ", pool.pages, " pages of kv<",
                         DTypeName(pool.dtype), ">[", pool.heads, ",", pool.head_dim, "] in ",
                         pool.data.size(), " elements");
}

}  // namespace

struct Interpreter::State {
  State(const ir::Module* m, const ir::Function* f, int thread_count)
      : module(m),
        step(f),
        threads(thread_count),
        evaluator({&threads, &workspace}, m->symbols()) {}

  const ir::Module* module;
  const ir::Function* step;
  ThreadPool threads;
  Workspace workspace;
  std::shared_ptr<const ir::WeightSource> weights;
  Workspace weight_copies;
  Slots constants;
  Evaluator evaluator;
};

Interpreter::Interpreter(std::unique_ptr<State> state) : state_(std::move(state)) {}
Interpreter::~Interpreter() = default;

absl::StatusOr<std::unique_ptr<Interpreter>> Interpreter::Create(
    const ir::Module* module, std::shared_ptr<const ir::WeightSource> weights, int threads,
    WeightCopies copies) {
  const ir::Function* step = module->entry();
  if (step == nullptr) {
    return InvalidArgument("module \"", module->name(), "\": expected a function @step");
  }
  auto state = std::make_unique<State>(module, step, threads);
  NINFER_RETURN_IF_ERROR(CheckAddressesLeft("eager", kLibraryBytes));
  const ConstantSource source{module, weights.get(), copies, &state->weight_copies};
  NINFER_ASSIGN_OR_RETURN(state->constants,
                          FoldConstants({&state->threads, &state->workspace}, *step, source));
  if (copies == WeightCopies::kStreamed) state->weights = std::move(weights);
  state->evaluator.set_constants(step, &state->constants);
  return std::unique_ptr<Interpreter>(new Interpreter(std::move(state)));
}

absl::StatusOr<std::vector<Tensor>> Interpreter::Run(const StepArguments& arguments,
                                                     std::vector<KvPool>* kv,
                                                     const Observer* observer) {
  const ir::Function& step = *state_->step;
  std::vector<NamedType> names;
  size_t caches = 0;
  for (const auto& parameter : step.parameters()) {
    if (parameter->type().is_kv) {
      ++caches;
    } else {
      names.push_back({parameter->name(), parameter->type()});
    }
  }
  const size_t given = kv == nullptr ? 0 : kv->size();
  if (given != caches) {
    return InvalidArgument("@", step.name(), ": expected ", caches, " KV caches, found ", given);
  }
  int64_t pages = caches == 0 ? 0 : kv->front().pages;
  for (size_t i = 0; i < caches; ++i) pages = std::min(pages, (*kv)[i].pages);
  NINFER_ASSIGN_OR_RETURN(Step values,
                          ResolveStep(arguments, names, state_->module->symbols(), pages));
  std::vector<Slot> slots;
  std::vector<std::unique_ptr<PoolStore>> stores;
  size_t next = 0;
  for (const auto& parameter : step.parameters()) {
    if (parameter->type().is_kv) {
      KvPool& pool = (*kv)[stores.size()];
      NINFER_RETURN_IF_ERROR(CheckPool(*parameter, pool));
      stores.push_back(std::make_unique<PoolStore>(&pool));
      slots.push_back({Tensor(), 0, stores.back().get()});
    } else {
      slots.push_back({std::move(values.arguments[next++])});
    }
  }
  state_->workspace.ResetPeak();
  state_->evaluator.set_dims(std::move(values.dims));
  NINFER_ASSIGN_OR_RETURN(std::vector<Slot> results, state_->evaluator.Run(step, slots, observer));
  std::vector<Tensor> tensors;
  for (Slot& result : results) {
    if (result.kv == nullptr) tensors.push_back(std::move(result.tensor));
  }
  return tensors;
}

int64_t Interpreter::peak_scratch_bytes() const { return state_->workspace.peak_bytes(); }
int64_t Interpreter::peak_weight_bytes() const { return state_->weight_copies.peak_bytes(); }

}  // namespace ninfer::eager
