// The comparisons that --verify-each makes after every pass: the graph (by eager) or the program
// (by its interpreter) on several texts together, step by step, against the imported graph on each
// whole text alone. What may be lost is what the user chose to: the bound is read off the types
// that were asked for, never off the graph that is judged. Tested by tests/compiler_verify_test.cc.
#include <algorithm>
#include <cmath>
#include <memory>

#include "base/quantise.h"
#include "base/status.h"
#include "compiler/compile.h"
#include "compiler/run_text.h"
#include "program/body.h"

namespace ninfer::compiler {
namespace {

constexpr double kBound = 1e-4;
constexpr double kReducedBound = 0.06;
// Of integers, with inputs of 8 bits. Small models suffer more than large ones.
constexpr double kInt8Bound = 0.1;
constexpr double kInt4Bound = 0.6;
// Rounding may change the experts that a row chooses, and with them its result altogether.
constexpr double kRoutedBound = 1;
constexpr int64_t kPage = program::KvLayout::kPagePositions;
constexpr int64_t kSingles = 4;  // of each text, token by token

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

// "position 7 of text 1" for a row of logits.
std::string PlaceOf(int64_t row, const Texts& texts) {
  size_t text = 0;
  while (row >= static_cast<int64_t>(texts[text].size())) row -= texts[text++].size();
  return absl::StrCat("position ", row, " of text ", text);
}

passes::Comparison Compare(const TextLogits& reference, const TextLogits& found, const Texts& texts,
                           double bound) {
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
  size_t at = 0;
  for (size_t i = 0; i < found.values.size(); ++i) {
    const double difference = std::fabs(double{found.values[i]} - reference.values[i]);
    const double error = std::isfinite(found.values[i]) ? difference / largest : INFINITY;
    if (error <= worst.max_error) continue;
    worst.max_error = error;
    at = i;
  }
  worst.where =
      absl::StrCat(PlaceOf(at / reference.vocab, texts), ", logit ", at % reference.vocab);
  return worst;
}

}  // namespace

bool ChoiceRounds(const ir::Module& imported, const passes::PassOptions& choice) {
  if (!choice.weight_scheme.empty()) return true;
  if (IsHalf(choice.activations)) return true;
  if (IsHalf(choice.kv_cache) && !choice.disabled.contains("kv-cache")) return true;
  for (const ir::Weight& weight : imported.weights()) {
    const ir::Type& stored = weight.value->type();
    if (stored.rank() > 1 && Rounds(stored.dtype, choice.weights)) return true;
  }
  return false;
}

double ErrorBound(const ir::Module& imported, const passes::PassOptions& choice, bool settled) {
  const ir::Function* step = imported.FindFunction("step");
  const bool rounds =
      (step != nullptr && Rounds(*step)) || (settled && ChoiceRounds(imported, choice));
  if (!rounds) return kBound;
  if (step != nullptr && program::FindNode(*step, ir::Op::kTopK) != nullptr) return kRoutedBound;
  if (!settled || choice.weight_scheme.empty()) return kReducedBound;
  return FindQuantiseScheme(choice.weight_scheme)->bits == 8 ? kInt8Bound : kInt4Bound;
}

Texts VerifyTexts(const std::string& serialized_tokenizer, int64_t vocab_size,
                  int64_t context_length) {
  constexpr int64_t kLengths[] = {kPage + 6, 1, 9};
  const std::vector<int32_t> ids =
      CalibrationIds(serialized_tokenizer, vocab_size, kPage + 6 + 1 + 9);
  Texts texts;
  auto next = ids.begin();
  for (const int64_t length : kLengths) {
    texts.emplace_back(next, next + std::min(length, context_length));
    next += length;
  }
  return texts;
}

absl::Status LendComparisons(const Source& source, const Texts& texts, int threads,
                             passes::PassOptions* options) {
  const ir::Module& imported = source.model.module;
  const std::shared_ptr<const ir::WeightSource> weights = source.model.weights;
  auto reference = std::make_shared<TextLogits>();
  for (const std::vector<int32_t>& ids : texts) {
    NINFER_ASSIGN_OR_RETURN(const TextLogits alone, RunGraph(imported, weights, ids, 0, threads));
    reference->vocab = alone.vocab;
    reference->values.insert(reference->values.end(), alone.values.begin(), alone.values.end());
  }
  const double bound = ErrorBound(imported, *options, /*settled=*/true);
  options->bound_before_precision = ErrorBound(imported, *options, /*settled=*/false);
  options->compare_module = [=](const ir::Module& module) -> absl::StatusOr<passes::Comparison> {
    NINFER_ASSIGN_OR_RETURN(const TextLogits found,
                            RunGraph(module, weights, texts, kSingles, threads));
    return Compare(*reference, found, texts, bound);
  };
  options->compare_program =
      [=](const program::Program& program) -> absl::StatusOr<passes::Comparison> {
    NINFER_ASSIGN_OR_RETURN(const TextLogits found,
                            RunProgram(program, *weights, texts, kSingles, threads));
    return Compare(*reference, found, texts, bound);
  };
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
