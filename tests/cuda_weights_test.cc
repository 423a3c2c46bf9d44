// Weights on the card: each element at the place that weights.h tells, zeros everywhere else.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "cuda/generate/weights.h"

namespace ninfer::cuda {
namespace {

using formats::Format;
using formats::PackedShape;

float Number(int64_t segment, int64_t n, int64_t k) {
  return static_cast<float>(segment * 64 + n % 16 * 4 + k % 4 + 1);  // exact in bf16
}

std::vector<uint8_t> Packed(Format format, const PackedShape& shape) {
  std::vector<uint8_t> bytes(CardBytes(format, shape));
  for (int64_t segment = 0; segment < shape.segments; ++segment) {
    std::vector<float> rows;
    for (int64_t n = 0; n < shape.n; ++n) {
      for (int64_t k = 0; k < shape.k; ++k) rows.push_back(Number(segment, n, k));
    }
    // In two pieces, as threads pack them.
    const int64_t cut = shape.n / 2;
    PackCardRows(format, shape, segment, 0, cut, rows.data(), bytes.data());
    PackCardRows(format, shape, segment, cut, shape.n, rows.data() + cut * shape.k, bytes.data());
  }
  return bytes;
}

float Element(Format format, const std::vector<uint8_t>& bytes, int64_t index) {
  const DType dtype = formats::InfoOf(format).dtype;
  float value = 0;
  ConvertToFloat(dtype, bytes.data() + index * DTypeSize(dtype), &value, 1);
  return value;
}

class CudaWeights : public testing::TestWithParam<Format> {};

TEST_P(CudaWeights, HaveEveryElementAtItsPlaceAndZerosBesides) {
  for (const PackedShape& shape : {PackedShape{8, 64, 1}, PackedShape{13, 33, 2},
                                   PackedShape{40, 130, 1}, PackedShape{1, 1, 3}}) {
    const TileLayout layout = TilesOf(GetParam(), shape);
    const std::vector<uint8_t> bytes = Packed(GetParam(), shape);
    ASSERT_EQ(static_cast<int64_t>(bytes.size()), layout.bytes());
    std::set<int64_t> places;
    for (int64_t segment = 0; segment < shape.segments; ++segment) {
      for (int64_t n = 0; n < shape.n; ++n) {
        for (int64_t k = 0; k < shape.k; ++k) {
          const int64_t place = layout.ElementAt(segment, n, k);
          EXPECT_TRUE(places.insert(place).second);
          ASSERT_EQ(Element(GetParam(), bytes, place), Number(segment, n, k));
        }
      }
    }
    for (int64_t i = 0; i < layout.bytes() / layout.size; ++i) {
      EXPECT_TRUE(places.contains(i) || Element(GetParam(), bytes, i) == 0) << i;
    }
  }
}

// What makes 128-bit loads of a warp one stretch of 512 bytes, and 8 rows of a column of chunks 8
// different places of 16 bytes modulo 128: no bank of shared memory twice.
TEST_P(CudaWeights, KeepEightRowsOfATileInOneKibibyteAndColumnsOfChunksApart) {
  const PackedShape shape = {16, 256, 1};
  const TileLayout layout = TilesOf(GetParam(), shape);
  for (int64_t chunk = 0; chunk < 8; ++chunk) {
    std::set<int64_t> places;
    for (int64_t row = 0; row < 8; ++row) {
      const int64_t byte = layout.ElementAt(0, row, chunk * layout.chunk()) * layout.size;
      EXPECT_LT(byte, kTileBytes);
      EXPECT_EQ(byte / 128, row);
      places.insert(byte % 128 / 16);
    }
    EXPECT_EQ(places.size(), 8u);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaWeights,
                         testing::Values(Format::kPanelF32, Format::kPanelBF16, Format::kPanelF16),
                         [](const auto& info) {
                           return std::string(formats::InfoOf(info.param).name);
                         });

TEST(CudaWeights, LieAtMultiplesOfAKibibyteOneBehindTheOther) {
  program::Program program;
  for (int64_t k : {64, 100, 1}) {
    program::PackedWeight weight;
    weight.format = k == 1 ? Format::kPlainF32 : Format::kPanelBF16;
    weight.shape = {k == 1 ? 1 : 9, k == 1 ? 70 : k, 1};
    program.weights.push_back(weight);
  }
  const WeightPlaces places = PlaceWeights(program);
  EXPECT_EQ(places.offsets, (std::vector<int64_t>{0, 2048, 2048 + 4096}));
  EXPECT_EQ(places.bytes, 2048 + 4096 + 1024);
}

}  // namespace
}  // namespace ninfer::cuda
