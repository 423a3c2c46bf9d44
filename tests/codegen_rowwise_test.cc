// The rowwise family: norms, softmax, rope, gathers, embeddings and views, of awkward widths,
// through every engine; each row alone gives the bits that it has among others.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {
namespace {

using eager::Tensor;
using formats::Format;
using program::Family;

constexpr int64_t kWidths[] = {1, 3, 17, 31, 32, 33, 64, 100, 173};
// Sums of some hundred terms in another order than the oracle's.
constexpr Bound kSums = {2e-6, 4e-6};

// `text` with N for the width.
std::string WithWidth(const char* text, int64_t width) {
  return absl::StrReplaceAll(text, {{"N", absl::StrCat(width)}});
}

// Runs a body at every width: agreement, then units and rows.
void CheckWidths(const char* name, const char* body, const std::map<std::string, Format>& weights,
                 Bound bound, float scale = 1) {
  KernelHarness harness;
  for (const int64_t width : kWidths) {
    harness.Add(
        {absl::StrCat(name, "_", width), Family::kRowwise, WithWidth(body, width), weights});
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int k = 0; k < static_cast<int>(std::size(kWidths)); ++k) {
    Operands operands;
    operands.dims["T"] = 5;
    harness.FillRandom(k, 100 + k, &operands);
    for (float& x : *operands.tensors["x"].floats) x *= scale;
    harness.ExpectAgree(k, operands, bound);
    harness.ExpectUnitsIndependent(k, operands, k);
    harness.ExpectRowsIndependent(k, operands, "T", 2, 3);
  }
}

TEST(CodegenRowwise, RmsNormWithWeightsOfEveryFormat) {
  const std::pair<Format, const char*> formats[] = {
      {Format::kPlainF32, "f32"}, {Format::kPlainBF16, "bf16"}, {Format::kPlainF16, "f16"}};
  for (const auto& [format, dtype] : formats) {
    const std::string body = absl::StrReplaceAll(R"((%x: f32[T,N], %w: DTYPE[N]) {
  %y = rms_norm %x, %w {eps = 1e-05} : f32[T,N]
  return %y
})",
                                                 {{"DTYPE", dtype}});
    CheckWidths(absl::StrCat("rms_norm_", dtype).c_str(), body.c_str(), {{"w", format}}, kSums);
  }
}

TEST(CodegenRowwise, RmsNormOfLargeAndSmallRows) {
  const char* body = R"((%x: f32[T,N], %w: f32[N]) {
  %y = rms_norm %x, %w {eps = 1e-06} : f32[T,N]
  return %y
})";
  CheckWidths("rms_norm_large", body, {{"w", Format::kPlainF32}}, kSums, 1e10f);
  CheckWidths("rms_norm_small", body, {{"w", Format::kPlainF32}}, {1e-12, 4e-6}, 1e-8f);
}

TEST(CodegenRowwise, LayerNormWithBias) {
  const char* body = R"((%x: f32[T,N], %w: f32[N], %b: bf16[N]) {
  %y = layer_norm %x, %w, %b {eps = 1e-05} : f32[T,N]
  return %y
})";
  CheckWidths("layer_norm", body, {{"w", Format::kPlainF32}, {"b", Format::kPlainBF16}},
              {1e-5, 1e-5});
}

// A mean far from zero: one pass over x and x^2 would lose the variance.
TEST(CodegenRowwise, LayerNormOfRowsFarFromZero) {
  KernelHarness harness;
  const int kernel = harness.Add({"layer_norm",
                                  Family::kRowwise,
                                  R"((%x: f32[T,100], %w: f32[100], %b: f32[100]) {
  %y = layer_norm %x, %w, %b {eps = 1e-05} : f32[T,100]
  return %y
})",
                                  {{"w", Format::kPlainF32}, {"b", Format::kPlainF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 3;
  harness.FillRandom(kernel, 1, &operands);
  for (float& x : *operands.tensors["x"].floats) x += 1000;
  // In double precision from the rounded inputs.
  const std::vector<float>& x = *operands.tensors["x"].floats;
  std::vector<float> y(300);
  for (int row = 0; row < 3; ++row) {
    double mean = 0, variance = 0;
    for (int i = 0; i < 100; ++i) mean += x[row * 100 + i] / 100.0;
    for (int i = 0; i < 100; ++i) variance += std::pow(x[row * 100 + i] - mean, 2) / 100;
    for (int i = 0; i < 100; ++i) {
      y[row * 100 + i] = static_cast<float>((x[row * 100 + i] - mean) / std::sqrt(variance + 1e-5) *
                                                (*operands.tensors["w"].floats)[i] +
                                            (*operands.tensors["b"].floats)[i]);
    }
  }
  const std::vector<Tensor> expected = {Tensor::Floats({3, 100}, y)};
  harness.ExpectAgree(kernel, operands, {1e-3, 1e-4}, &expected);
}

TEST(CodegenRowwise, Softmax) {
  const char* body = R"((%x: f32[T,N]) {
  %y = softmax %x : f32[T,N]
  return %y
})";
  CheckWidths("softmax", body, {}, {1e-7, 4e-6});
  CheckWidths("softmax_steep", body, {}, {1e-6, 4e-5}, 80);
}

