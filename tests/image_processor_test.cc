// What a model sees of a picture, against the goldens of transformers' SmolVLM processor.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "image/processor.h"
#include "image/resize.h"
#include "tests/image_testing.h"

namespace ninfer::image {
namespace {

using Json = nlohmann::json;

int64_t LongestEdge(const Json& size) {
  if (size.size() != 1) ADD_FAILURE() << "expected longest_edge alone, found " << size;
  return size.at("longest_edge");
}

// What an option of golden.json changes of the defaults. A key that is not read would make of the
// case another one, so it fails.
ProcessorSettings SettingsOf(const Json& option) {
  ProcessorSettings settings;
  for (const auto& [key, value] : option.items()) {
    if (key == "do_resize") {
      settings.do_resize = value;
    } else if (key == "do_image_splitting") {
      settings.do_image_splitting = value;
    } else if (key == "do_rescale") {
      settings.do_rescale = value;
    } else if (key == "do_normalize") {
      settings.do_normalize = value;
    } else if (key == "size") {
      settings.longest_edge = LongestEdge(value);
    } else if (key == "max_image_size") {
      settings.max_image_size = LongestEdge(value);
    } else if (key == "rescale_factor") {
      settings.rescale_factor = value;
    } else if (key == "image_mean") {
      settings.image_mean = value;
    } else if (key == "image_std") {
      settings.image_std = value;
    } else if (key == "resample") {
      EXPECT_EQ(value, 1) << "Lanczos alone";
    } else if (key == "do_convert_rgb") {
      EXPECT_EQ(value, true) << "pictures are RGB";
    } else if (key != "do_pad") {  // one picture is never padded
      ADD_FAILURE() << "expected a key of the processor, found " << key;
    }
  }
  return settings;
}

class ImageProcessorCases : public ::testing::TestWithParam<std::string> {};

void ExpectAlike(const Frames& frames, const frontend::StoredTensor& expected) {
  ASSERT_EQ(frames.count(), expected.shape[0]);
  ASSERT_EQ(frames.pixels.size() * sizeof(float), expected.bytes);
  const auto* values = reinterpret_cast<const float*>(expected.data);
  for (size_t i = 0; i < frames.pixels.size(); ++i) {
    const double wanted = values[i];
    ASSERT_LE(std::abs(double{frames.pixels[i]} - wanted), 1e-6 * std::max(std::abs(wanted), 1.0))
        << "number " << i;
  }
}

// The bound that is asked for is a step of a byte; found is equality but for the last bit.
TEST_P(ImageProcessorCases, EveryPictureGivesTheNumbersOfTransformers) {
  const auto golden = ImageGoldens(GetParam());
  ASSERT_NE(golden, nullptr);
  const Json cases = Json::parse(ImageBytes(GetParam(), "golden.json"));
  ASSERT_FALSE(cases["cases"].empty());
  for (const Json& entry : cases["cases"]) {
    const std::string key = entry["tensors"];
    SCOPED_TRACE(key);
    const Json& option = cases["options"].at(entry["option"]);
    const auto picture = Decode(ImageBytes(GetParam(), entry["picture"]));
    ASSERT_TRUE(picture.ok()) << picture.status();
    const auto frames = Process(*picture, SettingsOf(option));
    ASSERT_TRUE(frames.ok()) << frames.status();
    EXPECT_EQ(frames->rows, entry["rows"].get<int64_t>());
    EXPECT_EQ(frames->cols, entry["cols"].get<int64_t>());
    const frontend::StoredTensor* expected = golden->Find(key + ".pixel_values");
    ASSERT_NE(expected, nullptr);
    ExpectAlike(*frames, *expected);
    if (!option.value("do_pad", true)) continue;  // without a mask
    // No frame is padded, so the mask is ones alone, which is what models are given.
    const frontend::StoredTensor* mask = golden->Find(key + ".pixel_attention_mask");
    ASSERT_NE(mask, nullptr);
    EXPECT_TRUE(
        std::all_of(mask->data, mask->data + mask->bytes, [](auto one) { return one == 1; }));
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, ImageProcessorCases,
                         ::testing::ValuesIn(ImageFolders("image-processing")),
                         [](const auto& info) {
                           // Of the project's own folder "data", of the test data's "goldens".
                           const std::filesystem::path path(info.param);
                           std::string name = path.parent_path().filename().string() + "_" +
                                              path.filename().string();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ImageProcessor, CasesOfTheTestDataAreAmongThose) {
  NINFER_TEST_DATA_OR_SKIP(folder, "goldens/image-processing");
  const std::vector<std::string> folders = ImageFolders("image-processing");
  EXPECT_NE(std::find(folders.begin(), folders.end(), folder), folders.end());
}

TEST(ImageProcessor, APictureOfTheWantedSizeStaysAsItIs) {
  Picture picture{3, 2, std::vector<uint8_t>(18)};
  for (size_t i = 0; i < picture.pixels.size(); ++i)
    picture.pixels[i] = static_cast<uint8_t>(i * 14);
  EXPECT_EQ(Resize(picture, 3, 2).pixels, picture.pixels);
}

TEST(ImageProcessor, StepsThatAreSwitchedOffAreLeftOut) {
  const Picture picture{2, 2, {0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110}};
  ProcessorSettings settings;
  settings.do_resize = settings.do_rescale = settings.do_normalize = false;
  settings.max_image_size = 2;
  const auto frames = Process(picture, settings);
  ASSERT_TRUE(frames.ok()) << frames.status();
  EXPECT_EQ(frames->rows, 0);
  EXPECT_EQ(frames->pixels, (std::vector<float>{0, 30, 60, 90, 10, 40, 70, 100, 20, 50, 80, 110}));
  settings.do_rescale = true;
  EXPECT_FLOAT_EQ(Process(picture, settings)->pixels[1], 30 / 255.0f);
}

TEST(ImageProcessor, APictureOfOneRowIsCutIntoFrames) {
  const Picture picture{4000, 1, std::vector<uint8_t>(12000, 255)};
  ProcessorSettings settings;
  settings.longest_edge = 64;
  settings.max_image_size = 16;
  const auto frames = Process(picture, settings);
  ASSERT_TRUE(frames.ok()) << frames.status();
  EXPECT_EQ(frames->rows, 1);
  EXPECT_EQ(frames->cols, 4);
  EXPECT_EQ(*std::min_element(frames->pixels.begin(), frames->pixels.end()), 1.0f);
}

TEST(ImageProcessor, APictureWhoseFramesWouldFillTheMemoryIsRefused) {
  const Picture picture{4096 * 12, 1, std::vector<uint8_t>(4096 * 36, 255)};
  ProcessorSettings settings;
  settings.do_resize = false;
  settings.max_image_size = 4096;
  EXPECT_EQ(Process(picture, settings).status().message(),
            "expected frames of at most 178956970 pixels in all, found 1 by 12 of 4096 by 4096");
}

TEST(ImageProcessor, SettingsThatMakeNoPictureAreRefused) {
  ProcessorSettings settings;
  EXPECT_TRUE(CheckSettings(settings).ok());
  settings.max_image_size = 0;
  EXPECT_EQ(CheckSettings(settings).message(), "max_image_size: expected 1 to 4096, found 0");
  settings = {};
  settings.longest_edge = -1;
  EXPECT_EQ(CheckSettings(settings).message(),
            "size: longest_edge: expected 1 to 1048576, found -1");
  settings = {};
  settings.image_std[1] = 0;
  EXPECT_EQ(CheckSettings(settings).message(), "image_std: expected numbers other than 0, found 0");
}

}  // namespace
}  // namespace ninfer::image
