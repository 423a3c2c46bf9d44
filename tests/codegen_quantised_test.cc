// Linears of integers: schemes x activations x rows x N x K against double precision over the
// rounded values, with inputs quantised and as they are; each row alone gives the bits that it has
// among others, so does any cut of the panels, and so does every target that multiplies and adds
// with one rounding.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/quantise.h"
#include "tests/support/kernel_harness.h"
#include "tests/tier.h"

namespace ninfer {
namespace {

using eager::Tensor;
using formats::Format;
using program::Family;

constexpr int64_t kRows[] = {1, 2, 3, 4, 5, 6, 7, 8, 17, 45};
constexpr int64_t kN[] = {1, 33, 64, 173};
constexpr int64_t kK[] = {1, 31, 32, 100, 257};

struct Types {
  const char* name;
  Format format;
  const char* activations;
  std::string inputs;  // the scheme that rounds them; empty: floats
  bool quantised() const { return !inputs.empty(); }
};
const Types kTypes[] = {
    {"int8_f32", Format::kPanelInt8G32, "f32", "int8_g32_f32"},
    {"int8_bf16", Format::kPanelInt8G32, "bf16", "int8_g32_f32"},
    {"int8_channel_f32", Format::kPanelInt8Channel, "f32", "int8_g32_f32"},
    {"int4_f32", Format::kPanelInt4G32, "f32", "int8_g32_f32"},
    {"int4_bf16", Format::kPanelInt4G32, "bf16", "int8_g32_f32"},
    {"int4_g128_f32", Format::kPanelInt4G128, "f32", "int8_g32_f32"},
    {"int4a_bf16", Format::kPanelInt4aG32, "bf16", "int8_g32_f32"},
    {"int4a_g128_f32", Format::kPanelInt4aG128, "f32", "int8_g32_f32"},
    {"nu4_f32", Format::kPanelNu4G32, "f32", "int8_g32_f32"},
    {"int8_channel_row_f32", Format::kPanelInt8Channel, "f32", "int8_row_f32"},
    {"int8_row_bf16", Format::kPanelInt8G32, "bf16", "int8_row_f32"},
    {"int4_row_f32", Format::kPanelInt4G32, "f32", "int8_row_f32"},
    {"int4a_g128_row_bf16", Format::kPanelInt4aG128, "bf16", "int8_row_f32"},
    {"nu4_row_bf16", Format::kPanelNu4G32, "bf16", "int8_row_f32"},
    {"int8_by_bf16", Format::kPanelInt8G32, "bf16", ""},
    {"int8_channel_by_f32", Format::kPanelInt8Channel, "f32", ""},
    {"int4_by_bf16", Format::kPanelInt4G32, "bf16", ""},
    {"int4_g128_by_f32", Format::kPanelInt4G128, "f32", ""},
    {"int4a_by_f32", Format::kPanelInt4aG32, "f32", ""},
    {"int4a_g128_by_bf16", Format::kPanelInt4aG128, "bf16", ""},
    {"nu4_by_bf16", Format::kPanelNu4G32, "bf16", ""},
};

std::string Body(const Types& types, int64_t n, int64_t k) {
  const std::string quantise =
      types.quantised()
          ? absl::StrCat("  %0 = quantise %x {scheme = \"", types.inputs, "\"} : f32[T,", k, "]\n")
          : "";
  return absl::StrCat("(%x: ", types.activations, "[T,", k, "], %w: f32[", n, ",", k, "]) {\n",
                      quantise, "  %1 = linear %", types.quantised() ? "0" : "x", ", %w : f32[T,",
                      n, "]\n  return %1\n}");
}

// In double precision, and what a sum of blocks in f32 may be off by: products of integers within
// a block are exact.
void Reference(const Operands& operands, const std::string& inputs, std::vector<Tensor>* expected,
               std::vector<std::vector<double>>* bounds) {
  const Tensor& x = operands.tensors.at("x");
  const Tensor& w = operands.tensors.at("w");
  const int64_t rows = x.shape[0], k = x.shape[1], n = w.shape[0];
  std::vector<float> y, rounded(k);
  bounds->emplace_back();
  for (int64_t row = 0; row < rows; ++row) {
    std::copy_n(x.floats->data() + row * k, k, rounded.data());
    if (!inputs.empty()) {
      QuantiseRow(*FindQuantiseScheme(inputs), rounded.data(), k, rounded.data());
    }
    for (int64_t column = 0; column < n; ++column) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double term = double{rounded[i]} * (*w.floats)[column * k + i];
        sum += term;
        magnitude += std::abs(term);
      }
      y.push_back(static_cast<float>(sum));
      // Without integers each of a block's products is rounded.
      const auto sums = static_cast<double>(k / 32 + (inputs.empty() ? 38 : 6));
      bounds->back().push_back(sums * std::ldexp(magnitude, -24) + 1e-37);
    }
  }
  expected->push_back(Tensor::Floats({rows, n}, std::move(y)));
}

class CodegenQuantised : public testing::TestWithParam<size_t> {};