TEST(CodegenRowwise, SoftmaxGivesZeroToMinusInfinityAndSumsToOne) {
  KernelHarness harness;
  const int kernel = harness.Add({"softmax", Family::kRowwise, R"((%x: f32[T,37]) {
  %y = softmax %x : f32[T,37]
  return %y
})"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  constexpr float kInf = std::numeric_limits<float>::infinity();
  std::vector<float> x(2 * 37, -kInf), y(2 * 37, 0);
  x[5] = -1e30f;
  y[5] = 1;
  for (int i = 0; i < 36; ++i) {
    x[37 + i] = 1e6f;
    y[37 + i] = 1 / 36.0f;
  }
  Operands operands;
  operands.tensors["x"] = Tensor::Floats({2, 37}, x);
  const std::vector<Tensor> expected = {Tensor::Floats({2, 37}, y)};
  harness.ExpectAgree(kernel, operands, {0, 1e-6}, &expected);
}

// The residual stream and its norm from one kernel, the norm rounded for the next linear.
TEST(CodegenRowwise, TwoResultsShareAnAddition) {
  const char* body = R"((%x: f32[T,N], %r: f32[T,N], %w: bf16[N]) {
  %0 = add %x, %r : f32[T,N]
  %1 = rms_norm %0, %w {eps = 1e-05} : f32[T,N]
  %2 = cast %1 : bf16[T,N]
  return %0, %2
})";
  CheckWidths("add_norm", body, {{"w", Format::kPlainBF16}}, {1e-6, 1.0 / 128});
}

// Norms of norms, softmax of what was computed, and values used twice.
TEST(CodegenRowwise, ReductionsOfComputedValues) {
  const char* body = R"((%x: f32[T,N], %y: f32[T,N], %w: f32[N], %b: f32[N]) {
  %0 = silu %x : f32[T,N]
  %1 = mul %0, %y : f32[T,N]
  %2 = layer_norm %1, %w, %b {eps = 0.001} : f32[T,N]
  %3 = rms_norm %2, %w {eps = 0.001} : f32[T,N]
  %4 = softmax %3 : f32[T,N]
  %5 = add %4, %2 : f32[T,N]
  %6 = rms_norm %5, %b {eps = 0.1} : f32[T,N]
  return %6, %4
})";
  CheckWidths("chain", body, {{"w", Format::kPlainF32}, {"b", Format::kPlainF32}}, {2e-4, 2e-4});
}

// --- rope ----------------------------------------------------------------------------------------

struct RopeShape {
  int64_t heads, dim, angles;
};

