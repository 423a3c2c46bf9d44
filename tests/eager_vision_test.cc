// Models that see, by the interpreter: what the tower and the connector give, against Hugging Face
// transformers, for a whole picture and for one that is padded.
#include <gtest/gtest.h>

#include "eager/eager.h"
#include "tests/eager_models.h"
#include "tests/vision_models.h"

namespace ninfer::eager {
namespace {

constexpr double kBound = 2e-5;  // of the largest number

class EagerVisionTest : public testing::TestWithParam<std::string> {};

TEST_P(EagerVisionTest, TowerAndConnectorEqualTransformers) {
  GoldenModel model;
  ASSERT_NO_FATAL_FAILURE(LoadGoldenModel(GetParam(), model));
  ASSERT_TRUE(model.imported->vision.has_value());
  const ir::Module& vision = *model.imported->vision;
  auto interpreter = Interpreter::Create(&vision, model.imported->weights, 2);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<float> rows, hidden;
  for (const image::Patches& patches : GoldenPatches(model)) {
    const StepArguments arguments = VisionArguments(patches);
    std::vector<float> tower;
    const auto keep = [&](const ir::Node& node, absl::Span<const Tensor> results) {
      if (node.result()->name() == "vision_hidden") tower = *results[0].floats;
      return absl::OkStatus();
    };
    const Observer observer(keep);
    const auto results = (*interpreter)->Run(arguments, nullptr, &observer);
    ASSERT_TRUE(results.ok()) << results.status();
    rows.insert(rows.end(), results->at(0).floats->begin(), results->at(0).floats->end());
    const std::vector<float> ordered = InPatchOrder(tower, patches, model.imported->info.vision);
    hidden.insert(hidden.end(), ordered.begin(), ordered.end());
  }
  EXPECT_LE(LargestError(hidden, model.Floats("vision_hidden")), kBound);
  EXPECT_LE(LargestError(rows, model.Floats("image_hidden_states")), kBound);
}

INSTANTIATE_TEST_SUITE_P(Models, EagerVisionTest, testing::ValuesIn(VisionModelFolders()),
                         FolderTestName);

}  // namespace
}  // namespace ninfer::eager
