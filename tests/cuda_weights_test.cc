// Weights on the card: each element at the place that weights.h tells, zeros everywhere else.
#include <gtest/gtest.h>

#include <cmath>
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

// Of a format of floats: the byte where an element lies, and the number there.
int64_t PlaceOf(Format format, const TileLayout& layout, int64_t segment, int64_t n, int64_t k) {
  const int64_t size = DTypeSize(formats::InfoOf(format).dtype);
  return layout.ChunkAt(segment, n, k) + k % layout.chunk() * size;
}
float Element(Format format, const std::vector<uint8_t>& bytes, int64_t place) {
  float value = 0;
  ConvertToFloat(formats::InfoOf(format).dtype, bytes.data() + place, &value, 1);
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
          const int64_t place = PlaceOf(GetParam(), layout, segment, n, k);
          EXPECT_TRUE(places.insert(place).second);
          ASSERT_EQ(Element(GetParam(), bytes, place), Number(segment, n, k));
        }
      }
    }
    for (int64_t i = 0; i < layout.bytes(); i += layout.bits / 8) {
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
      const int64_t byte = layout.ChunkAt(0, row, chunk * layout.chunk());
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

// --- integers ------------------------------------------------------------------------------------

class CudaIntegers : public testing::TestWithParam<Format> {};

int IntegerAt(const QuantiseScheme& scheme, const uint8_t* chunk, int64_t i, int zero) {
  if (scheme.bits == 8) return static_cast<int8_t>(chunk[i]);
  return IntegerOf(scheme, chunk[i / 8 * 4 + i % 4] >> (i % 8 / 4 * 4) & 15, zero);
}

TEST_P(CudaIntegers, TimesTheirScalesAreTheValuesThatTheSchemeRoundsTo) {
  const QuantiseScheme& scheme = *formats::InfoOf(GetParam()).scheme;
  for (const PackedShape& shape : {PackedShape{8, 256, 1}, PackedShape{11, 300, 2}}) {
    const TileLayout layout = TilesOf(GetParam(), shape);
    std::vector<uint8_t> bytes(CardBytes(GetParam(), shape));
    for (int64_t segment = 0; segment < shape.segments; ++segment) {
      std::vector<float> rows;
      for (int64_t i = 0; i < shape.n * shape.k; ++i) {
        rows.push_back(std::sin(static_cast<float>(i * i + segment)));
      }
      PackCardRows(GetParam(), shape, segment, 0, shape.n, rows.data(), bytes.data());
      for (int64_t n = 0; n < shape.n; ++n) {
        std::vector<float> expected(shape.k);
        QuantiseRow(scheme, rows.data() + n * shape.k, shape.k, expected.data());
        for (int64_t k = 0; k < shape.k; ++k) {
          const uint8_t* entry = bytes.data() + layout.EntryAt(segment, n, k);
          float scale = 0;
          ConvertToFloat(DType::kF16, entry, &scale, 1);
          const bool shifted = scheme.grid == QuantiseGrid::kShifted;
          const int integer =
              IntegerAt(scheme, bytes.data() + layout.ChunkAt(segment, n, k), k % layout.chunk(),
                        shifted ? entry[2] : scheme.zero_point());
          ASSERT_EQ(static_cast<float>(integer) * scale, expected[k])
              << segment << " " << n << " " << k;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaIntegers,
                         testing::Values(Format::kPanelInt8G32, Format::kPanelInt8Channel,
                                         Format::kPanelInt4G32, Format::kPanelInt4G128,
                                         Format::kPanelInt4aG32, Format::kPanelInt4aG128,
                                         Format::kPanelNu4G32),
                         [](const auto& info) {
                           return std::string(formats::InfoOf(info.param).name);
                         });

TEST(CudaWeightPlaces, LieAtMultiplesOfAKibibyteOneBehindTheOther) {
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
