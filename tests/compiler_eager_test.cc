// The eager interpreter as an executor: with and without a cache, several texts on shuffled pages,
// reduced precision on request, refusals, and the tensors that it writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compiler/eager_executor.h"
#include "frontend/checkpoint.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::HasSubstr;

class CompilerEagerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteModel(folder_.path(), testing::TinyLlama({.context = 200}));
    for (int i = 0; i < 90; ++i) ids_.push_back(i * 7 % 37);
  }
  std::unique_ptr<EagerExecutor> Open(Json json = Json::object()) {
    json["model"] = folder_.path();
    json["threads"] = 2;
    const auto options = ParseOptions(json.dump(), Caller::kEager);
    EXPECT_TRUE(options.ok()) << options.status();
    auto executor = EagerExecutor::Create(*options, {});
    EXPECT_TRUE(executor.ok()) << executor.status();
    return executor.ok() ? *std::move(executor) : nullptr;
  }
  std::vector<float> Run(runtime::Executor& executor, int64_t chunk = 0) {
    const auto logits = RunText(executor, ids_, chunk);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return logits.ok() ? *logits : std::vector<float>();
  }

  testing::TemporaryFolder folder_;
  std::vector<int32_t> ids_;
};

TEST_F(CompilerEagerTest, ACacheChangesNothingButTheLastDigits) {
  const auto cached = Open(), whole = Open({{"disable_passes", {"kv-cache"}}});
  EXPECT_TRUE(cached->limits().has_kv_cache);
  EXPECT_FALSE(whole->limits().has_kv_cache);
  const std::vector<float> expected = Run(*whole);
  EXPECT_LE(LargestError(Run(*cached), expected), 2e-6);
  EXPECT_LE(LargestError(Run(*cached, 1), expected), 2e-6);
  EXPECT_LE(LargestError(Run(*cached, 64), expected), 2e-6);
}

TEST_F(CompilerEagerTest, TextsOnShuffledPagesEqualEachAlone) {
  const auto executor = Open({{"kv_pages", 6}});
  const std::vector<float> alone = Run(*executor);
  Sequence first{ids_, {{5, 2}}}, second{{ids_.begin(), ids_.begin() + 70}, {{0, 3}}};
  for (const int32_t page : {5, 2, 0, 3}) executor->ClearPage(0, page);
  for (const auto& [a, b] : std::vector<std::pair<int, int>>{{60, 3}, {1, 60}, {29, 7}}) {
    const absl::Status status = RunStep(*executor, {&first, &second}, {a, b});
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_LE(LargestError(first.logits, alone), 2e-6);
  const std::vector<float> start(alone.begin(), alone.begin() + 70 * 37);
  EXPECT_LE(LargestError(second.logits, start), 2e-6);
}

TEST_F(CompilerEagerTest, PrecisionIsReducedOnlyWhenAskedFor) {
  const auto exact = Open(), reduced = Open({{"weights", "bf16"}, {"activations", "bf16"}});
  EXPECT_EQ(exact->metadata().activations_dtype, "f32");
  EXPECT_EQ(reduced->metadata().activations_dtype, "bf16");
  const double error = LargestError(Run(*reduced), Run(*exact));
  EXPECT_GT(error, 1e-5);
  EXPECT_LT(error, 0.06);
}

TEST_F(CompilerEagerTest, StepsOutsideTheLimitsAreRefused) {
  const auto executor = Open({{"context", 64}});
  const runtime::HeldPages pages(1, {0});
  Sequence longer{ids_, pages};
  const absl::Status status = RunStep(*executor, {&longer}, {longer.left()});
  EXPECT_THAT(status.message(), HasSubstr("step: tokens: expected 1 to 64, found 90"));
  Sequence unknown{{1, 2, 99}, pages};
  EXPECT_THAT(RunStep(*executor, {&unknown}, {3}).message(),
              HasSubstr("step: token: expected 0 to 36, found 99"));
}

TEST_F(CompilerEagerTest, TensorsThatWereAskedForAreWrittenWithRowsOfAllSteps) {
  const auto executor =
      Open({{"dump_tensors", "^hidden\\.[0-9]+$|^attention\\."}, {"disable_passes", {"kv-cache"}}});
  ids_.resize(5);
  Run(*executor);
  const std::string path = folder_.File("dump.safetensors");
  const absl::Status written = executor->WriteDump(path);
  ASSERT_TRUE(written.ok()) << written;
  const auto file = frontend::Checkpoint::OpenFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const frontend::StoredTensor* hidden = (*file)->Find("hidden.1");
  ASSERT_NE(hidden, nullptr);
  EXPECT_EQ(hidden->shape, (std::vector<int64_t>{5, 24}));
  const frontend::StoredTensor* attention = (*file)->Find("attention.0");
  ASSERT_NE(attention, nullptr);
  EXPECT_EQ(attention->bytes, 4u * 5 * 5 * sizeof(float));  // [heads, T, T]
  EXPECT_THAT(Open()->WriteDump(path).message(), HasSubstr("no tensors were asked for"));
}

// A step's probabilities have as many columns as there are keys by then.
TEST_F(CompilerEagerTest, ProbabilitiesAreWrittenStepByStep) {
  const auto executor = Open({{"dump_tensors", "^hidden\\.1$|^attention\\.1$"}});
  ids_.resize(5);
  Run(*executor, 2);
  const std::string path = folder_.File("steps.safetensors");
  const absl::Status written = executor->WriteDump(path);
  ASSERT_TRUE(written.ok()) << written;
  const auto file = frontend::Checkpoint::OpenFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Find("attention.1"), nullptr);
  const std::vector<int64_t> rows = {2, 2, 1}, keys = {2, 4, 5};
  for (int step = 0; step < 3; ++step) {
    const frontend::StoredTensor* tensor = (*file)->Find(absl::StrCat("attention.1@", step + 1));
    ASSERT_NE(tensor, nullptr) << step;
    EXPECT_EQ(tensor->shape, (std::vector<int64_t>{4, rows[step], keys[step]}));
  }
  ASSERT_NE((*file)->Find("hidden.1"), nullptr);
  EXPECT_EQ((*file)->Find("hidden.1")->shape, (std::vector<int64_t>{5, 24}));
}

TEST_F(CompilerEagerTest, ItSaysWhatItReads) {
  const auto executor = Open();
  EXPECT_EQ(executor->description(), "eager, 2 threads");
  EXPECT_GT(executor->BytesPerToken(10), executor->BytesPerToken(0));
  Run(*executor);
  EXPECT_GT(executor->scratch_bytes(), 0);
}

}  // namespace
}  // namespace ninfer::compiler
