#include "formats/formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace ninfer::formats {
namespace {

constexpr Format kAll[] = {
#define FORMAT(enumerator, ...) Format::k##enumerator,
#include "formats/formats.def"
};

struct Case {
  Format format;
  PackedShape shape;
};

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (Format format : kAll) {
    for (int64_t segments : {1, 2}) {
      if (segments > 1 && !InfoOf(format).is_panel) continue;
      for (int64_t n : {1, 31, 32, 33, 96, 100}) {
        for (int64_t k : {1, 2, 63, 64, 65, 129}) cases.push_back({format, {n, k, segments}});
      }
    }
  }
  return cases;
}

// Values that the format holds: random ones as it rounds them.
std::vector<float> ExactValues(Format format, const PackedShape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(shape.n * shape.k);
  for (float& value : values) value = normal(random);
  const FormatInfo& info = InfoOf(format);
  if (info.scheme != nullptr) {
    for (int64_t n = 0; n < shape.n; ++n) {
      float* row = values.data() + n * shape.k;
      QuantiseRow(*info.scheme, row, shape.k, row);
    }
    return values;
  }
  std::vector<char> stored(values.size() * 4);
  const int64_t count = static_cast<int64_t>(values.size());
  ConvertFromFloat(values.data(), info.dtype, stored.data(), count);
  ConvertToFloat(info.dtype, stored.data(), values.data(), count);
  return values;
}

class FormatCase : public testing::TestWithParam<Case> {};

TEST_P(FormatCase, UnpackOfPackIsTheWeight) {
  const auto [format, shape] = GetParam();
  std::vector<char> packed(PackedBytes(format, shape), '\x5a');
  std::vector<std::vector<float>> weights;
  for (int64_t s = 0; s < shape.segments; ++s) {
    weights.push_back(ExactValues(format, shape, 7 + s));
    // In two calls, as packing threads share the work.
    const int64_t middle = std::min<int64_t>(shape.n, 32);
    PackRows(format, shape, s, 0, middle, weights[s].data(), packed.data());
    if (middle < shape.n) {
      PackRows(format, shape, s, middle, shape.n, weights[s].data() + middle * shape.k,
               packed.data());
    }
  }
  for (int64_t s = 0; s < shape.segments; ++s) {
    std::vector<float> found(shape.n * shape.k, -1);
    UnpackRows(format, shape, s, 0, shape.n, packed.data(), found.data());
    EXPECT_EQ(found, weights[s]);
  }
}

TEST_P(FormatCase, PanelsUnpackTurnedToTheColumnsOfTheirRows) {
  const auto [format, shape] = GetParam();
  if (!InfoOf(format).is_panel) return;
  std::vector<char> packed(PackedBytes(format, shape));
  for (int64_t s = 0; s < shape.segments; ++s) {
    const std::vector<float> weight = ExactValues(format, shape, 7 + s);
    PackRows(format, shape, s, 0, shape.n, weight.data(), packed.data());
    const int64_t n0 = shape.n > kPanelColumns ? kPanelColumns : 0;
    const int64_t count = shape.n - n0, ld = count + 3;
    std::vector<float> found(shape.k * ld, -1);
    UnpackTurned(format, shape, s, n0, shape.n, packed.data(), ld, found.data());
    for (int64_t k = 0; k < shape.k; ++k) {
      for (int64_t i = 0; i < ld; ++i) {
        const float expected = i < count ? weight[(n0 + i) * shape.k + k] : -1;
        ASSERT_EQ(found[k * ld + i], expected) << "row " << n0 + i << ", k " << k;
      }
    }
  }
}

