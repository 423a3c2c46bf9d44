// The comparisons that --verify-each makes after every pass: the graph (by eager) or the program
// (by its interpreter) on several texts together, step by step, against the imported graph on each
// whole text alone. What may be lost is what the user chose to: the bound is read off the types
// that were asked for, never off the graph that is judged. Tested by tests/compiler_verify_test.cc.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/quantise.h"
#include "base/status.h"
#include "compiler/compile.h"
#include "compiler/run_text.h"
#include "program/body.h"

namespace ninfer::compiler {
namespace {

constexpr double kBound = 1e-4;
// What types that were chosen may lose, at half of the positions: half precision, and integers with
// inputs of 8 bits. Small models suffer more than large ones.
constexpr double kReducedBound = 0.06;
constexpr double kInt8Bound = 0.1;
constexpr double kInt4Bound = 0.6;
constexpr double kWorst = 4;  // times that at any position
// Of single rows whose experts rounding changed: no bound but that logits stay of the same size.
constexpr double kRoutedBound = 2;
// Where code rounds, it and eager fall to different sides of some casts, and deep models spread
// that until they are as far from one another as both are from what was not rounded.
constexpr double kCodeBound = 0.02;
constexpr double kCodeTypical = 2, kCodeWorst = 3;  // times that distance
constexpr int64_t kPage = program::KvLayout::kPagePositions;
constexpr int64_t kSingles = 4;  // of each text, token by token

// A cache that changes what it is given.
bool CacheRounds(DType dtype) { return dtype != DType::kF32; }

bool IsHalf(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16; }

// Whether a value of `from` may change when it is cast to `to`.
bool Rounds(DType from, DType to) {
  return DTypeSize(to) < DTypeSize(from) || (IsHalf(from) && IsHalf(to) && from != to);
}

// Whether the function rounds: an activation or the cache to half precision, a weight to less than
// it is stored in.
bool Rounds(const ir::Function& function) {
  for (const auto& parameter : function.parameters()) {
    if (parameter->type().is_kv && CacheRounds(parameter->type().dtype)) return true;
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

passes::Comparison Compare(const std::vector<float>& reference, const std::vector<float>& found,
                           const ComparedRows& rows, const LogitsError& bound) {
  if (found.size() != reference.size()) {
    return {INFINITY, bound.worst,
            absl::StrCat("all: expected ", reference.size(), " numbers, found ", found.size())};
  }
  const int64_t count = static_cast<int64_t>(found.size()) / rows.columns;
  const LogitsError error = ErrorOf(found.data(), reference.data(), count, rows.columns);
  if (error.worst <= bound.worst && !error.Within(bound)) {
    return {error.typical, bound.typical, absl::StrCat("half of the ", rows.plural)};
  }
  return {error.worst, bound.worst, rows.place(error.at / rows.columns, error.at % rows.columns)};
}

bool IsRouted(const ir::Module& imported) {
  const ir::Function* step = imported.FindFunction("step");
  return step != nullptr && program::FindNode(*step, ir::Op::kTopK) != nullptr;
}

}  // namespace

bool ChoiceRounds(const ir::Module& imported, const passes::PassOptions& choice) {
  if (choice.CoarsestScheme() != nullptr) return true;
  for (const passes::WeightRule& rule : choice.weight_rules) {
    if (IsHalf(rule.dtype)) return true;
  }
  if (IsHalf(choice.activations)) return true;
  if (CacheRounds(choice.kv_cache) && !choice.disabled.contains("kv-cache")) return true;
  for (const ir::Weight& weight : imported.weights()) {
    const ir::Type& stored = weight.value->type();
    if (stored.rank() > 1 && Rounds(stored.dtype, choice.weights)) return true;
  }
  return false;
}

bool LogitsError::Within(const LogitsError& bound) const {
  return worst <= bound.worst && typical <= bound.typical;  // false for a NaN
}

LogitsError ErrorOf(const float* found, const float* reference, int64_t rows, int64_t vocab) {
  LogitsError out;
  double largest = 1e-30;
  for (int64_t i = 0; i < rows * vocab; ++i) {
    largest = std::max<double>(largest, std::fabs(reference[i]));
  }
  std::vector<double> by_row(rows);
  for (int64_t i = 0; i < rows * vocab; ++i) {
    const double difference = std::fabs(double{found[i]} - reference[i]);
    const double error = std::isfinite(difference) ? difference / largest : INFINITY;
    double& row = by_row[i / vocab];
    row = std::max(row, error);
    if (error <= out.worst) continue;
    out.worst = error;
    out.at = static_cast<size_t>(i);
  }
  if (rows == 0) return out;
  const auto middle = by_row.begin() + rows / 2;
  std::nth_element(by_row.begin(), middle, by_row.end());
  out.typical = *middle;
  return out;
}

LogitsError ErrorBound(const ir::Module& imported, const passes::PassOptions& choice,
                       bool settled) {
  const ir::Function* step = imported.entry();
  const bool rounds =
      (step != nullptr && Rounds(*step)) || (settled && ChoiceRounds(imported, choice));
  if (!rounds) return {kBound, kBound};
  double typical = kReducedBound;
  const QuantiseScheme* scheme = settled ? choice.CoarsestScheme() : nullptr;
  if (scheme != nullptr) typical = scheme->bits == 8 ? kInt8Bound : kInt4Bound;
  return {std::max(typical * kWorst, IsRouted(imported) ? kRoutedBound : 0), typical};
}

LogitsError CodeBound(const ir::Module& imported, const passes::PassOptions& choice,
                      const LogitsError& rounding) {
  LogitsError bound = ErrorBound(imported, choice, /*settled=*/false);
  if (!ChoiceRounds(imported, choice)) return bound;
  // Weights are rounded alike on both sides: what they lose with 4 bits is no excuse.
  const double typical = std::min(kCodeTypical * rounding.typical, kInt8Bound);
  const double worst = std::min(kCodeWorst * rounding.worst, kInt8Bound * kWorst);
  bound.typical = std::max({bound.typical, kCodeBound, typical});
  bound.worst = std::max({bound.worst, kCodeBound, worst});
  if (IsRouted(imported)) bound.worst = std::max(bound.worst, kRoutedBound);
  return bound;
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

void LendComparisons(const ir::Module& imported, std::vector<float> imported_rows,
                     ComparedRows rows, passes::PassOptions* options) {
  const LogitsError bound = ErrorBound(imported, *options, /*settled=*/false);
  const LogitsError settling_bound = ErrorBound(imported, *options, /*settled=*/true);
  auto reference = std::make_shared<const std::vector<float>>(std::move(imported_rows));
  // What precision left is the reference of all that follows: behind it, too, nothing may round but
  // by the casts that stand there.
  auto settled = std::make_shared<std::vector<float>>(*reference);
  options->compare_module = [=](const ir::Module& module,
                                passes::Rounding rounding) -> absl::StatusOr<passes::Comparison> {
    NINFER_ASSIGN_OR_RETURN(std::vector<float> found, rows.of_graph(module));
    if (rounding == passes::Rounding::kSettled) return Compare(*settled, found, rows, bound);
    const bool settling = rounding == passes::Rounding::kSettling;
    const passes::Comparison comparison =
        Compare(*reference, found, rows, settling ? settling_bound : bound);
    *settled = settling ? std::move(found) : *reference;
    return comparison;
  };
  options->compare_program =
      [=](const program::Program& program) -> absl::StatusOr<passes::Comparison> {
    NINFER_ASSIGN_OR_RETURN(const std::vector<float> found, rows.of_program(program));
    return Compare(*settled, found, rows, bound);
  };
}

absl::Status LendComparisons(const Source& source, const Texts& texts, int threads,
                             passes::PassOptions* options) {
  const ir::Module& imported = source.model.module;
  const std::shared_ptr<const ir::WeightSource> weights = source.model.weights;
  TextLogits reference;
  for (const std::vector<int32_t>& ids : texts) {
    NINFER_ASSIGN_OR_RETURN(const TextLogits alone, RunGraph(imported, weights, ids, 0, threads));
    reference.vocab = alone.vocab;
    reference.values.insert(reference.values.end(), alone.values.begin(), alone.values.end());
  }
  ComparedRows rows;
  rows.columns = reference.vocab;
  rows.plural = "positions";
  rows.place = [texts](int64_t row, int64_t column) {
    return absl::StrCat(PlaceOf(row, texts), ", logit ", column);
  };
  rows.of_graph = [=](const ir::Module& module) -> absl::StatusOr<std::vector<float>> {
    NINFER_ASSIGN_OR_RETURN(TextLogits found, RunGraph(module, weights, texts, kSingles, threads));
    return std::move(found.values);
  };
  rows.of_program = [=](const program::Program& program) -> absl::StatusOr<std::vector<float>> {
    NINFER_ASSIGN_OR_RETURN(TextLogits found,
                            RunProgram(program, *weights, texts, kSingles, threads));
    return std::move(found.values);
  };
  LendComparisons(imported, std::move(reference.values), std::move(rows), options);
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