TEST(CodegenRowwise, RopeOfBothStylesWholeAndPartial) {
  constexpr RopeShape kShapes[] = {{1, 2, 1},    {3, 8, 4},   {2, 20, 4},  {4, 24, 12},
                                   {1, 64, 32},  {2, 64, 8},  {3, 80, 10}, {2, 96, 48},
                                   {1, 128, 64}, {2, 34, 17}, {4, 9, 2},   {3, 7, 3}};
  KernelHarness harness;
  for (const RopeShape& shape : kShapes) {
    for (const char* style : {"half", "pairs"}) {
      const std::string type = absl::StrCat("f32[T,", shape.heads, ",", shape.dim, "]");
      const std::string flat = absl::StrCat("[T,", shape.heads * shape.dim, "]");
      harness.Add({absl::StrCat("rope_", style, "_", shape.heads, "x", shape.dim), Family::kRowwise,
                   absl::StrCat("(%x: f32", flat, ", %c: f32[T,", shape.angles, "], %s: f32[T,",
                                shape.angles, "]) {\n  %0 = reshape %x : ", type,
                                "\n  %1 = rope %0, %c, %s {style = \"", style, "\"} : ", type,
                                "\n  %2 = reshape %1 : f32", flat, "\n  %3 = cast %2 : bf16", flat,
                                "\n  return %2, %3\n}")});
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int k = 0; k < static_cast<int>(2 * std::size(kShapes)); ++k) {
    Operands operands;
    operands.dims["T"] = 4;
    harness.FillRandom(k, 7 + k, &operands);
    auto oracle = harness.Run("oracle", k, operands);
    ASSERT_TRUE(oracle.ok()) << oracle.status();
    std::vector<std::vector<double>> bounds(2);
    for (const float y : *oracle->results[0].floats) {
      bounds[0].push_back(2e-6);
      bounds[1].push_back(2e-6 + std::abs(y) / 128);
    }
    harness.ExpectWithin(k, operands, oracle->results, bounds);
    harness.ExpectRowsIndependent(k, operands, "T", 3, 4);
  }
}

// Queries and keys out of one buffer, and angles computed from positions, as models do.
TEST(CodegenRowwise, RopeOfSlicesByAnglesOfPositions) {
  KernelHarness harness;
  const int angles = harness.Add({"angles",
                                  Family::kRowwise,
                                  R"((%positions: i32[T], %f: f32[12]) {
  %0 = reshape %positions : i32[T,1]
  %1 = cast %0 : f32[T,1]
  %2 = mul %1, %f : f32[T,12]
  %3 = cos %2 : f32[T,12]
  %4 = sin %2 : f32[T,12]
  return %3, %4
})",
                                  {{"f", Format::kPlainF32}}});
  const int rope = harness.Add(
      {"rope_slices", Family::kRowwise, R"((%qkv: f32[T,120], %c: f32[T,12], %s: f32[T,12]) {
  %0 = slice %qkv {axis = 1, begin = 0, end = 72} : f32[T,72]
  %1 = reshape %0 : f32[T,3,24]
  %2 = rope %1, %c, %s {style = "half"} : f32[T,3,24]
  %3 = slice %qkv {axis = 1, begin = 72, end = 96} : f32[T,24]
  %4 = reshape %3 : f32[T,1,24]
  %5 = rope %4, %c, %s {style = "half"} : f32[T,1,24]
  return %2, %5
})"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.tensors["positions"] = Tensor::Ints({6}, {0, 1, 63, 64, 2047, 131071});
  std::vector<float> frequencies;
  for (int i = 0; i < 12; ++i)
    frequencies.push_back(std::pow(10000.0f, -static_cast<float>(i) / 12));
  operands.tensors["f"] = Tensor::Floats({12}, frequencies);
  harness.ExpectAgree(angles, operands, {1.5e-7, 0});
  auto rotation = harness.Run("oracle", angles, operands);
  ASSERT_TRUE(rotation.ok()) << rotation.status();
  Operands turned;
  turned.tensors["c"] = rotation->results[0];
  turned.tensors["s"] = rotation->results[1];
  harness.FillRandom(rope, 5, &turned);
  harness.ExpectAgree(rope, turned, {2e-6, 0});
  harness.ExpectUnitsIndependent(rope, turned, 5);
}

// --- gathers -------------------------------------------------------------------------------------