TEST_P(CodegenQuantised, EqualsDoublePrecisionAtAwkwardSizes) {
  const Types& types = kTypes[GetParam()];
  KernelHarness harness;
  // A ninth of the pairs for each, or a third, and all of them over the types.
  const size_t step = FullTier() ? 3 : 9;
  for (size_t pair = GetParam() % step; pair < std::size(kN) * std::size(kK); pair += step) {
    const int64_t n = kN[pair / std::size(kK)], k = kK[pair % std::size(kK)];
    harness.Add({absl::StrCat("linear_", types.name, "_", n, "x", k),
                 Family::kLinear,
                 Body(types, n, k),
                 {{"w", types.format}}});
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int kernel = 0; kernel < static_cast<int>(harness.program().kernels.size()); ++kernel) {
    for (const int64_t rows : kRows) {
      Operands operands;
      operands.dims["T"] = rows;
      harness.FillRandom(kernel, 31 * kernel + rows, &operands);
      std::vector<Tensor> expected;
      std::vector<std::vector<double>> bounds;
      Reference(operands, types.inputs, &expected, &bounds);
      harness.ExpectWithin(kernel, operands, expected, bounds);
      if (rows == 7) harness.ExpectUnitsIndependent(kernel, operands, kernel);
      if (rows < 17) continue;
      for (const auto& [first, last] :
           {std::pair<int64_t, int64_t>{0, 1}, {2, 9}, {rows - 1, rows}}) {
        harness.ExpectRowsIndependent(kernel, operands, "T", first, last);
      }
    }
  }
}

TEST_P(CodegenQuantised, GivesTheSameBitsOnEveryTargetWithFma) {
  const Types& types = kTypes[GetParam()];
  KernelHarness harness;
  const int kernel =
      harness.Add({"linear", Family::kLinear, Body(types, 70, 200), {{"w", types.format}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 9;
  harness.FillRandom(kernel, 3, &operands);
  std::vector<float> first;
  for (const Engine& engine : harness.engines()) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    if (!codegen::FindTarget(engine.name)->fma) continue;
    const auto run = harness.Run(engine.name, kernel, operands);
    ASSERT_TRUE(run.ok()) << run.status();
    if (first.empty()) first = *run->results[0].floats;
    EXPECT_EQ(*run->results[0].floats, first) << engine.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CodegenQuantised, testing::Range(size_t{0}, std::size(kTypes)),
                         [](const testing::TestParamInfo<size_t>& info) {
                           return kTypes[info.param].name;
                         });

TEST(CodegenQuantisedInputs, RowsOfZerosHugeAndTinyValuesAreRounded) {
  KernelHarness harness;
  const int kernel = harness.Add(
      {"linear", Family::kLinear, Body(kTypes[0], 40, 96), {{"w", Format::kPanelInt8G32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 5;
  harness.FillRandom(kernel, 3, &operands);
  std::vector<float>& x = *operands.tensors["x"].floats;
  const float sizes[] = {0, 1e-38f, 1e-25f, 1, 1e30f};
  for (int row = 0; row < 5; ++row) {
    for (int i = 0; i < 96; ++i) x[row * 96 + i] *= sizes[row];
  }
  std::vector<Tensor> expected;
  std::vector<std::vector<double>> bounds;
  Reference(operands, "int8_g32_f32", &expected, &bounds);
  harness.ExpectWithin(kernel, operands, expected, bounds);
}

// Gate and up side by side, biases and what follows, as in the other formats.
TEST(CodegenQuantisedEpilogues, EqualTheOracle) {
  KernelHarness harness;
  const char* text = R"((%x: f32[T,100], %w: f32[90,100], %b: f32[45], %r: f32[T,45]) {
  %q = quantise %x {scheme = "int8_g32_f32"} : f32[T,100]
  %0 = linear %q, %w : f32[T,90]
  %1 = slice %0 {axis = 1, begin = 0, end = 45} : f32[T,45]
  %2 = slice %0 {axis = 1, begin = 45, end = 90} : f32[T,45]
  %3 = add %1, %b : f32[T,45]
  %4 = silu %3 : f32[T,45]
  %5 = mul %4, %2 : f32[T,45]
  %6 = add %5, %r : f32[T,45]
  return %6
})";
  for (const Format format : {Format::kPanelInt8G32, Format::kPanelInt4G32}) {
    harness.Add({absl::StrCat("swiglu_", formats::InfoOf(format).name),
                 Family::kLinear,
                 text,
                 {{"w", format}, {"b", Format::kPlainF32}},
                 2});
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : {0, 1}) {
    for (const int64_t rows : kRows) {
      Operands operands;
      operands.dims["T"] = rows;
      harness.FillRandom(kernel, 17 * kernel + rows, &operands);
      harness.ExpectAgree(kernel, operands, {2e-3, 1e-4});
      harness.ExpectUnitsIndependent(kernel, operands, rows);
    }
  }
}

// A tied head's table is stored once, in the head's panels.
TEST(CodegenQuantisedTables, AreGatheredFromPanels) {
  KernelHarness harness;
  for (const Format format : {Format::kPanelInt8G32, Format::kPanelInt8Channel,
                              Format::kPanelInt4G32, Format::kPanelInt4G128, Format::kPanelInt4aG32,
                              Format::kPanelInt4aG128, Format::kPanelNu4G32}) {
    harness.Add({absl::StrCat("embedding_", formats::InfoOf(format).name),
                 Family::kRowwise,
                 R"((%ids: i32[T], %w: f32[70,175]) {
  %0 = embedding %ids, %w : f32[T,175]
  return %0
})",
                 {{"w", format}}});
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int kernel = 0; kernel < 7; ++kernel) {
    Operands operands;
    operands.dims["T"] = 6;
    operands.tensors["ids"] = Tensor::Ints({6}, {0, 69, 31, 32, 5, 64});
    harness.FillRandom(kernel, 4, &operands);
    harness.ExpectAgree(kernel, operands, {});
  }
}

}  // namespace
}  // namespace ninfer
