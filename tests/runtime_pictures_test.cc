// Texts with pictures: what stands for a picture, against transformers' processor, and models that
// take none.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "runtime/pictures.h"
#include "tests/fake_executor.h"

namespace ninfer::runtime {
namespace {

plan::Vision TinyVision() {
  plan::Vision vision;
  vision.patch_size = 8;
  vision.grid = 6;
  vision.scale_factor = 3;
  vision.image_token = "<image>";
  vision.fake_image_token = "<fake_token_around_image>";
  vision.global_image_token = "<global-img>";
  return vision;
}

TEST(Pictures, MarksBecomeWhatTransformersWrites) {
  const std::string folder = NINFER_SOURCE_DIR "/tests/data/";
  const auto golden = nlohmann::json::parse(*ReadFile(folder + "vision-processor/golden.json"));
  for (const auto& entry : golden) {
    image::ProcessorSettings settings;
    settings.do_image_splitting = entry["split"];
    settings.longest_edge = 96;
    settings.max_image_size = 48;
    std::vector<image::Frames> pictures;
    for (const std::string name : entry["pictures"]) {
      const auto frames = ReadPicture(folder + "image-processing/" + name, settings);
      ASSERT_TRUE(frames.ok()) << frames.status();
      pictures.push_back(*frames);
    }
    const auto text = ExpandMarks(entry["text"].get<std::string>(), pictures, TinyVision());
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, entry["expanded"]);
  }
}

TEST(Pictures, MarksMustBeAsManyAsPictures) {
  image::Frames frame;
  frame.edge = 48;
  const auto error = [&](absl::string_view text, size_t count) {
    const std::vector<image::Frames> pictures(count, frame);
    return std::string(ExpandMarks(text, pictures, TinyVision()).status().message());
  };
  EXPECT_EQ(error("a <image>", 1), "");
  EXPECT_EQ(error("a", 1), "prompt: expected a mark <image> for each of 1 picture, found 0");
  EXPECT_EQ(error("<image><image>", 3),
            "prompt: expected a mark <image> for each of 3 pictures, found 2");
}

TEST(Pictures, ATextWithoutMarksGetsThemInFront) {
  EXPECT_EQ(WithMarks("a", 2, TinyVision()), "<image><image>a");
  EXPECT_EQ(WithMarks("a<image>", 2, TinyVision()), "a<image>");
}

TEST(Pictures, AModelOfTextAloneRefusesThem) {
  FakeExecutor executor;
  EXPECT_EQ(PictureSettings(executor).status().message(),
            "--image: expected a model that sees, found one of text alone");
  EXPECT_EQ(executor.See({}, nullptr).message(),
            "pictures: expected a model that sees, found one that does not");
  const int32_t is_picture[] = {1}, token[] = {1}, zero[] = {0}, bounds[] = {0, 1}, table[4] = {};
  const int32_t length[] = {1};
  const float row[] = {0};
  StepInput input{token, zero, bounds, zero, table, zero, length, row, is_picture};
  std::vector<float> logits(50);
  EXPECT_EQ(executor.Step(input, logits.data()).message(),
            "step: pictures: expected none for a model that does not see, found 1 rows");
}

TEST(Pictures, ErrorsBeginWithTheFile) {
  EXPECT_EQ(ReadPicture(NINFER_SOURCE_DIR "/README.md", {}).status().message(), NINFER_SOURCE_DIR
            "/README.md: expected a PNG or a JPEG, found a file that begins with 23 20 6e 69");
}

}  // namespace
}  // namespace ninfer::runtime
