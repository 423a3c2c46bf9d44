// Running a step at any stage of the pipeline and comparing what it gives: whole texts in one step,
// and texts cut into steps over shuffled pages.
#ifndef NINFER_TESTS_PASSES_TESTING_H_
#define NINFER_TESTS_PASSES_TESTING_H_

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "eager/eager.h"
#include "ir/module.h"
#include "passes/pass.h"
#include "tests/support/random.h"

namespace ninfer::testing {

using Texts = std::vector<std::vector<int32_t>>;
using Weights = std::shared_ptr<const ir::WeightSource>;

// Seeded texts of these lengths.
inline Texts RandomTexts(const std::vector<int>& lengths, int64_t vocab, uint64_t seed = 1) {
  Random random(seed);
  Texts texts;
  for (const int length : lengths) {
    texts.emplace_back();
    for (int i = 0; i < length; ++i)
      texts.back().push_back(static_cast<int32_t>(random.Below(vocab)));
  }
  return texts;
}

// The fewest rows of a table that @step looks tokens up in.
inline int64_t VocabOf(const ir::Module& module) {
  const ir::Function& step = *module.FindFunction("step");
  int64_t vocab = int64_t{1} << 20;
  for (const auto& node : step.nodes()) {
    if (node->op() != ir::Op::kEmbedding || node->operand(0)->name() != "tokens") continue;
    vocab = std::min(vocab, node->operand(1)->type().shape[0].offset);
  }
  return vocab;
}

inline bool HasParameter(const ir::Module& module, absl::string_view name) {
  return module.FindFunction("step")->FindParameter(name) != nullptr;
}

inline std::vector<eager::KvPool> MakePools(const ir::Module& module, int64_t pages) {
  std::vector<eager::KvPool> pools;
  for (const auto& parameter : module.FindFunction("step")->parameters()) {
    const ir::Type& type = parameter->type();
    if (!type.is_kv) continue;
    eager::KvPool pool{type.dtype, type.shape[0].offset, type.shape[1].offset, pages, {}};
    pool.data.resize(pages * 2 * pool.heads * 64 * pool.head_dim);
    pools.push_back(std::move(pool));
  }
  return pools;
}

// One row of logits for each token of each text, text after text.
using Logits = std::vector<std::vector<float>>;

// Steps of one run: how many tokens of every text each step takes (a text that has none left
// rests).
inline absl::StatusOr<Logits> RunTexts(const ir::Module& module, const Weights& weights,
                                       const Texts& texts, const std::vector<int>& steps) {
  NINFER_ASSIGN_OR_RETURN(auto interpreter, eager::Interpreter::Create(&module, weights, 2));
  int64_t longest = 1;
  for (const auto& text : texts) longest = std::max<int64_t>(longest, text.size());
  const int pages = static_cast<int>((longest + 63) / 64);
  const int total = pages * static_cast<int>(texts.size());
  std::vector<eager::KvPool> pools = MakePools(module, total);
  std::vector<int32_t> page_table;  // shuffled: 5 has no common factor with most totals
  for (int i = 0; i < total; ++i)
    page_table.push_back(total % 5 == 0 ? total - 1 - i : i * 5 % total);
  const bool has_rows = HasParameter(module, "rows");
  const int64_t most_rows =
      has_rows ? module.symbols()[module.FindSymbol("R")].max : int64_t{1} << 30;

  std::vector<Logits> found(texts.size());
  std::vector<size_t> done(texts.size(), 0);
  for (const int step : steps) {
    eager::StepArguments arguments;
    arguments.seq_bounds = {0};
    for (size_t s = 0; s < texts.size(); ++s) {
      const size_t count = std::min<size_t>(step, texts[s].size() - done[s]);
      arguments.cached_lens.push_back(static_cast<int32_t>(done[s]));
      for (size_t i = 0; i < count; ++i) {
        arguments.tokens.push_back(texts[s][done[s] + i]);
        arguments.positions.push_back(static_cast<int32_t>(done[s] + i));
        arguments.rope_len.push_back(static_cast<int32_t>(texts[s].size()));
      }
      arguments.seq_bounds.push_back(static_cast<int32_t>(arguments.tokens.size()));
    }
    if (arguments.tokens.empty()) break;
    if (!pools.empty()) arguments.page_table = page_table;
    // Logits of at most R rows come at a time; the step may be run again, states and all.
    const int64_t count = static_cast<int64_t>(arguments.tokens.size());
    Logits rows;
    while (static_cast<int64_t>(rows.size()) < count) {
      const int64_t first = static_cast<int64_t>(rows.size());
      arguments.rows.clear();
      for (int64_t r = first; r < std::min(count, first + most_rows); ++r) {
        arguments.rows.push_back(static_cast<int32_t>(r));
      }
      NINFER_ASSIGN_OR_RETURN(const std::vector<eager::Tensor> results,
                              interpreter->Run(arguments, &pools));
      const int64_t columns = results[0].shape[1];
      for (int64_t r = 0; r < results[0].shape[0]; ++r) {
        const float* row = results[0].floats->data() + r * columns;
        rows.emplace_back(row, row + columns);
      }
      if (has_rows) continue;
      break;
    }
    for (size_t s = 0; s < texts.size(); ++s) {
      for (int32_t r = arguments.seq_bounds[s]; r < arguments.seq_bounds[s + 1]; ++r) {
        found[s].push_back(rows[r]);
        ++done[s];
      }
    }
  }
  Logits all;
  for (Logits& logits : found) all.insert(all.end(), logits.begin(), logits.end());
  return all;
}

inline absl::StatusOr<Logits> RunWhole(const ir::Module& module, const Weights& weights,
                                       const Texts& texts) {
  int longest = 1;
  for (const auto& text : texts) longest = std::max<int>(longest, static_cast<int>(text.size()));
  return RunTexts(module, weights, texts, {longest});
}

// The largest difference over the largest reference, and where it is.
inline passes::Comparison CompareLogits(const Logits& reference, const Logits& found,
                                        double bound) {
  passes::Comparison comparison;
  comparison.bound = bound;
  double largest = 0, worst = 0;
  comparison.where = "nowhere";
  if (reference.size() != found.size()) {
    comparison.max_error = INFINITY;
    comparison.where = absl::StrCat("row count ", found.size(), " instead of ", reference.size());
    return comparison;
  }
  for (size_t r = 0; r < reference.size(); ++r) {
    for (size_t c = 0; c < reference[r].size(); ++c) {
      const double expected = reference[r][c], actual = found[r][c];
      const bool same = expected == actual || (std::isnan(expected) && std::isnan(actual));
      const double difference = same ? 0 : std::abs(expected - actual);
      if (std::isfinite(expected)) largest = std::max(largest, std::abs(expected));
      if (!(difference <= worst)) {
        worst = std::isnan(difference) ? INFINITY : difference;
        comparison.where = absl::StrCat("row ", r, ", logit ", c);
      }
    }
  }
  comparison.max_error = worst == 0 ? 0 : worst / std::max(largest, 1e-30);
  return comparison;
}

}  // namespace ninfer::testing

#endif  // NINFER_TESTS_PASSES_TESTING_H_
