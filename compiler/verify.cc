// The comparisons that --verify-each makes after every pass: the graph (by eager) or the program (by its
// interpreter) step by step on a short text, against the imported graph on the whole text at once.
// Tested by tests/compiler_verify_test.cc.
#include <algorithm>
#include <cmath>
#include <memory>

#include "base/status.h"
#include "compiler/compile.h"
#include "eager/eager.h"
#include "eager/program_interpreter.h"
#include "passes/passes.h"

namespace ninfer::compiler {
namespace {

// A step's first token and the token behind its last.
struct Span {
  int64_t from, to;
};

// Half of the text, then single tokens, so that the cache is both filled and extended.
std::vector<Span> StepsOf(int64_t count, bool cached) {
  if (!cached) return {{0, count}};
  std::vector<Span> steps = {{0, std::max<int64_t>(1, count / 2)}};
  while (steps.back().to < count) steps.push_back({steps.back().to, steps.back().to + 1});
  return steps;
}

eager::StepArguments ArgumentsOf(const std::vector<int32_t>& ids, const Span& span) {
  eager::StepArguments arguments;
  arguments.tokens.assign(ids.begin() + span.from, ids.begin() + span.to);
  for (int64_t t = span.from; t < span.to; ++t) arguments.positions.push_back(static_cast<int32_t>(t));
  arguments.seq_bounds = {0, static_cast<int32_t>(span.to - span.from)};
  arguments.cached_lens = {static_cast<int32_t>(span.from)};
  for (int64_t t = span.from; t < span.to; ++t) arguments.rows.push_back(static_cast<int32_t>(t - span.from));
  return arguments;
}

class Comparer {
 public:
  Comparer(std::vector<float> reference, int64_t vocab, std::vector<int32_t> ids, double reduced_bound)
      : reference_(std::move(reference)),
        vocab_(vocab),
        ids_(std::move(ids)),
        reduced_bound_(reduced_bound) {}

  const std::vector<int32_t>& ids() const { return ids_; }

  // Takes in the logits of one step.
  void Take(const Span& span, const eager::Tensor& logits, passes::Comparison* worst) const {
    double largest = 0;
    for (float value : reference_) largest = std::max<double>(largest, std::fabs(value));
    for (int64_t t = span.from; t < span.to; ++t) {
      for (int64_t v = 0; v < vocab_; ++v) {
        const double found = (*logits.floats)[(t - span.from) * vocab_ + v];
        const double difference = std::fabs(found - reference_[t * vocab_ + v]);
        const double error = std::isfinite(found) ? difference / std::max(largest, 1e-30) : INFINITY;
        if (error <= worst->max_error && !worst->where.empty()) continue;
        worst->max_error = error;
        worst->where = absl::StrCat("position ", t, ", logit ", v);
      }
    }
  }
  double BoundFor(bool reduced) const { return reduced ? reduced_bound_ : 1e-4; }

