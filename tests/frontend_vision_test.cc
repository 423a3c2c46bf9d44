// Models that see: the second module, and how a folder says its pictures are to be processed.
#include <gtest/gtest.h>

#include "base/file.h"
#include "frontend/frontend.h"
#include "frontend/picture_processor.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "tests/support/model_folder.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::TemporaryFolder;
using ::ninfer::testing::WriteText;

constexpr char kModel[] = NINFER_SOURCE_DIR "/tests/data/hf-models/smolvlm";

std::string ParametersOf(const ir::Function& function, const ir::Module& module) {
  std::string text;
  for (const auto& parameter : function.parameters()) {
    absl::StrAppend(&text, parameter->name(), " ",
                    ir::TypeToString(parameter->type(), module.symbols()), "; ");
  }
  return text;
}

TEST(FrontendVision, StepTakesRowsAndVisionMakesThem) {
  const auto model = ImportModel(kModel, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(ParametersOf(*model->module.FindFunction("step"), model->module),
            "tokens i32[T]; positions i32[T]; seq_bounds i32[S+1]; pictures f32[T,48]; "
            "is_picture i32[T]; ");
  ASSERT_TRUE(model->vision.has_value());
  const ir::Module& vision = *model->vision;
  ASSERT_EQ(vision.functions().size(), 1u);
  EXPECT_EQ(vision.entry()->name(), "vision");
  EXPECT_EQ(ParametersOf(*vision.entry(), vision),
            "pixels f32[T,192]; patch_ids i32[T]; visible i32[T]; seq_bounds i32[S+1]; "
            "shuffle i32[R,9]; ");
  EXPECT_EQ(ir::TypeToString(vision.entry()->results()[0]->type(), vision.symbols()), "f32[R,48]");
  EXPECT_TRUE(ir::Verify(vision).ok());
  EXPECT_EQ(model->info.parameters, 117472);
  EXPECT_EQ(model->info.vision.grid, 6);
  EXPECT_EQ(model->info.vision.image_token_id, 172);
  EXPECT_FALSE(model->info.vision.has_processor);
}

TEST(FrontendVision, OlderKeysGiveTheSameGraphs) {
  TemporaryFolder folder;
  for (const char* name : {"config.old-style.json", "model.safetensors"}) {
    const auto bytes = ReadFile(JoinPath(kModel, name));
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    WriteText(JoinPath(folder.path(), name[0] == 'c' ? "config.json" : name), *bytes);
  }
  const auto expected = ImportModel(kModel, {}), found = ImportModel(folder.path(), {});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(ir::Print(found->module), ir::Print(expected->module));
  EXPECT_EQ(ir::Print(*found->vision), ir::Print(*expected->vision));
}

VisionInfo TinyVision() {
  VisionInfo vision;
  vision.patch_size = 8;
  vision.channels = 3;
  vision.grid = 6;
  vision.scale_factor = 3;
  return vision;
}

TEST(FrontendVision, TheProcessorStandsInEitherFile) {
  const std::string settings =
      R"({"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 24},
          "do_image_splitting": false, "image_mean": [0.1, 0.2, 0.3]})";
  for (const bool nested : {false, true}) {
    TemporaryFolder folder;
    WriteText(
        JoinPath(folder.path(), nested ? "processor_config.json" : "preprocessor_config.json"),
        nested ? "{\"image_processor\": " + settings + ", \"image_seq_len\": 1}" : settings);
    WriteText(JoinPath(folder.path(), "tokenizer_config.json"),
              R"({"image_token": {"content": "<pic>"}, "extra_special_tokens":
                  {"global_image_token": "<all>"}})");
    VisionInfo vision = TinyVision();
    const absl::Status read = ReadPictureProcessor(folder.path(), vision);
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_TRUE(vision.has_processor);
    EXPECT_EQ(vision.longest_edge, 96);
    EXPECT_EQ(vision.max_image_size, 24);
    EXPECT_FALSE(vision.do_image_splitting);
    EXPECT_TRUE(vision.do_normalize);
    EXPECT_EQ(vision.image_mean[2], 0.3);
    EXPECT_EQ(vision.image_token, "<pic>");
    EXPECT_EQ(vision.global_image_token, "<all>");
    EXPECT_EQ(vision.fake_image_token, "<fake_token_around_image>");
  }
}

TEST(FrontendVision, OfTwoProcessorsTheOneInsideTheProcessorsFileHolds) {
  TemporaryFolder folder;
  WriteText(JoinPath(folder.path(), "preprocessor_config.json"),
            R"({"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 24}})");
  WriteText(JoinPath(folder.path(), "processor_config.json"),
            R"({"image_processor": {"size": {"longest_edge": 48},
                "max_image_size": {"longest_edge": 24}}})");
  VisionInfo vision = TinyVision();
  ASSERT_TRUE(ReadPictureProcessor(folder.path(), vision).ok());
  EXPECT_EQ(vision.longest_edge, 48);
}

TEST(FrontendVision, AFolderThatSaysNothingHasNoProcessor) {
  TemporaryFolder folder;
  VisionInfo vision = TinyVision();
  EXPECT_TRUE(ReadPictureProcessor(folder.path(), vision).ok());
  EXPECT_FALSE(vision.has_processor);
}

}  // namespace
}  // namespace ninfer::frontend