TEST(CodegenRowwise, EmbeddingsOfEveryFormat) {
  const std::pair<Format, const char*> formats[] = {
      {Format::kPlainF32, "f32"}, {Format::kPlainBF16, "bf16"}, {Format::kPlainF16, "f16"},
      {Format::kPanelF32, "f32"}, {Format::kPanelBF16, "bf16"}, {Format::kPanelF16, "f16"}};
  KernelHarness harness;
  for (const auto& [format, dtype] : formats) {
    for (const int64_t width : {int64_t{1}, int64_t{33}, int64_t{100}}) {
      harness.Add({absl::StrCat("embedding_", formats::InfoOf(format).name, "_", width),
                   Family::kRowwise,
                   absl::StrCat("(%tokens: i32[T], %table: ", dtype, "[70,", width,
                                "]) {\n  %0 = embedding %tokens, %table : f32[T,", width,
                                "]\n  return %0\n}"),
                   {{"table", format}}});
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (int k = 0; k < 18; ++k) {
    Operands operands;
    operands.tensors["tokens"] = Tensor::Ints({7}, {0, 69, 31, 32, 64, 63, 0});
    harness.FillRandom(k, k, &operands);
    harness.ExpectAgree(k, operands, {});
    harness.ExpectUnitsIndependent(k, operands, k);
  }
}

TEST(CodegenRowwise, TokenAndPositionEmbeddingsAddUpAndAreNormalised) {
  KernelHarness harness;
  const int kernel = harness.Add(
      {"wte_wpe",
       Family::kRowwise,
       R"((%tokens: i32[T], %positions: i32[T], %wte: f32[50,33], %wpe: bf16[20,33], %w: f32[33], %b: f32[33]) {
  %0 = embedding %tokens, %wte : f32[T,33]
  %1 = embedding %positions, %wpe : f32[T,33]
  %2 = add %0, %1 : f32[T,33]
  %3 = layer_norm %2, %w, %b {eps = 1e-05} : f32[T,33]
  return %2, %3
})",
       {{"wte", Format::kPanelF32},
        {"wpe", Format::kPlainBF16},
        {"w", Format::kPlainF32},
        {"b", Format::kPlainF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.tensors["tokens"] = Tensor::Ints({3}, {49, 0, 33});
  operands.tensors["positions"] = Tensor::Ints({3}, {19, 0, 7});
  harness.FillRandom(kernel, 8, &operands);
  harness.ExpectAgree(kernel, operands, {1e-5, 1e-5});
  harness.ExpectRowsIndependent(kernel, operands, "T", 1, 2);
}

TEST(CodegenRowwise, GatherRowsTakesAnyRowsOfABuffer) {
  KernelHarness harness;
  std::vector<int> plain;
  for (const int64_t width : kWidths) {
    plain.push_back(harness.Add({absl::StrCat("gather_", width), Family::kRowwise,
                                 WithWidth(R"((%x: f32[T,N], %rows: i32[R]) {
  %0 = gather_rows %x, %rows : f32[R,N]
  return %0
})",
                                           width)}));
  }
  const int norm = harness.Add({"gather_norm",
                                Family::kRowwise,
                                R"((%x: f32[T,45], %rows: i32[R], %w: f32[45]) {
  %0 = gather_rows %x, %rows : f32[R,45]
  %1 = rms_norm %0, %w {eps = 1e-05} : f32[R,45]
  %2 = cast %1 : bf16[R,45]
  return %2
})",
                                {{"w", Format::kPlainF32}}});
  const int half =
      harness.Add({"gather_bf16", Family::kRowwise, R"((%x: bf16[T,45], %rows: i32[R]) {
  %0 = gather_rows %x, %rows : bf16[R,45]
  return %0
})"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : plain) {
    Operands operands;
    operands.dims["T"] = 9;
    operands.tensors["rows"] = Tensor::Ints({4}, {8, 0, 3, 3});
    harness.FillRandom(kernel, kernel, &operands);
    harness.ExpectAgree(kernel, operands, {});
    harness.ExpectUnitsIndependent(kernel, operands, kernel);
  }
  for (const int kernel : {norm, half}) {
    Operands operands;
    operands.dims["T"] = 9;
    operands.tensors["rows"] = Tensor::Ints({3}, {8, 0, 8});
    harness.FillRandom(kernel, 3, &operands);
    harness.ExpectAgree(kernel, operands, {1e-6, 1.0 / 128});
    harness.ExpectRowsIndependent(kernel, operands, "R", 1, 3);
  }
}

// --- views ---------------------------------------------------------------------------------------

TEST(CodegenRowwise, SlicesOfColumnsAndOfHeads) {
  KernelHarness harness;
  const int kernel = harness.Add({"slices", Family::kRowwise, R"((%x: f32[T,90]) {
  %0 = slice %x {axis = 1, begin = 7, end = 40} : f32[T,33]
  %1 = slice %x {axis = 1, begin = 40, end = 73} : f32[T,33]
  %2 = mul %0, %1 : f32[T,33]
  %3 = reshape %x : f32[T,6,15]
  %4 = slice %3 {axis = 2, begin = 3, end = 14} : f32[T,6,11]
  %5 = neg %4 : f32[T,6,11]
  %6 = slice %3 {axis = 1, begin = 2, end = 5} : f32[T,3,15]
  %7 = slice %6 {axis = 2, begin = 14, end = 15} : f32[T,3,1]
  %8 = reshape %5 : f32[T,66]
  return %2, %5, %6, %7, %8
})"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 5;
  harness.FillRandom(kernel, 3, &operands);
  harness.ExpectAgree(kernel, operands, {});
  harness.ExpectUnitsIndependent(kernel, operands, 3);
  harness.ExpectRowsIndependent(kernel, operands, "T", 0, 1);
}

