// Frames as patches: where they stand, which of them make a row, and what is refused.
#include <nlohmann/json.hpp>

#include "image/patches.h"
#include "tests/image_testing.h"

namespace ninfer::image {
namespace {

// A mask of `rows` by `cols` patches of one pixel in a frame of `edge`.
std::vector<uint8_t> Mask(int64_t edge, int64_t rows, int64_t cols) {
  std::vector<uint8_t> mask(edge * edge);
  for (int64_t i = 0; i < edge * edge; ++i) mask[i] = i / edge < rows && i % edge < cols;
  return mask;
}

TEST(ImagePatches, PositionsOfCutFramesAreThoseOfTransformers) {
  const auto golden = nlohmann::json::parse(
      ImageBytes(NINFER_SOURCE_DIR "/tests/data/vision-processor", "positions.json"));
  for (const auto& [name, counts] : golden.items()) {
    const int64_t grid = std::stoll(name);
    const std::vector<float> frame(grid * grid);
    for (int64_t count = 1; count <= grid; ++count) {
      const auto patches = CutPatches(frame, Mask(grid, count, count), grid, {1, 1, grid, 1});
      ASSERT_TRUE(patches.ok()) << patches.status();
      const std::vector<int32_t> expected = counts[count - 1];
      for (int64_t i = 0; i < count * count; ++i) {
        ASSERT_EQ(patches->patch_ids[i], expected[i / count] * grid + expected[i % count])
            << "grid " << grid << ", " << count << " patches, patch " << i;
      }
    }
  }
}

TEST(ImagePatches, PaddingComesLastAndRowsHoldTheirSquares) {
  std::vector<float> frame(16);
  for (int i = 0; i < 16; ++i) frame[i] = static_cast<float>(i);
  const auto patches = CutPatches(frame, Mask(4, 3, 2), 4, {1, 1, 4, 2});
  ASSERT_TRUE(patches.ok()) << patches.status();
  EXPECT_EQ(patches->pixels,
            (std::vector<float>{0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(patches->visible, std::vector<int32_t>(16, 5));
  // The squares of the frame, each row by row: 0 1 4 5, 2 3 6 7, ...
  EXPECT_EQ(patches->shuffle,
            (std::vector<int32_t>{0, 1, 2, 3, 6, 7, 8, 9, 4, 5, 12, 13, 10, 11, 14, 15}));
}

TEST(ImagePatches, APatchIsRealWhenAnyOfItsPixelsIs) {
  std::vector<uint8_t> mask(16);
  mask[5] = 1;
  const auto patches = CutPatches(std::vector<float>(48), mask, 4, {3, 2, 2, 1});
  ASSERT_TRUE(patches.ok()) << patches.status();
  EXPECT_EQ(patches->visible, std::vector<int32_t>(4, 0));
  EXPECT_EQ(patches->pixels.size(), 48u);
}

TEST(ImagePatches, FramesThatDoNotFitAreRefused) {
  const auto error = [](int64_t edge, size_t numbers, const std::vector<uint8_t>& mask) {
    const std::vector<float> frame(numbers);
    return std::string(CutPatches(frame, mask, edge, {1, 2, 4, 2}).status().message());
  };
  EXPECT_EQ(error(6, 36, {}), "frame: expected an edge of at most 8 that 4 divides, found 6");
  EXPECT_EQ(error(12, 144, {}), "frame: expected an edge of at most 8 that 4 divides, found 12");
  EXPECT_EQ(error(4, 15, {}),
            "frame: expected 16 pixels of 1 numbers and a mask of as many, found 15 and 0");
  EXPECT_EQ(error(4, 16, std::vector<uint8_t>(16)), "frame: expected pixels, found padding alone");
}

}  // namespace
}  // namespace ninfer::image
