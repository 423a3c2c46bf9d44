// Mixtures of experts: routing, what is taken by its numbers, linears of the chosen experts, sums
// of what they gave; against the oracle, on every target, with rows and panels cut anywhere.
#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {
namespace {

using eager::Tensor;
using formats::Format;
using program::Family;

// --- routing -------------------------------------------------------------------------------------

TEST(CodegenRouting, GivesTheLargestColumnsInTheirOrder) {
  KernelHarness harness;
  std::vector<int> kernels;
  for (const auto& [columns, chosen] :
       {std::pair<int64_t, int64_t>{1, 1}, {4, 2}, {8, 8}, {17, 3}, {64, 8}, {130, 6}}) {
    kernels.push_back(
        harness.Add({absl::StrCat("top_", columns, "_", chosen), Family::kRouting,
                     absl::StrCat("(%x: f32[T,", columns, "]) {\n  %0 = top_k %x {k = ", chosen,
                                  "} : i32[T,", chosen, "]\n  return %0\n}")}));
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : kernels) {
    Operands operands;
    operands.dims["T"] = 9;
    harness.FillRandom(kernel, kernel, &operands);
    std::vector<float>& x = *operands.tensors["x"].floats;
    const size_t columns = x.size() / 9;
    // Rows with ties, and with one value alone.
    for (size_t i = 0; i < columns; ++i) x[columns + i] = static_cast<float>(i % 3);
    std::fill(x.begin() + 2 * columns, x.begin() + 3 * columns, -0.5f);
    harness.ExpectAgree(kernel, operands, {});
    harness.ExpectUnitsIndependent(kernel, operands, kernel);
  }
}

// A model whose numbers overflowed must not make the next kernel read beside its weights.
TEST(CodegenRouting, NumbersExistWhateverTheColumnsHold) {
  KernelHarness harness;
  const int kernel = harness.Add({"top", Family::kRouting,
                                  "(%x: f32[T,20]) {\n  %0 = top_k %x {k = 4} : i32[T,4]\n  "
                                  "return %0\n}"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 3;
  harness.FillRandom(kernel, 1, &operands);
  std::vector<float>& x = *operands.tensors["x"].floats;
  std::fill(x.begin(), x.begin() + 20, std::numeric_limits<float>::quiet_NaN());
  std::fill(x.begin() + 25, x.begin() + 40, std::numeric_limits<float>::quiet_NaN());
  for (const Engine& engine : harness.engines()) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    const auto run = harness.Run(engine.name, kernel, operands);
    ASSERT_TRUE(run.ok()) << run.status();
    for (const int32_t id : *run->results[0].ints) {
      EXPECT_GE(id, 0) << engine.name;
      EXPECT_LT(id, 20) << engine.name;
    }
  }
}

// --- what surrounds the experts ------------------------------------------------------------------

TEST(CodegenExperts, TakenColumnsAreNormalisedAndWeighWhatTheExpertsGave) {
  KernelHarness harness;
  const int taken = harness.Add({"taken", Family::kRowwise,
                                 R"((%x: f32[T,11], %ids: i32[T,3]) {
  %0 = take_columns %x, %ids : f32[T,3]
  %1 = softmax %0 : f32[T,3]
  return %1
})"});
  std::vector<int> sums;
  for (const int64_t n : {1, 33, 100}) {
    sums.push_back(
        harness.Add({absl::StrCat("sum_", n), Family::kRowwise,
                     absl::StrReplaceAll(R"((%x: f32[T,3,N], %w: f32[T,3], %r: f32[T,N]) {
  %0 = weighted_sum %x, %w : f32[T,N]
  %1 = add %0, %r : f32[T,N]
  return %1
})",
                                         {{"N", absl::StrCat(n)}})}));
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 2;
  operands.tensors["ids"] = Tensor::Ints({2, 3}, {10, 0, 5, 3, 3, 9});
  harness.FillRandom(taken, 2, &operands);
  harness.ExpectAgree(taken, operands, {1e-6, 1e-5});
  for (const int kernel : sums) {
    Operands parts;
    parts.dims["T"] = 5;
    harness.FillRandom(kernel, kernel, &parts);
    harness.ExpectAgree(kernel, parts, {1e-5, 1e-5});
    harness.ExpectUnitsIndependent(kernel, parts, kernel);
  }
}

// --- grouped linears -----------------------------------------------------------------------------

struct Shape {
  int64_t experts, chosen, n, k;
};
constexpr Shape kShapes[] = {{1, 1, 33, 32}, {4, 2, 31, 100}, {5, 5, 64, 33}, {8, 3, 100, 64}};

struct Types {
  const char* name;
  Format format;
  const char* weights;
  const char* activations;
  bool quantised;
  const char* inputs = "int8_g32_f32";
};
constexpr Types kTypes[] = {
    {"f32_f32", Format::kPanelF32, "f32", "f32", false},
    {"bf16_bf16", Format::kPanelBF16, "bf16", "bf16", false},
    {"f16_f32", Format::kPanelF16, "f16", "f32", false},
    {"int8_f32", Format::kPanelInt8G32, "f32", "f32", true},
    {"int4_f32", Format::kPanelInt4G32, "f32", "f32", true},
    {"int8_channel_row_f32", Format::kPanelInt8Channel, "f32", "f32", true, "int8_row_f32"},
};

// x is the same for all experts of a row, or each has its own.
std::string Body(const Types& types, const Shape& shape, bool own) {
  const std::string x = own ? "[T,C,K]" : "[T,K]";
  const std::string quantise = types.quantised ? absl::StrCat("  %q = quantise %x {scheme = \"",
                                                              types.inputs, "\"} : f32", x, "\n")
                                               : "";
  const std::string text = absl::StrCat(
      "(%x: ACT", x, ", %w: WT[E,N,K], %ids: i32[T,C]) {\n", quantise, "  %0 = grouped_linear ",
      types.quantised ? "%q" : "%x", ", %w, %ids : f32[T,C,N]\n  return %0\n}");
  return absl::StrReplaceAll(
      text, {{"ACT", types.activations},
             {"WT", types.weights},
             {"[T,C,K]", absl::StrCat("[T,", shape.chosen, ",", shape.k, "]")},
             {"[T,C,N]", absl::StrCat("[T,", shape.chosen, ",", shape.n, "]")},
             {"[T,C]", absl::StrCat("[T,", shape.chosen, "]")},
             {"[T,K]", absl::StrCat("[T,", shape.k, "]")},
             {"[E,N,K]", absl::StrCat("[", shape.experts, ",", shape.n, ",", shape.k, "]")}});
}

// Different experts for each row; or the first ones for all rows, so that others have none.
Tensor Ids(int64_t rows, const Shape& shape, bool first) {
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t j = 0; j < shape.chosen; ++j) {
      ids.push_back(static_cast<int32_t>((first ? j : 3 * t + j) % shape.experts));
    }
  }
  return Tensor::Ints({rows, shape.chosen}, ids);
}

