// The largest column of a row and which it is: panel by panel in a linear's epilogue, of these
// parts, and of whole rows; on every target, with rows and panels cut anywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {
namespace {

using eager::Tensor;
using formats::Format;
using program::Family;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// --- in a linear's epilogue ----------------------------------------------------------------------

struct Weights {
  const char* type;
  const char* activations;
  Format format;
};
constexpr Weights kWeights[] = {{"f32", "f32", Format::kPanelF32},
                                {"bf16", "bf16", Format::kPanelBF16},
                                {"f32", "f32", Format::kPanelInt8G32}};

std::string HeadBody(const Weights& weights, int64_t n, int64_t k) {
  const std::string parts = absl::StrCat("[T,", (n + 31) / 32, "]");
  return absl::StrCat("(%x: ", weights.activations, "[T,", k, "], %w: ", weights.type, "[", n, ",",
                      k, "]) {\n  %0 = linear %x, %w : f32[T,", n, "]\n  %1 = tanh %0 : f32[T,", n,
                      "]\n  %2 = max_parts %1 {columns = 32} : f32", parts,
                      "\n  %3 = argmax_parts %1 {columns = 32} : i32", parts,
                      "\n  return %1, %2, %3\n}");
}

// What the kernel says of each panel is so of the columns that it stored itself.
void ExpectParts(const std::vector<Tensor>& results, const std::string& engine) {
  const Tensor& logits = results[0];
  const int64_t n = logits.shape[1], parts = results[1].shape[1];
  for (int64_t i = 0; i < logits.shape[0] * parts; ++i) {
    const int64_t first = i % parts * 32, last = std::min(first + 32, n);
    float most = -kInfinity;
    int64_t at = first;
    for (int64_t c = first; c < last; ++c) {
      const float value = (*logits.floats)[i / parts * n + c];
      if (!(value > most)) continue;
      most = value;
      at = c;
    }
    EXPECT_EQ((*results[1].floats)[i], most) << engine << ", part " << i;
    EXPECT_EQ((*results[2].ints)[i], at) << engine << ", part " << i;
  }
}

TEST(CodegenArgmax, ALinearFindsTheLargestOfEachPanel) {
  KernelHarness harness;
  std::vector<int> kernels;
  for (const Weights& weights : kWeights) {
    for (const int64_t n : {1, 32, 70, 96}) {
      kernels.push_back(harness.Add({absl::StrCat("head_", kernels.size()),
                                     Family::kLinear,
                                     HeadBody(weights, n, 40),
                                     {{"w", weights.format}}}));
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : kernels) {
    for (const int64_t rows : {1, 7, 130}) {
      Operands operands;
      operands.dims["T"] = rows;
      harness.FillRandom(kernel, kernel + rows, &operands);
      std::vector<float>& x = *operands.tensors["x"].floats;
      if (rows > 3) {
        std::fill_n(x.begin() + 40, 40, 0.0f);  // all columns equal
        std::fill_n(x.begin() + 80, 40, kNaN);
      }
      for (const Engine& engine : harness.engines()) {
        if (!engine.skipped.empty()) continue;
        const auto run = harness.Run(engine.name, kernel, operands);
        ASSERT_TRUE(run.ok()) << run.status();
        ExpectParts(run->results, engine.name);
      }
      if (rows == 7) harness.ExpectUnitsIndependent(kernel, operands, kernel);
    }
  }
}

// --- of rows -------------------------------------------------------------------------------------

// Rows of ties, of one number among NaN, of nothing above -inf, and the largest last.
void FillHardRows(int64_t columns, std::vector<float>* x) {
  const auto row = [&](int64_t r) { return x->begin() + r * columns; };
  for (int64_t c = 0; c < columns; ++c) row(1)[c] = static_cast<float>(c % 3);
  std::fill_n(row(2), columns, kNaN);
  row(2)[columns / 2] = -7;
  std::fill_n(row(3), columns, -kInfinity);
  std::fill_n(row(4), columns, kNaN);
  row(5)[columns - 1] = kInfinity;
}

TEST(CodegenArgmax, OfRowsAndOfParts) {
  KernelHarness harness;
  std::vector<int> kernels;
  for (const int64_t n : {1, 3, 16, 37, 200}) {
    kernels.push_back(harness.Add(
        {absl::StrCat("row_", n), Family::kArgmax,
         absl::StrCat("(%x: f32[T,", n, "]) {\n  %0 = argmax %x : i32[T]\n  return %0\n}")}));
    kernels.push_back(
        harness.Add({absl::StrCat("parts_", n), Family::kArgmax,
                     absl::StrCat("(%x: f32[T,", n, "], %ids: i32[T,", n,
                                  "]) {\n  %0 = argmax_of %x, %ids : i32[T]\n  return %0\n}")}));
  }
  kernels.push_back(harness.Add({"stretch", Family::kArgmax,
                                 "(%x: f32[T,90]) {\n  %0 = slice %x {axis = 1, begin = 20, end = "
                                 "57} : f32[T,37]\n  %1 = argmax %0 : i32[T]\n  return %1\n}"}));
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (const int kernel : kernels) {
    Operands operands;
    operands.dims["T"] = 9;
    const ir::Function& body = *harness.kernel(kernel).body;
    const int64_t columns = body.parameters()[0]->type().shape[1].offset;
    if (body.FindParameter("ids") != nullptr) {
      std::vector<int32_t> ids(9 * columns);
      for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7919 % 50000);
      operands.tensors["ids"] = Tensor::Ints({9, columns}, ids);
    }
    harness.FillRandom(kernel, kernel, &operands);
    FillHardRows(columns, operands.tensors["x"].floats.get());
    harness.ExpectAgree(kernel, operands, {});
    harness.ExpectUnitsIndependent(kernel, operands, kernel);
  }
}

}  // namespace
}  // namespace ninfer
