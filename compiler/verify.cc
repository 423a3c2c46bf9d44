// The comparisons that --verify-each makes after every pass: the graph (by eager) or the program
// (by its interpreter) step by step on a short text, against the imported graph on the whole text
// at once. Tested by tests/compiler_verify_test.cc.
#include <algorithm>
#include <cmath>
#include <memory>

#include "base/status.h"
#include "compiler/compile.h"
#include "compiler/run_text.h"

namespace ninfer::compiler {
namespace {

constexpr double kBound = 1e-4;
constexpr double kReducedBound = 0.06;

bool IsHalf(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16; }

// Whether a value of `from` may change when it is cast to `to`.
bool Rounds(DType from, DType to) {
  return DTypeSize(to) < DTypeSize(from) || (IsHalf(from) && IsHalf(to) && from != to);
}

// Whether the function rounds: an activation or the cache to half precision, a weight to less than
// it is stored in.
bool Rounds(const ir::Function& function) {
  for (const auto& parameter : function.parameters()) {
    if (parameter->type().is_kv && IsHalf(parameter->type().dtype)) return true;
  }
  for (const auto& node : function.nodes()) {
    if (node->body() != nullptr && Rounds(*node->body())) return true;
    if (node->op() != ir::Op::kCast) continue;
    if (Rounds(node->operand(0)->type().dtype, node->result()->type().dtype)) return true;
  }
  return false;
}

passes::Comparison Compare(const TextLogits& reference, const TextLogits& found, double bound) {
  passes::Comparison worst;
  worst.bound = bound;
  if (found.values.size() != reference.values.size()) {
    worst.max_error = INFINITY;
    worst.where = absl::StrCat("all: expected ", reference.values.size(), " logits, found ",
                               found.values.size());
    return worst;
  }
  double largest = 1e-30;
  for (float value : reference.values) largest = std::max<double>(largest, std::fabs(value));
  for (size_t i = 0; i < found.values.size(); ++i) {
    const double difference = std::fabs(double{found.values[i]} - reference.values[i]);
    const double error = std::isfinite(found.values[i]) ? difference / largest : INFINITY;
    if (error <= worst.max_error && !worst.where.empty()) continue;
    worst.max_error = error;
    worst.where = absl::StrCat("position ", i / reference.vocab, ", logit ", i % reference.vocab);
  }
  return worst;
}

}  // namespace

double ErrorBound(const ir::Module& module) {
  const ir::Function* step = module.FindFunction("step");
  return step != nullptr && Rounds(*step) ? kReducedBound : kBound;
}

double ErrorBound(const program::Program& program) {
  bool rounds = false;
  for (const program::Kernel& kernel : program.kernels) rounds = rounds || Rounds(*kernel.body);
  for (const program::KvState& kv : program.kv) rounds = rounds || IsHalf(kv.layout.dtype);
  if (program.weights_module != nullptr) {
    for (const auto& function : program.weights_module->functions()) {
      rounds = rounds || Rounds(*function);
    }
  }
  return rounds ? kReducedBound : kBound;
}

void LendComparisons(const TextLogits& logits, const Source& source,
                     const std::vector<int32_t>& ids, int threads, passes::PassOptions* options) {
  auto reference = std::make_shared<const TextLogits>(logits);
  const std::shared_ptr<const ir::WeightSource> weights = source.model.weights;
  const int64_t singles = static_cast<int64_t>(ids.size()) / 2;
  options->compare_module = [=](const ir::Module& module) -> absl::StatusOr<passes::Comparison> {
    NINFER_ASSIGN_OR_RETURN(const TextLogits found,
                            RunGraph(module, weights, ids, singles, threads));
    return Compare(*reference, found, ErrorBound(module));
  };
  options->compare_program =
      [=](const program::Program& program) -> absl::StatusOr<passes::Comparison> {
    NINFER_ASSIGN_OR_RETURN(const TextLogits found,
                            RunProgram(program, *weights, ids, singles, threads));
    return Compare(*reference, found, ErrorBound(program));
  };
}

}  // namespace ninfer::compiler
