// The linear family: formats x activations x rows x N x K against double precision, epilogues
// against the oracle; each row alone gives the bits that it has among others, and so does any cut
// of the panels. The quick tier takes every pair of N and K with one format, the full tier with all
// of them.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/kernel_harness.h"
#include "tests/tier.h"

namespace ninfer {
namespace {

using eager::Tensor;
using formats::Format;
using program::Family;

// With 512 bits: one tile up to 8, then several, of which some ask for the next panels, then
// slices.
constexpr int64_t kRows[] = {1, 2, 3, 5, 6, 7, 8, 12, 17, 45, 70};
constexpr int64_t kN[] = {1, 31, 32, 33, 64, 96, 173};
constexpr int64_t kK[] = {1, 2, 3, 33, 64, 100};
// Of three slices, the last one shorter and odd; of a panel alone two.
constexpr int64_t kSlicedN = 96, kSlicedK = 517;

struct Types {
  Format format;
  const char* weights;
  const char* activations;
};
constexpr Types kTypes[] = {
    {Format::kPanelF32, "f32", "f32"},   {Format::kPanelF32, "f32", "bf16"},
    {Format::kPanelBF16, "bf16", "f32"}, {Format::kPanelBF16, "bf16", "bf16"},
    {Format::kPanelF16, "f16", "f32"},   {Format::kPanelF16, "f16", "bf16"},
};

// y = x w^T in double precision, and what a sum of K terms in f32 may be off by.
void Reference(const Operands& operands, std::vector<Tensor>* expected,
               std::vector<std::vector<double>>* bounds) {
  const Tensor& x = operands.tensors.at("x");
  const Tensor& w = operands.tensors.at("w");
  const int64_t rows = x.shape[0], k = x.shape[1], n = w.shape[0];
  std::vector<float> y;
  bounds->emplace_back();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double term = double{(*x.floats)[row * k + i]} * (*w.floats)[column * k + i];
        sum += term;
        magnitude += std::abs(term);
      }
      y.push_back(static_cast<float>(sum));
      bounds->back().push_back(static_cast<double>(k + 2) * std::ldexp(magnitude, -24) + 1e-37);
    }
  }
  expected->push_back(Tensor::Floats({rows, n}, std::move(y)));
}

void CheckTypes(size_t index) {
  const Types& types = kTypes[index];
  KernelHarness harness;
  const auto add = [&](int64_t n, int64_t k) {
    return harness.Add(
        {absl::StrCat("linear_", types.weights, "_", types.activations, "_", n, "x", k),
         Family::kLinear,
         absl::StrCat("(%x: ", types.activations, "[T,", k, "], %w: ", types.weights, "[", n, ",",
                      k, "]) {\n  %0 = linear %x, %w : f32[T,", n, "]\n  return %0\n}"),
         {{"w", types.format}}});
  };
  for (size_t i = 0; i < std::size(kN); ++i) {
    for (size_t j = 0; j < std::size(kK); ++j) {
      if (FullTier() || (i + 2 * j + index) % std::size(kTypes) == 0) add(kN[i], kK[j]);
    }
  }
  const int sliced = types.format == Format::kPanelF32 ? -1 : add(kSlicedN, kSlicedK);
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int kernel = 0; kernel < static_cast<int>(harness.program().kernels.size()); ++kernel) {
    for (const int64_t rows : kRows) {
      if (kernel == sliced && rows != std::end(kRows)[-1]) continue;
      Operands operands;
      operands.dims["T"] = rows;
      harness.FillRandom(kernel, 31 * kernel + rows, &operands);
      std::vector<Tensor> expected;
      std::vector<std::vector<double>> bounds;
      Reference(operands, &expected, &bounds);
      harness.ExpectWithin(kernel, operands, expected, bounds);
      if (rows == 7) harness.ExpectUnitsIndependent(kernel, operands, kernel);
      if (rows < 17) continue;
      for (const auto& [first, last] :
           {std::pair<int64_t, int64_t>{0, 1}, {5, 6}, {2, 9}, {rows - 1, rows}}) {
        harness.ExpectRowsIndependent(kernel, operands, "T", first, last);
      }
    }
  }
}

class CodegenLinear : public testing::TestWithParam<size_t> {};

