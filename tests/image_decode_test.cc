// Reading PNG and JPEG: byte for byte what Pillow reads, and the words with which damage is
// refused.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "image/picture.h"
#include "tests/image_testing.h"

namespace ninfer::image {
namespace {

using ::testing::HasSubstr;

constexpr char kFolder[] = NINFER_SOURCE_DIR "/tests/data/image-decoding";

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
    for (size_t size = 0; size + 12 < bytes.size(); size += 7) {
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
            "JPEG: Corrupt JPEG data: premature end of data segment");
  EXPECT_EQ(ErrorOf(absl::string_view(jpeg).substr(0, 100)), "JPEG: Premature end of JPEG file");
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
  EXPECT_EQ(ExifOrientation(little.substr(0, 21)), 0);
  EXPECT_EQ(ExifOrientation(""), 0);
  EXPECT_EQ(ExifOrientation(std::string("II*\0\xff\xff\xff\xff", 8)), 0);
  std::string nine = little;
  nine[18] = 9;
  EXPECT_EQ(ExifOrientation(nine), 1);
}

TEST(ImageDecode, TheOrientationMayBeALongNumberOrInXmp) {
  const std::string big("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06", 22);
  EXPECT_EQ(ExifOrientation(big), 6);
  EXPECT_EQ(XmpOrientation("<x tiff:Orientation=\"8\"/>"), 8);
  EXPECT_EQ(XmpOrientation("<tiff:Orientation>3</tiff:Orientation>"), 3);
  EXPECT_EQ(XmpOrientation("<tiff:Orientation>9</tiff:Orientation>"), 1);
  EXPECT_EQ(XmpOrientation("tiff:Orientation"), 0);
}

TEST(ImageDecode, APngsXmpIsAskedWhereItHasNoExif) {
  const auto chunk = [](const std::string& type_and_data) {
    const auto number = [](size_t value) {
      std::string bytes;
      for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (24 - 8 * i));
      return bytes;
    };
    const auto* data = reinterpret_cast<const uint8_t*>(type_and_data.data());
    return number(type_and_data.size() - 4) + type_and_data +
           number(crc32(0, data, type_and_data.size()));
  };
  const std::string png = ImageBytes(kFolder, "gamma.png");
  const std::string xmp =
      chunk(std::string("iTXtXML:com.adobe.xmp\0\0\0\0\0", 26) + "<x tiff:Orientation=\"8\"/>");
  const size_t header = 8 + 25;  // the signature and IHDR
  const auto upright = Decode(png);
  const auto turned = Decode(png.substr(0, header) + xmp + png.substr(header));
  ASSERT_TRUE(upright.ok()) << upright.status();
  ASSERT_TRUE(turned.ok()) << turned.status();
  EXPECT_EQ(turned->pixels, Upright(*upright, 8).pixels);
  EXPECT_EQ(turned->width, upright->height);
  const std::string both = ImageBytes(kFolder, "turned.png");
  EXPECT_EQ(Decode(both.substr(0, header) + xmp + both.substr(header))->pixels,
            Decode(both)->pixels);
}

// Pillow, since 2009: "always use Adobe polarity".
TEST(ImageDecode, InksAreAdobesWithoutItsMarkToo) {
  const std::string marked = ImageBytes(kFolder, "cmyk.jpg");
  ASSERT_EQ(marked.substr(6, 5), "Adobe");  // of a segment of 16 bytes, the first
  const auto expected = Decode(marked), found = Decode(marked.substr(0, 2) + marked.substr(18));
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->pixels, expected->pixels);
}

TEST(ImageDecode, OnlyTheMarkOfTheEndMayBeMissing) {
  for (const char* name : {"grey.jpg", "grey-4.png"}) {
    const std::string whole = ImageBytes(kFolder, name);
    const size_t mark = name[5] == 'j' ? 2 : 12;
    const auto expected = Decode(whole), found = Decode(whole.substr(0, whole.size() - mark));
    ASSERT_TRUE(expected.ok()) << expected.status();
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->pixels, expected->pixels);
    EXPECT_FALSE(Decode(whole.substr(0, whole.size() * 3 / 4)).ok()) << name;
  }
}

TEST(ImageDecode, AWidthThatAFileCannotHoldTakesNoMemory) {
  std::string png = ImageBytes(kFolder, "rgb-16.png");
  const size_t header = png.find("IHDR");
  ASSERT_NE(header, png.npos);
  png.replace(header + 4, 8, std::string("\x7f\xff\xff\xff\0\0\0\x01", 8));
  const uint32_t crc = crc32(0, reinterpret_cast<const uint8_t*>(&png[header]), 17);
  for (int i = 0; i < 4; ++i) png[header + 17 + i] = static_cast<char>(crc >> (24 - 8 * i));
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  EXPECT_EQ(ErrorOf(png), "PNG: expected at most 178956970 pixels, found 2147483647 by 1");
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 << 10);  // KiB
}

}  // namespace
}  // namespace ninfer::image
