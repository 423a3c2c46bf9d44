// Models compiled for CUDA cards, run on the host shim, against Hugging Face transformers: in f32
// their logits and greedy answers, as goldens_test.cc has it for CPUs. The quick tier takes a few
// families, the full tier every folder with goldens.
#include <gtest/gtest.h>

#include "tests/compiler_testing.h"
#include "tests/cuda_testing.h"
#include "tests/tier.h"

namespace ninfer::compiler {
namespace {

class CudaGoldensTest : public ::testing::TestWithParam<std::string> {};

TEST_P(CudaGoldensTest, CodeForCardsEqualsTransformers) {
  cuda::UseHostShim();
  GoldenModel model;
  ASSERT_NO_FATAL_FAILURE(LoadGoldenModel(GetParam(), model));
  if (model.imported->vision.has_value()) GTEST_SKIP() << "a model that sees runs on CPUs alone";
  Json options = ExactOptions(GetParam());
  options["targets"] = {"cuda:sm_90"};
  const auto plan = CompileInPlace(options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto executor = cuda::ExecuteOnShim(*plan);
  ASSERT_TRUE(executor.ok()) << executor.status();
  const std::vector<int32_t> ids = model.IdsWithLogits();
  for (const int chunk : {0, 5}) {
    const auto logits = RunText(**executor, ids, chunk, &model);
    ASSERT_TRUE(logits.ok()) << logits.status();
    EXPECT_LE(LargestError(*logits, model.Floats("logits")), 2e-5) << "chunks of " << chunk;
  }
  const GoldenText text = GoldenTextOf(GetParam(), model);
  const auto greedy = GreedyIds(**executor, text);
  ASSERT_TRUE(greedy.ok()) << greedy.status();
  EXPECT_EQ(*greedy, text.answer);
}

std::vector<std::string> Folders() {
  if (FullTier()) return GoldenModelFolders();
  std::vector<std::string> folders;
  for (const char* name : {"gpt2", "mixtral"}) {
    folders.push_back(std::string(NINFER_SOURCE_DIR "/tests/data/hf-models/") + name);
  }
  return folders;
}
INSTANTIATE_TEST_SUITE_P(Models, CudaGoldensTest, ::testing::ValuesIn(Folders()), FolderTestName);

}  // namespace
}  // namespace ninfer::compiler