TEST_P(CodegenLinear, EqualsDoublePrecisionAtAwkwardSizes) { CheckTypes(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Types, CodegenLinear, testing::Range(size_t{0}, std::size(kTypes)),
                         [](const testing::TestParamInfo<size_t>& info) {
                           return absl::StrCat(kTypes[info.param].weights, "_",
                                               kTypes[info.param].activations);
                         });

// --- epilogues -----------------------------------------------------------------------------------

struct Epilogue {
  const char* name;
  const char* text;  // WT, ACT, N, K; NN for twice N
  int64_t segments = 1;
  std::vector<const char*> plain;  // weights that are rows
  Bound bound = {2e-5, 1e-5};
};

// What rounds to bf16 may fall to the next number.
constexpr Bound kRounded = {1e-4, 1.0 / 128};

const std::vector<Epilogue>& Epilogues() {
  static const std::vector<Epilogue>* const epilogues = new std::vector<Epilogue>{
      {"bias",
       R"((%x: ACT[T,K], %w: WT[N,K], %b: f32[N]) {
  %0 = linear %x, %w : f32[T,N]
  %1 = add %0, %b : f32[T,N]
  return %1
})",
       1,
       {"b"}},
      {"silu", R"((%x: ACT[T,K], %w: WT[N,K]) {
  %0 = linear %x, %w : f32[T,N]
  %1 = silu %0 : f32[T,N]
  return %1
})"},
      {"bias_gelu_cast",
       R"((%x: ACT[T,K], %w: WT[N,K], %b: f32[N]) {
  %0 = linear %x, %w : f32[T,N]
  %1 = add %b, %0 : f32[T,N]
  %2 = gelu_tanh %1 : f32[T,N]
  %3 = cast %2 : bf16[T,N]
  return %3
})",
       1,
       {"b"},
       kRounded},
      {"bias_residual",
       R"((%x: ACT[T,K], %w: WT[N,K], %b: f32[N], %r: f32[T,N]) {
  %0 = linear %x, %w : f32[T,N]
  %1 = add %0, %b : f32[T,N]
  %2 = add %r, %1 : f32[T,N]
  return %2
})",
       1,
       {"b"}},
      {"gelu_residual_twice",
       R"((%x: ACT[T,K], %w: WT[N,K], %r: f32[T,N]) {
  %c = constant {value = 0.5} : f32[]
  %0 = linear %x, %w : f32[T,N]
  %1 = gelu %0 : f32[T,N]
  %2 = mul %1, %c : f32[T,N]
  %3 = add %2, %r : f32[T,N]
  %4 = cast %3 : bf16[T,N]
  return %3, %4
})",
       1,
       {},
       kRounded},
      {"swiglu",
       R"((%x: ACT[T,K], %w: WT[NN,K]) {
  %0 = linear %x, %w : f32[T,NN]
  %1 = slice %0 {axis = 1, begin = 0, end = N} : f32[T,N]
  %2 = slice %0 {axis = 1, begin = N, end = NN} : f32[T,N]
  %3 = silu %1 : f32[T,N]
  %4 = mul %3, %2 : f32[T,N]
  return %4
})",
       2,
       {},
       {1e-4, 1e-4}},
      {"swiglu_biases",
       R"((%x: ACT[T,K], %w: WT[NN,K], %b0: f32[N], %b1: f32[N]) {
  %0 = linear %x, %w : f32[T,NN]
  %1 = slice %0 {axis = 1, begin = N, end = NN} : f32[T,N]
  %2 = slice %0 {axis = 1, begin = 0, end = N} : f32[T,N]
  %3 = add %1, %b1 : f32[T,N]
  %4 = add %2, %b0 : f32[T,N]
  %5 = silu %4 : f32[T,N]
  %6 = mul %5, %3 : f32[T,N]
  %7 = cast %6 : bf16[T,N]
  return %7
})",
       2,
       {"b0", "b1"},
       kRounded},
  };
  return *epilogues;
}

std::string Filled(const char* text, const Types& types, int64_t n, int64_t k) {
  return absl::StrReplaceAll(text, {{"NN", absl::StrCat(2 * n)},
                                    {"N", absl::StrCat(n)},
                                    {"K", absl::StrCat(k)},
                                    {"WT", types.weights},
                                    {"ACT", types.activations}});
}

