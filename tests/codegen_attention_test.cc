// Attention in its three forms, for 1 to 4 sequences of unequal lengths on shuffled pages, against
// double precision. What lies behind a sequence's last position is garbage, what lies on pages of
// nobody is NaN, and there is no page before a window. A sequence alone, a token alone and any cut
// of the units give the same bits.
#include <gtest/gtest.h>

#include "tests/codegen_kv_testing.h"
#include "tests/tier.h"

namespace ninfer {
namespace {

std::vector<AttentionCase> AttentionCases() {
  constexpr int64_t kDims[] = {8, 20, 24, 64, 80, 96, 128, 256};
  constexpr int64_t kGroups[] = {1, 2, 3, 4, 8};
  constexpr const char* kForms[] = {"flash", "efficient", "naive"};
  constexpr DType kTypes[][2] = {{DType::kF32, DType::kF32},
                                 {DType::kBF16, DType::kBF16},
                                 {DType::kBF16, DType::kF32},
                                 {DType::kF32, DType::kBF16}};
  std::vector<AttentionCase> cases;
  int count = 0;
  for (const int64_t dim : kDims) {
    for (const int64_t group : kGroups) {
      for (const char* form : kForms) {
        for (const auto& [cache, queries] : kTypes) {
          const bool bf16 = queries == DType::kBF16;
          cases.push_back({form, cache, queries, dim, 1 + count % 2, group, bf16, count % 3 == 0});
          ++count;
        }
      }
    }
  }
  // Of 480 cases 96 or 13, by steps that have no factor in common with the inner loops: every
  // dimension, and every group, form and pair of types several times.
  std::vector<AttentionCase> few;
  for (size_t i = 0; i < cases.size(); i += FullTier() ? 5 : 37) few.push_back(cases[i]);
  return few;
}

Tensor TakeRows(const Tensor& x, int64_t first, int64_t count) {
  const int64_t columns = x.shape[1];
  Tensor y = Tensor::Floats({count, columns}, {x.floats->begin() + first * columns,
                                               x.floats->begin() + (first + count) * columns});
  y.dtype = x.dtype;
  return y;
}

Tensor Slopes(const AttentionCase& c) {
  std::vector<float> slopes;
  for (int64_t h = 0; h < c.heads(); ++h) slopes.push_back(ScoreForm::Slope(h));
  return Tensor::Floats({c.heads()}, std::move(slopes));
}

// Each sequence by itself, on other pages, and its last token by itself.
void ExpectSameAlone(const KernelHarness& harness, int kernel, const AttentionCase& c,
                     const StepShape& shape, const std::vector<Rows>& rows,
                     const Operands& together) {
  for (const Engine& engine : harness.engines()) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    const auto all = harness.Run(engine.name, kernel, together);
    ASSERT_TRUE(all.ok()) << all.status();
    int64_t first = 0;
    for (size_t s = 0; s < shape.size(); first += shape[s++].tokens) {
      const Sequence last = {shape[s].length() - 1, 1};
      for (const Sequence& part : {shape[s], last}) {
        const int64_t skipped = part.cached - shape[s].cached;
        Step alone({part}, c.layout(), {rows[s]}, 991 + s, c.form_of_scores.window);
        alone.operands.tensors["q"] =
            TakeRows(together.tensors.at("q"), first + skipped, part.tokens);
        if (c.form_of_scores.alibi) alone.operands.tensors["slopes"] = Slopes(c);
        const auto run = harness.Run(engine.name, kernel, alone.operands);
        ASSERT_TRUE(run.ok()) << run.status();
        EXPECT_TRUE(
            SameBits(run->results[0], TakeRows(all->results[0], first + skipped, part.tokens)))
            << engine.name << ": " << c.name() << ": sequence " << s << ", " << part.tokens
            << " tokens";
      }
    }
  }
}

// Of results against double precision of the same cached rows. Over a cache of integers queries and
// weights are rounded to 16 bits.
Bound BoundOf(const AttentionCase& c) {
  return {c.cache == DType::kI8 ? 2e-4 : 2e-5, c.cast ? 1.0 / 256 : 1e-5};
}

void ExpectEqualAndIndependent(const std::vector<AttentionCase>& cases) {
  KernelHarness harness({}, kPages);
  for (const AttentionCase& c : cases) harness.Add(c.source());
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (size_t i = 0; i < cases.size(); ++i) {
    const AttentionCase& c = cases[i];
    const int kernel = static_cast<int>(i);
    for (size_t j = 0; j < StepShapes().size(); ++j) {
      const StepShape& shape = StepShapes()[j];
      Random random(100 * i + j);
      const std::vector<Rows> rows = RandomRows(shape, c.layout(), random);
      Step step(shape, c.layout(), rows, 7 * i + j, c.form_of_scores.window);
      Tensor& q = step.operands.tensors["q"];
      q = RandomTensor({step.tokens(), c.buffer_columns()}, c.queries, random);
      if (c.form_of_scores.alibi) step.operands.tensors["slopes"] = Slopes(c);
      const std::vector<Tensor> expected = {Reference(c, shape, rows, q)};
      harness.ExpectAgree(kernel, step.operands, BoundOf(c), &expected);
      if (c.cache == DType::kI8) {  // eager rounds alike, save what its sums put on the other side
        harness.ExpectAgree(kernel, step.operands, {1e-4, c.cast ? 1.0 / 127 : 1e-5});
      }
      harness.ExpectUnitsIndependent(kernel, step.operands, j);
      ExpectSameAlone(harness, kernel, c, shape, rows, step.operands);
    }
  }
}

TEST(CodegenAttention, EqualsDoublePrecisionAndIsIndependentOfNeighbours) {
  ExpectEqualAndIndependent(AttentionCases());
}

std::vector<AttentionCase> IntegerCases() {
  constexpr int64_t kDims[] = {5, 24, 64, 80, 96, 128, 256, 512};
  constexpr int64_t kGroups[] = {1, 2, 3, 8};
  constexpr const char* kForms[] = {"flash", "efficient", "naive"};
  std::vector<AttentionCase> cases;
  int count = 0;
  for (const int64_t dim : kDims) {
    for (const int64_t group : kGroups) {
      for (const DType queries : {DType::kF32, DType::kBF16}) {
        const bool bf16 = queries == DType::kBF16;
        cases.push_back({kForms[count % 3], DType::kI8, queries, dim, 1 + count % 2, group, bf16,
                         count % 5 == 0});
        ++count;
      }
    }
  }
  std::vector<AttentionCase> few;
  for (size_t i = 0; i < cases.size(); i += FullTier() ? 1 : 11) few.push_back(cases[i]);
  return few;
}

TEST(CodegenAttention, OverACacheOfIntegersEqualsDoublePrecisionAndEager) {
  ExpectEqualAndIndependent(IntegerCases());
}

// Windows within a page, over its edge and over several pages, soft caps and ALiBi.
TEST(CodegenAttention, WindowsCapsAndBiasesEqualDoublePrecision) {
  const ScoreForm forms[] = {
      {1}, {9}, {64}, {100}, {0, 5}, {0, 0, true}, {0, 0, true, true}, {70, 2, true}};
  const char* const names[] = {"flash", "efficient", "naive"};
  std::vector<AttentionCase> cases;
  for (const ScoreForm& form : forms) {
    for (const char* name : names) {
      const bool bf16 = cases.size() % 2 == 1;
      const DType dtype = bf16 ? DType::kBF16 : DType::kF32;
      cases.push_back({name, dtype, dtype, bf16 ? 24 : 20, 1, 3, bf16, false, form});
      cases.push_back({name, DType::kI8, dtype, bf16 ? 24 : 22, 1, 3, bf16, false, form});
    }
  }
  std::vector<AttentionCase> few;
  for (size_t i = 0; i < cases.size(); i += FullTier() ? 1 : 11) few.push_back(cases[i]);
  ExpectEqualAndIndependent(few);
}

// Scores far apart: the running maximum moves from page to page, and weights vanish.
TEST(CodegenAttention, StaysFiniteWithSteepScores) {
  KernelHarness harness({}, kPages);
  std::vector<AttentionCase> cases;
  for (const char* form : {"flash", "efficient", "naive"}) {
    cases.push_back({form, DType::kF32, DType::kF32, 20, 1, 2, false, false});
    harness.Add(cases.back().source());
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  const StepShape shape = {{190, 3}, {64, 2}};
  for (size_t i = 0; i < cases.size(); ++i) {
    Random random(i);
    const std::vector<Rows> rows = RandomRows(shape, cases[i].layout(), random);
    Step step(shape, cases[i].layout(), rows, i);
    Tensor& q = step.operands.tensors["q"];
    q = RandomTensor({step.tokens(), cases[i].columns()}, DType::kF32, random);
    for (float& value : *q.floats) value *= 300;
    const std::vector<Tensor> expected = {Reference(cases[i], shape, rows, q)};
    harness.ExpectAgree(static_cast<int>(i), step.operands, {3e-3, 1e-3}, &expected);
  }
}

}  // namespace
}  // namespace ninfer