 private:
  std::vector<float> reference_;  // [tokens, vocab]
  int64_t vocab_;
  std::vector<int32_t> ids_;
  double reduced_bound_;
};

bool IsReduced(const ir::Function& function) {
  auto half = [](const ir::Value* value) {
    return value->type().dtype == DType::kBF16 || value->type().dtype == DType::kF16;
  };
  for (const auto& parameter : function.parameters()) {
    if (parameter->type().is_kv && half(parameter.get())) return true;
  }
  for (const auto& node : function.nodes()) {
    if (node->body() != nullptr && IsReduced(*node->body())) return true;
    if (node->op() == ir::Op::kCast && half(node->result()) && !ir::IsConstant(node->result())) {
      return true;
    }
  }
  return false;
}

bool NarrowsWeights(const ir::Function& function) {
  for (const auto& node : function.nodes()) {
    if (node->op() == ir::Op::kCast && ir::IsConstant(node->result()) &&
        DTypeSize(node->result()->type().dtype) < DTypeSize(node->operand(0)->type().dtype)) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<passes::Comparison> CompareModule(const Comparer& comparer, const ir::Module& module,
                                                 const Source& source, int threads) {
  const ir::Function* step = module.FindFunction("step");
  if (step == nullptr) return InvalidArgument("module: expected a function @step, found none");
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<eager::Interpreter> interpreter,
                          eager::Interpreter::Create(&module, source.model.weights, threads));
  std::vector<eager::KvPool> pools;
  for (const auto& parameter : step->parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv) continue;
    eager::KvPool pool;
    pool.dtype = type.dtype;
    pool.heads = type.shape[0].offset;
    pool.head_dim = type.shape[1].offset;
    pool.pages = 1 + static_cast<int64_t>(comparer.ids().size()) / 64;
    pool.data.assign(pool.pages * 2 * pool.heads * 64 * pool.head_dim, 0);
    pools.push_back(std::move(pool));
  }
  passes::Comparison worst;
  worst.bound = comparer.BoundFor(IsReduced(*step) || NarrowsWeights(*step));
  for (const Span& span : StepsOf(comparer.ids().size(), !pools.empty())) {
    NINFER_ASSIGN_OR_RETURN(const std::vector<eager::Tensor> results,
                            interpreter->Run(ArgumentsOf(comparer.ids(), span), &pools));
    comparer.Take(span, results[0], &worst);
  }
  return worst;
}

absl::StatusOr<passes::Comparison> CompareProgram(const Comparer& comparer,
                                                  const program::Program& program,
                                                  const Source& source, int threads) {
  // Before the layout pass weights have no places yet; any will do for the values.
  program::Program copy = program::Clone(program);
  if (!copy.weights.empty() && copy.weights[0].offset < 0) {
    NINFER_RETURN_IF_ERROR(passes::LayOutWeights(copy, passes::PassOptions()).status());
  }
  std::vector<uint8_t> packed(copy.weight_bytes + 64);
  uint8_t* aligned = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64;
  NINFER_RETURN_IF_ERROR(
      eager::PackWeights(copy, *source.model.weights, threads, [](int64_t) {}, aligned));
  const int64_t pages = 1 + static_cast<int64_t>(comparer.ids().size()) / 64;
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<eager::ProgramInterpreter> interpreter,
                          eager::ProgramInterpreter::Create(&copy, aligned, 2, pages));
  bool reduced = NarrowsWeights(*copy.weights_module->FindFunction("weights"));
  for (const program::Kernel& kernel : copy.kernels) reduced = reduced || IsReduced(*kernel.body);
  for (const program::KvState& kv : copy.kv) reduced = reduced || kv.layout.dtype != DType::kF32;
  passes::Comparison worst;
  worst.bound = comparer.BoundFor(reduced);
  for (const Span& span : StepsOf(comparer.ids().size(), !copy.kv.empty())) {
    NINFER_ASSIGN_OR_RETURN(const eager::Tensor logits,
                            interpreter->Run(ArgumentsOf(comparer.ids(), span)));
    comparer.Take(span, logits, &worst);
  }
  return worst;
}

}  // namespace

absl::Status LendComparisons(const ir::Module& imported, const Source& source,
                             const std::vector<int32_t>& ids, int threads,
                             passes::PassOptions* options) {
  NINFER_ASSIGN_OR_RETURN(
      std::unique_ptr<eager::Interpreter> interpreter,
      eager::Interpreter::Create(&imported, source.model.weights, threads));
  eager::StepArguments arguments;
  arguments.tokens = ids;
  NINFER_ASSIGN_OR_RETURN(const std::vector<eager::Tensor> reference,
                          interpreter->Run(arguments, nullptr));
  auto comparer = std::make_shared<const Comparer>(*reference[0].floats,
                                                   source.model.info.vocab_size, ids, kReducedBound);
  const Source* lent = &source;
  options->compare_module = [comparer, lent, threads](const ir::Module& module) {
    return CompareModule(*comparer, module, *lent, threads);
  };
  options->compare_program = [comparer, lent, threads](const program::Program& program) {
    return CompareProgram(*comparer, program, *lent, threads);
  };
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
