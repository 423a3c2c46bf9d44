// Reading PNG and JPEG: byte for byte what Pillow reads, and the words with which damage is
// refused.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>

#include "image/picture.h"
#include "tests/image_testing.h"

namespace ninfer::image {
namespace {

using ::testing::HasSubstr;

constexpr char kFolder[] = "image-decoding";

std::string ErrorOf(absl::string_view bytes) {
  const auto picture = Decode(bytes);
  return picture.ok() ? "read" : std::string(picture.status().message());
}

TEST(ImageDecode, EveryKindOfFileGivesPillowsBytes) {
  const auto golden = ImageGoldens(kFolder);
  ASSERT_NE(golden, nullptr);
  ASSERT_GT(golden->tensors().size(), 20u);
  for (const frontend::StoredTensor& expected : golden->tensors()) {
    const auto picture = Decode(ImageBytes(kFolder, expected.name));
    ASSERT_TRUE(picture.ok()) << expected.name << ": " << picture.status();
    EXPECT_EQ(picture->height, expected.shape[0]) << expected.name;
    EXPECT_EQ(picture->width, expected.shape[1]) << expected.name;
    ASSERT_EQ(picture->pixels.size(), expected.bytes) << expected.name;
    EXPECT_TRUE(std::equal(picture->pixels.begin(), picture->pixels.end(), expected.data))
        << expected.name;
  }
}

TEST(ImageDecode, AFileThatWasCutAnywhereIsRefused) {
  for (const char* name : {"rgb-16.png", "interlaced.png", "full-colour.jpg", "progressive.jpg"}) {
    const std::string bytes = ImageBytes(kFolder, name);
    for (size_t size = 0; size + 2 < bytes.size(); size += 7) {
      EXPECT_NE(ErrorOf(absl::string_view(bytes).substr(0, size)), "read") << name << " " << size;
    }
  }
}

TEST(ImageDecode, ErrorsSayWhatWasFound) {
  EXPECT_EQ(ErrorOf(""), "expected a PNG or a JPEG, found a file that begins with nothing");
  EXPECT_EQ(ErrorOf("GIF89a"),
            "expected a PNG or a JPEG, found a file that begins with 47 49 46 38");
  std::string png = ImageBytes(kFolder, "gamma.png");
  EXPECT_EQ(ErrorOf(absl::string_view(png).substr(0, 60)), "PNG: the file ends too early");
  png[20] = 'x';
  EXPECT_THAT(ErrorOf(png), HasSubstr("CRC"));
  const std::string jpeg = ImageBytes(kFolder, "grey.jpg");
  EXPECT_EQ(ErrorOf(absl::string_view(jpeg).substr(0, jpeg.size() - 20)),
            "JPEG: Premature end of JPEG file");
}

TEST(ImageDecode, SizesThatAFileCannotHoldAreRefusedBeforeTheyTakeMemory) {
  EXPECT_EQ(CheckSize(0, 5, kMostPixels).message(), "expected a picture, found 0 by 5 pixels");
  EXPECT_EQ(CheckSize(100000, 100000, kMostPixels).message(),
            "expected at most 178956970 pixels, found 100000 by 100000");
  // A JPEG's height and width stand behind its frame header's first five bytes.
  std::string jpeg = ImageBytes(kFolder, "full-colour.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, jpeg.npos);
  std::memcpy(&jpeg[frame + 5], "\x20\x00\x20\x00", 4);
  EXPECT_EQ(ErrorOf(jpeg),
            "JPEG: expected the bytes of 8192 by 8192 pixels, found a file too short for them");
}

TEST(ImageDecode, ExifThatMakesNoSenseIsUpright) {
  const std::string little("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0", 22);
  EXPECT_EQ(ExifOrientation(little), 6);
  EXPECT_EQ(ExifOrientation(little.substr(0, 21)), 1);
  EXPECT_EQ(ExifOrientation(""), 1);
  EXPECT_EQ(ExifOrientation(std::string("II*\0\xff\xff\xff\xff", 8)), 1);
  std::string nine = little;
  nine[18] = 9;
  EXPECT_EQ(ExifOrientation(nine), 1);
}

}  // namespace
}  // namespace ninfer::image