TEST(CodegenRowwise, HeadsBroadcastOverTheirColumns) {
  KernelHarness harness;
  const int kernel = harness.Add({"heads",
                                  Family::kRowwise,
                                  R"((%x: f32[T,60], %w: f32[20], %y: f32[T,20]) {
  %0 = reshape %x : f32[T,3,20]
  %1 = mul %0, %w : f32[T,3,20]
  %2 = reshape %y : f32[T,1,20]
  %3 = add %1, %2 : f32[T,3,20]
  %4 = reshape %3 : f32[T,60]
  return %4
})",
                                  {{"w", Format::kPlainF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 3;
  harness.FillRandom(kernel, 4, &operands);
  harness.ExpectAgree(kernel, operands, {});
}

// Vectors fit between the ends of two repetitions, behind views too: 24 and 16 columns, from an odd
// column on.
TEST(CodegenRowwise, BroadcastsOfSeveralWidthsAndSlicesAcrossThem) {
  KernelHarness harness;
  const int kernel = harness.Add({"broadcasts",
                                  Family::kRowwise,
                                  R"((%x: f32[T,96], %w: f32[24], %v: f32[16]) {
  %0 = reshape %x : f32[T,4,24]
  %1 = mul %0, %w : f32[T,4,24]
  %2 = reshape %1 : f32[T,6,16]
  %3 = mul %2, %v : f32[T,6,16]
  %4 = reshape %1 : f32[T,96]
  %5 = slice %4 {axis = 1, begin = 3, end = 94} : f32[T,91]
  %6 = neg %5 : f32[T,91]
  %7 = slice %1 {axis = 2, begin = 16, end = 24} : f32[T,4,8]
  return %3, %6, %7
})",
                                  {{"w", Format::kPlainF32}, {"v", Format::kPlainF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 3;
  harness.FillRandom(kernel, 4, &operands);
  harness.ExpectAgree(kernel, operands, {});
}

// Whole heads, a broadcast that does not keep step with the heads, and two ropes as two results.
TEST(CodegenRowwise, WhatFollowsRopeFindsItsHeads) {
  KernelHarness harness;
  const int kernel = harness.Add(
      {"behind_rope",
       Family::kRowwise,
       R"((%x: f32[T,72], %c: f32[T,12], %s: f32[T,12], %c1: f32[T,3], %s1: f32[T,3], %w: f32[18]) {
  %0 = reshape %x : f32[T,3,24]
  %1 = rope %0, %c, %s {style = "half"} : f32[T,3,24]
  %2 = reshape %1 : f32[T,72]
  %3 = slice %2 {axis = 1, begin = 24, end = 72} : f32[T,48]
  %4 = tanh %3 : f32[T,48]
  %5 = reshape %2 : f32[T,4,18]
  %6 = mul %5, %w : f32[T,4,18]
  %7 = reshape %x : f32[T,9,8]
  %8 = rope %7, %c1, %s1 {style = "half"} : f32[T,9,8]
  return %4, %6, %8
})",
       {{"w", Format::kPlainF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 3;
  harness.FillRandom(kernel, 4, &operands);
  harness.ExpectAgree(kernel, operands, {4e-6, 4e-6});
}

// Emission that followed every use anew would take 2^60 steps.
TEST(CodegenRowwise, AValueThatIsUsedTwiceIsEmittedOnce) {
  std::string body = "(%x: f32[T,24]) {\n";
  for (int i = 0; i < 60; ++i) {
    const std::string from = i == 0 ? "%x" : absl::StrCat("%v", i);
    absl::StrAppend(&body, "  %v", i + 1, " = add ", from, ", ", from, " : f32[T,24]\n");
  }
  KernelHarness harness;
  const int kernel =
      harness.Add({"doubled", Family::kRowwise, absl::StrCat(body, "  return %v60\n}")});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.dims["T"] = 2;
  harness.FillRandom(kernel, 1, &operands);
  harness.ExpectAgree(kernel, operands, {});
}

}  // namespace
}  // namespace ninfer