TEST(CodegenLinearEpilogues, EqualTheOracle) {
  constexpr int64_t kSizes[][2] = {{33, 33}, {64, 100}, {173, 64}};
  KernelHarness harness;
  std::vector<const Epilogue*> epilogues;
  int count = 0;
  for (const Epilogue& epilogue : Epilogues()) {
    for (const size_t types : {0, 2, 3, 4}) {
      for (const auto& [n, k] : kSizes) {
        if (!FullTier() && count++ % 3 != 0) continue;
        KernelSource source{absl::StrCat(epilogue.name, "_", types, "_", n, "x", k),
                            Family::kLinear,
                            Filled(epilogue.text, kTypes[types], n, k),
                            {{"w", kTypes[types].format}},
                            epilogue.segments};
        for (const char* name : epilogue.plain) source.weights[name] = Format::kPlainF32;
        harness.Add(source);
        epilogues.push_back(&epilogue);
      }
      ++count;  // another size with the next types
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int kernel = 0; kernel < static_cast<int>(epilogues.size()); ++kernel) {
    for (const int64_t rows : kRows) {
      Operands operands;
      operands.dims["T"] = rows;
      harness.FillRandom(kernel, 17 * kernel + rows, &operands);
      Tensor& w = operands.tensors["w"];
      for (float& value : *w.floats) value /= 8;
      w = Rounded(w, w.dtype);
      harness.ExpectAgree(kernel, operands, epilogues[kernel]->bound);
      if (rows == 5) harness.ExpectUnitsIndependent(kernel, operands, kernel);
      if (rows != 12) continue;
      harness.ExpectRowsIndependent(kernel, operands, "T", 11, 12);
      harness.ExpectRowsIndependent(kernel, operands, "T", 4, 9);
    }
  }
}

// Inputs that are columns of a wider buffer, heads seen as columns, and rows wanted.
TEST(CodegenLinear, InputsAreViewsAndRowsOfAnyDimension) {
  KernelHarness harness;
  const int sliced = harness.Add({"sliced",
                                  Family::kLinear,
                                  R"((%qkv: bf16[T,90], %w: bf16[40,33]) {
  %0 = slice %qkv {axis = 1, begin = 47, end = 80} : bf16[T,33]
  %1 = linear %0, %w : f32[T,40]
  return %1
})",
                                  {{"w", Format::kPanelBF16}}});
  const int heads = harness.Add({"heads",
                                 Family::kLinear,
                                 R"((%x: f32[T,3,20], %w: f16[35,40]) {
  %0 = reshape %x : f32[T,60]
  %1 = slice %0 {axis = 1, begin = 20, end = 60} : f32[T,40]
  %2 = linear %1, %w : f32[T,35]
  return %2
})",
                                 {{"w", Format::kPanelF16}}});
  const int inner = harness.Add({"inner",
                                 Family::kLinear,
                                 R"((%x: f32[T,3,20], %w: f32[8,9]) {
  %0 = slice %x {axis = 1, begin = 1, end = 2} : f32[T,1,20]
  %1 = slice %0 {axis = 2, begin = 5, end = 14} : f32[T,1,9]
  %2 = reshape %1 : f32[T,9]
  %3 = linear %2, %w : f32[T,8]
  return %3
})",
                                 {{"w", Format::kPanelF32}}});
  const int rows = harness.Add({"rows",
                                Family::kLinear,
                                R"((%x: f32[R,20], %w: f32[70,20]) {
  %0 = linear %x, %w : f32[R,70]
  return %0
})",
                                {{"w", Format::kPanelF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : {sliced, heads, inner, rows}) {
    for (const int64_t count : {1, 6, 9}) {
      Operands operands;
      operands.dims = {{"T", count}, {"R", count}};
      if (kernel == rows) operands.dims["T"] = 2048;
      harness.FillRandom(kernel, count, &operands);
      harness.ExpectAgree(kernel, operands, {5e-5, 1e-5});
      harness.ExpectUnitsIndependent(kernel, operands, count);
    }
  }
}

// The bits of a column do not depend on how many columns there are.
TEST(CodegenLinear, ColumnsAreIndependentOfTheirNumber) {
  KernelHarness harness;
  const char* text = R"((%x: bf16[T,50], %w: bf16[N,50]) {
  %0 = linear %x, %w : f32[T,N]
  return %0
})";
  const int wide = harness.Add({"wide",
                                Family::kLinear,
                                absl::StrReplaceAll(text, {{"N", "96"}}),
                                {{"w", Format::kPanelBF16}}});
  const int narrow = harness.Add({"narrow",
                                  Family::kLinear,
                                  absl::StrReplaceAll(text, {{"N", "20"}}),
                                  {{"w", Format::kPanelBF16}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 8;
  harness.FillRandom(wide, 5, &operands);
  Operands less = operands;
  less.tensors["w"] = Tensor::Floats({20, 50}, {operands.tensors["w"].floats->begin(),
                                                operands.tensors["w"].floats->begin() + 1000});
  for (const Engine& engine : harness.engines()) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    const auto all = harness.Run(engine.name, wide, operands);
    const auto few = harness.Run(engine.name, narrow, less);
    ASSERT_TRUE(all.ok()) << all.status();
    ASSERT_TRUE(few.ok()) << few.status();
    for (int i = 0; i < 8 * 20; ++i) {
      EXPECT_EQ((*few->results[0].floats)[i], (*all->results[0].floats)[i / 20 * 96 + i % 20])
          << engine.name;
    }
  }
}

}  // namespace
}  // namespace ninfer