// The layout column of formats.def, written out: the one place that says where an element lies.
TEST_P(FormatCase, ElementsLieWhereTheTableSays) {
  const auto [format, shape] = GetParam();
  const FormatInfo& info = InfoOf(format);
  if (info.scheme != nullptr) return;  // IntegersAndScalesLieWhereTheTableSays
  std::vector<char> packed(PackedBytes(format, shape), '\x5a');
  const std::vector<float> weight = ExactValues(format, shape, 3);
  for (int64_t s = 0; s < shape.segments; ++s) {
    PackRows(format, shape, s, 0, shape.n, weight.data(), packed.data());
  }
  const int64_t size = DTypeSize(info.dtype);
  const int64_t padded_n = info.is_panel ? (shape.n + 31) / 32 * 32 : shape.n;
  const int64_t padded_k = (shape.k + info.k_step - 1) / info.k_step * info.k_step;
  for (int64_t s = 0; s < shape.segments; ++s) {
    for (int64_t n = 0; n < padded_n; ++n) {
      for (int64_t k = 0; k < padded_k; ++k) {
        const int64_t element =
            info.is_panel
                ? (((n / 32 * shape.segments + s) * (padded_k / info.k_step) + k / info.k_step) *
                       32 +
                   n % 32) *
                          info.k_step +
                      k % info.k_step
                : n * shape.k + k;
        float found = -1;
        ASSERT_LE((element + 1) * size, static_cast<int64_t>(packed.size()));
        ConvertToFloat(info.dtype, packed.data() + element * size, &found, 1);
        const bool inside = n < shape.n && k < shape.k;
        ASSERT_EQ(found, inside ? weight[n * shape.k + k] : 0.0f) << n << ", " << k;
      }
    }
  }
}

TEST_P(FormatCase, IntegersAndScalesLieWhereTheTableSays) {
  const auto [format, shape] = GetParam();
  const FormatInfo& info = InfoOf(format);
  if (info.scheme == nullptr) return;
  std::vector<uint8_t> packed(PackedBytes(format, shape), 0x5a);
  const std::vector<float> weight = ExactValues(format, shape, 3);
  for (int64_t s = 0; s < shape.segments; ++s) {
    PackRows(format, shape, s, 0, shape.n, weight.data(), packed.data());
  }
  const QuantiseScheme& scheme = *info.scheme;
  const bool bytes = scheme.bits == 8, shifted = scheme.grid == QuantiseGrid::kShifted;
  const int64_t blocks = (shape.k + 31) / 32, block_bytes = 32 * (bytes ? 32 : 16);
  const int64_t per_group = scheme.group == 0 ? blocks : scheme.group / 32;
  const int64_t header_bytes = shifted ? 96 : 64;
  const int64_t headers = (blocks + per_group - 1) / per_group;
  const int64_t panel_bytes = headers * header_bytes + blocks * block_bytes;
  for (int64_t s = 0; s < shape.segments; ++s) {
    for (int64_t n = 0; n < (shape.n + 31) / 32 * 32; ++n) {
      for (int64_t k = 0; k < blocks * 32; ++k) {
        const int64_t panel = (n / 32 * shape.segments + s) * panel_bytes;
        const int64_t header =
            panel + k / 32 / per_group * (header_bytes + per_group * block_bytes);
        const int64_t block = header + header_bytes + k / 32 % per_group * block_bytes;
        uint16_t half = 0;
        std::memcpy(&half, &packed[header + n % 32 * 2], 2);
        const int zero = shifted ? packed[header + 64 + n % 32] : bytes ? 128 : 8;
        int level = 0;
        if (bytes) {
          level = packed[block + (k % 32 / 4 * 32 + n % 32) * 4 + k % 4];
        } else {
          const int byte = packed[block + (k % 32 / 8 * 32 + n % 32) * 4 + k % 4];
          level = k % 8 < 4 ? byte & 15 : byte >> 4;
        }
        const bool table = scheme.grid == QuantiseGrid::kTable;
        // What is behind K is multiplied with zeros.
        if (table && n < shape.n && k >= shape.k) continue;
        const int integer = table ? kQuantiseTable[level] : level - zero;
        const bool inside = n < shape.n && k < shape.k;
        ASSERT_EQ(static_cast<float>(integer) * F16ToFloat(half),
                  inside ? weight[n * shape.k + k] : 0.0f)
            << n << ", " << k;
      }
    }
  }
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return std::string(InfoOf(c.format).name) + "_n" + std::to_string(c.shape.n) + "_k" +
         std::to_string(c.shape.k) + "_s" + std::to_string(c.shape.segments);
}

