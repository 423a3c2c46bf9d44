// Norms and softmax of single heads, and what follows them in a row.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {
namespace {

using formats::Format;
using program::Family;

// As models that normalise queries and keys do it, and behind it what they do with the heads.
TEST(CodegenHeads, ReductionsOfSingleHeads) {
  struct Shape {
    int64_t heads, dim;
  };
  KernelHarness harness;
  std::vector<int> kernels;
  for (const auto& [heads, dim] :
       {Shape{1, 24}, Shape{3, 7}, Shape{2, 16}, Shape{3, 24}, Shape{5, 64}, Shape{2, 128}}) {
    const std::pair<const char*, const char*> bodies[] = {
        {"rms", R"((%x: f32[T,HD], %w: f32[D], %b: f32[D]) {
  %0 = reshape %x : f32[T,H,D]
  %1 = rms_norm %0, %w {eps = 1e-05} : f32[T,H,D]
  %2 = add %1, %b : f32[T,H,D]
  return %2
})"},
        {"layer_of_slice", R"((%x: bf16[T,WIDE], %w: f32[D], %b: f32[D]) {
  %0 = slice %x {axis = 1, begin = 5, end = SLICED} : bf16[T,HD]
  %1 = reshape %0 : bf16[T,H,D]
  %2 = cast %1 : f32[T,H,D]
  %3 = layer_norm %2, %w, %b {eps = 1e-05} : f32[T,H,D]
  %4 = cast %3 : bf16[T,H,D]
  return %4
})"},
        {"norm_of_norm", R"((%x: f32[T,H,D], %w: f32[D], %b: f32[HD]) {
  %0 = rms_norm %x, %w {eps = 1e-05} : f32[T,H,D]
  %1 = softmax %0 : f32[T,H,D]
  %2 = reshape %1 : f32[T,HD]
  %3 = rms_norm %2, %b {eps = 1e-05} : f32[T,HD]
  return %3
})"},
    };
    for (const auto& [name, body] : bodies) {
      kernels.push_back(harness.Add(
          {absl::StrCat(name, "_", heads, "x", dim),
           Family::kRowwise,
           absl::StrReplaceAll(body, {{"WIDE", absl::StrCat(heads * dim + 9)},
                                      {"SLICED", absl::StrCat(heads * dim + 5)},
                                      {"HD", absl::StrCat(heads * dim)},
                                      {"[T,H,D]", absl::StrCat("[T,", heads, ",", dim, "]")},
                                      {"[D]", absl::StrCat("[", dim, "]")}}),
           {{"w", Format::kPlainF32}, {"b", Format::kPlainF32}}}));
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : kernels) {
    Operands operands;
    operands.dims["T"] = 5;
    harness.FillRandom(kernel, kernel, &operands);
    harness.ExpectAgree(kernel, operands, {2e-5, 1.0 / 128});
    harness.ExpectUnitsIndependent(kernel, operands, kernel);
    harness.ExpectRowsIndependent(kernel, operands, "T", 2, 3);
  }
}

TEST(CodegenHeads, RopeBehindANormOfItsHeads) {
  KernelHarness harness;
  std::vector<int> kernels;
  for (const char* style : {"half", "pairs"}) {
    for (const auto& [dim, angles] : {std::pair<int64_t, int64_t>{24, 12}, {24, 5}, {64, 32}}) {
      kernels.push_back(harness.Add(
          {absl::StrCat("norm_rope_", style, "_", dim, "_", angles),
           Family::kRowwise,
           absl::StrReplaceAll(
               R"((%x: f32[T,3,DIM], %w: f32[DIM], %c: f32[T,ANGLES], %s: f32[T,ANGLES]) {
  %0 = rms_norm %x, %w {eps = 1e-06} : f32[T,3,DIM]
  %1 = rope %0, %c, %s {style = "STYLE"} : f32[T,3,DIM]
  return %1
})",
               {{"DIM", absl::StrCat(dim)}, {"ANGLES", absl::StrCat(angles)}, {"STYLE", style}}),
           {{"w", Format::kPlainF32}}}));
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : kernels) {
    Operands operands;
    operands.dims["T"] = 4;
    harness.FillRandom(kernel, kernel, &operands);
    harness.ExpectAgree(kernel, operands, {2e-5, 1e-5});
    harness.ExpectUnitsIndependent(kernel, operands, kernel);
  }
}

}  // namespace
}  // namespace ninfer
