// The host shim itself: that what it stands for is what a card does, and that it finds what a card
// would punish or hide.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/dtype.h"
#include "cuda/host_shim/host_module.h"

namespace ninfer::cuda {
namespace {

using ::testing::HasSubstr;

// One function `f` over `blocks` of `threads`.
absl::StatusOr<std::unique_ptr<HostModule>> Module(const std::string& name, const std::string& text,
                                                   int threads, int64_t blocks = 1) {
  Source source;
  source.text = text;
  DeviceKernel kernel;
  kernel.name = "f";
  kernel.grid[0].factor = blocks;
  kernel.threads = threads;
  source.kernels.push_back(kernel);
  return HostModule::Compile(std::move(source), NINFER_CXX_COMPILER, NINFER_SOURCE_DIR,
                             ::testing::TempDir(), name);
}

TEST(CudaHostShim, MultipliesMatricesOfBf16AsTheInstructionIsDefined) {
  const auto module = Module("mma", R"(
extern "C" __global__ void f(const unsigned* a, const unsigned* b, float* c, const int*) {
  const int row = threadIdx.x / 4, pair = threadIdx.x % 4;  // words of [16][8] and [8][8]
  const unsigned left[4] = {a[row * 8 + pair], a[(row + 8) * 8 + pair], a[row * 8 + pair + 4],
                            a[(row + 8) * 8 + pair + 4]};
  const unsigned right[2] = {b[row * 8 + pair], b[row * 8 + pair + 4]};
  float sums[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  Mma(sums, left, right);
  for (int e = 0; e < 4; ++e) c[(row + e / 2 * 8) * 8 + pair * 2 + e % 2] = sums[e];
})",
                             32);
  ASSERT_TRUE(module.ok()) << module.status();
  std::vector<uint16_t> a(16 * 16), b(8 * 16);  // b by columns
  for (size_t i = 0; i < a.size(); ++i) a[i] = FloatToBf16(static_cast<float>(i % 7) - 3);
  for (size_t i = 0; i < b.size(); ++i) b[i] = FloatToBf16(static_cast<float>(i % 5) - 2);
  std::vector<float> c(16 * 8);
  (*module)->Launch(0, {a.data(), b.data(), c.data()}, {0});
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 1;
      for (int k = 0; k < 16; ++k) {
        sum += Bf16ToFloat(a[row * 16 + k]) * Bf16ToFloat(b[column * 16 + k]);
      }
      EXPECT_EQ(c[row * 8 + column], sum) << row << " " << column;
    }
  }
}

TEST(CudaHostShim, ShufflesBetweenTheLanesOfAWarpAlone) {
  const auto module = Module("shuffle", R"(
extern "C" __global__ void f(float* y, const int*) {
  float x = (float)threadIdx.x;
  for (int mask = 1; mask < 32; mask *= 2) x += __shfl_xor_sync(0xffffffffu, x, mask);
  y[threadIdx.x] = x;
})",
                             64);
  ASSERT_TRUE(module.ok()) << module.status();
  std::vector<float> y(64);
  (*module)->Launch(0, {y.data()}, {0});
  for (int i = 0; i < 64; ++i) EXPECT_EQ(y[i], i < 32 ? 496 : 496 + 32 * 32);
}

TEST(CudaHostShim, GivesEveryBlockSharedMemoryOfNaN) {
  const auto module = Module("shared", R"(
extern "C" __global__ void f(float* y, const int*) {
  __shared__ float numbers[32];
  y[blockIdx.x * 32 + threadIdx.x] = numbers[threadIdx.x];
  numbers[threadIdx.x] = 1.0f;
})",
                             32, 2);
  ASSERT_TRUE(module.ok()) << module.status();
  std::vector<float> y(64);
  (*module)->Launch(0, {y.data()}, {0});
  for (const float number : y) EXPECT_TRUE(std::isnan(number));
}

TEST(CudaHostShim, EndsTheProcessAtABarrierThatSomeThreadsNeverMeet) {
  const auto module = Module("barrier", R"(
extern "C" __global__ void f(float*, const int*) {
  if (threadIdx.x < 40) __syncthreads();
})",
                             64);
  ASSERT_TRUE(module.ok()) << module.status();
  EXPECT_DEATH((*module)->Launch(0, {nullptr}, {0}),
               "block \\(0, 0\\): a barrier that 40 threads wait at and others never meet");
}

TEST(CudaHostShim, RefusesSourceByTheCompilersFirstError) {
  const auto module = Module("wrong", "int f = unknown;\nint g = unheard;\n", 32);
  ASSERT_FALSE(module.ok());
  EXPECT_THAT(module.status().message(), HasSubstr("the generated source does not compile: "));
  EXPECT_THAT(module.status().message(), HasSubstr("unknown"));
  EXPECT_THAT(module.status().message(), ::testing::Not(HasSubstr("unheard")));
}

}  // namespace
}  // namespace ninfer::cuda