INSTANTIATE_TEST_SUITE_P(Formats, FormatCase, testing::ValuesIn(AllCases()), CaseName);

TEST(Formats, PackingRoundsToTheNearestValueOfTheDtype) {
  const float value = 1.0f + 1.0f / 512;  // halfway and a bit below the next bf16
  char packed[2 * 64];
  float found = 0;
  PackRows(Format::kPanelBF16, {1, 1, 1}, 0, 0, 1, &value, packed);
  UnpackRows(Format::kPanelBF16, {1, 1, 1}, 0, 0, 1, packed, &found);
  EXPECT_EQ(found, Bf16ToFloat(FloatToBf16(value)));
  PackRows(Format::kPanelF16, {1, 1, 1}, 0, 0, 1, &value, packed);
  UnpackRows(Format::kPanelF16, {1, 1, 1}, 0, 0, 1, packed, &found);
  EXPECT_EQ(found, value);
}

TEST(Formats, InfinitiesAndNansSurvive) {
  const float values[] = {INFINITY, -INFINITY, NAN, -0.0f};
  for (Format format : kAll) {
    if (InfoOf(format).scheme != nullptr) continue;  // integers have none
    std::vector<char> packed(PackedBytes(format, {4, 1, 1}));
    float found[4];
    PackRows(format, {4, 1, 1}, 0, 0, 4, values, packed.data());
    UnpackRows(format, {4, 1, 1}, 0, 0, 4, packed.data(), found);
    EXPECT_EQ(found[0], INFINITY);
    EXPECT_EQ(found[1], -INFINITY);
    EXPECT_TRUE(std::isnan(found[2]));
    EXPECT_TRUE(std::signbit(found[3]));
  }
}

TEST(Formats, NamesAreUniqueAndFoundAgain) {
  std::set<absl::string_view> names;
  for (Format format : kAll) {
    EXPECT_TRUE(names.insert(InfoOf(format).name).second);
    ASSERT_TRUE(FormatFromName(InfoOf(format).name).has_value());
    EXPECT_EQ(*FormatFromName(InfoOf(format).name), format);
    EXPECT_EQ(InfoOf(format).format, format);
  }
  EXPECT_FALSE(FormatFromName("panel_f64").has_value());
}

TEST(Formats, EveryStorageDtypeHasPanelsAndPlainRows) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    EXPECT_EQ(InfoOf(PanelFormat(dtype)).dtype, dtype);
    EXPECT_TRUE(InfoOf(PanelFormat(dtype)).is_panel);
    EXPECT_EQ(InfoOf(PlainFormat(dtype)).dtype, dtype);
    EXPECT_FALSE(InfoOf(PlainFormat(dtype)).is_panel);
  }
}

TEST(FormatsDeathTest, AStretchThatCutsAPanelIsRefused) {
  const std::vector<float> rows(64);
  std::vector<char> packed(PackedBytes(Format::kPanelF32, {64, 1, 1}));
  EXPECT_DEATH(PackRows(Format::kPanelF32, {64, 1, 1}, 0, 16, 64, rows.data(), packed.data()),
               "row 16 does not begin a panel");
  EXPECT_DEATH(PackRows(Format::kPanelF32, {64, 1, 1}, 0, 0, 33, rows.data(), packed.data()),
               "row 33 cuts a panel");
  EXPECT_DEATH(PackRows(Format::kPlainF32, {64, 1, 2}, 1, 0, 32, rows.data(), packed.data()),
               "plain rows have one segment");
}

}  // namespace
}  // namespace ninfer::formats