class CodegenGroupedLinear : public testing::TestWithParam<size_t> {};

TEST_P(CodegenGroupedLinear, EqualsTheOracleWhateverIsChosen) {
  const Types& types = kTypes[GetParam()];
  KernelHarness harness;
  std::vector<Shape> shapes;
  for (const Shape& shape : kShapes) {
    for (const bool own : {false, true}) {
      harness.Add({absl::StrCat("experts_", shapes.size(), own ? "_own" : ""),
                   Family::kGroupedLinear,
                   Body(types, shape, own),
                   {{"w", types.format}},
                   shape.experts});
      shapes.push_back(shape);
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int kernel = 0; kernel < static_cast<int>(shapes.size()); ++kernel) {
    for (const int64_t rows : {1, 3, 17}) {
      for (const bool first : {false, true}) {
        Operands operands;
        operands.dims["T"] = rows;
        operands.tensors["ids"] = Ids(rows, shapes[kernel], first);
        harness.FillRandom(kernel, 31 * kernel + rows, &operands);
        harness.ExpectAgree(kernel, operands, {types.quantised ? 2e-4 : 1e-4, 1e-4});
        if (rows == 3) harness.ExpectUnitsIndependent(kernel, operands, kernel);
        if (rows == 17) harness.ExpectRowsIndependent(kernel, operands, "T", 5, 6);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CodegenGroupedLinear, testing::Range(size_t{0}, std::size(kTypes)),
                         [](const testing::TestParamInfo<size_t>& info) {
                           return kTypes[info.param].name;
                         });

// More rows than one block of gathered rows takes, all of one expert.
TEST(CodegenGroupedLinearBlocks, ManyRowsOfOneExpert) {
  const Shape shape{3, 2, 20, 24};
  KernelHarness harness;
  const int kernel = harness.Add({"blocks",
                                  Family::kGroupedLinear,
                                  Body(kTypes[0], shape, true),
                                  {{"w", kTypes[0].format}},
                                  3});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 700;
  operands.tensors["ids"] = Tensor::Ints({700, 2}, std::vector<int32_t>(1400, 1));
  harness.FillRandom(kernel, 1, &operands);
  harness.ExpectAgree(kernel, operands, {1e-5, 1e-4});
}

}  // namespace
}  // namespace ninfer
