// Models of given shapes with seeded random weights, and the presets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "frontend/frontend.h"
#include "frontend/presets.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "tests/support/model_folder.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::TinyLlama;
using ::testing::HasSubstr;

ImportedModel Random(DType dtype, uint64_t seed, int64_t vocab = 37) {
  auto model = ImportRandomModel("tiny", TinyLlama({.vocab = vocab, .bias = true}).config.dump(),
                                 dtype, seed, {});
  EXPECT_TRUE(model.ok()) << model.status();
  return std::move(model).value();
}

std::vector<float> Values(const ImportedModel& model, absl::string_view name) {
  const auto view = model.weights->Find(name);
  EXPECT_TRUE(view.ok()) << view.status();
  int64_t count = 1;
  for (int64_t size : view->shape) count *= size;
  std::vector<float> values(count);
  ConvertToFloat(view->dtype, view->data, values.data(), count);
  return values;
}

TEST(Random, EqualSeedsGiveEqualBytesAndOthersDoNot) {
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto a = Values(Random(DType::kBF16, 7), name);
  EXPECT_EQ(a, Values(Random(DType::kBF16, 7), name));
  EXPECT_NE(a, Values(Random(DType::kBF16, 8), name));
  EXPECT_NE(a, Values(Random(DType::kBF16, 7), "model.layers.0.mlp.up_proj.weight"));
}

TEST(Random, LargeTensorsAreTheSameHoweverManyThreadsMakeThem) {
  const std::vector<float> large = Values(Random(DType::kF32, 1, 200003), "lm_head.weight");
  const std::vector<float> small = Values(Random(DType::kF32, 1, 1000), "lm_head.weight");
  EXPECT_TRUE(std::equal(small.begin(), small.end(), large.begin()));
  EXPECT_EQ(large.size(), 200003u * 24);
  EXPECT_NE(large.back(), 0.0f);
}

TEST(Random, ValuesAreNormalWithDeviationOneFiftieth) {
  const std::vector<float> values = Values(Random(DType::kF32, 1, 100000), "lm_head.weight");
  double sum = 0;
  double squares = 0;
  int64_t within = 0;
  for (float v : values) {
    sum += v;
    squares += double{v} * v;
    within += std::abs(v) < 0.02f;
  }
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0.0, 1e-4);
  EXPECT_NEAR(std::sqrt(squares / n), 0.02, 1e-4);
  EXPECT_NEAR(static_cast<double>(within) / n, 0.6827, 0.002);
}

TEST(Random, NormWeightsLieAroundOneAndBiasesAroundZero) {
  const ImportedModel model = Random(DType::kF16, 1);
  for (float v : Values(model, "model.norm.weight")) EXPECT_NEAR(v, 1.0f, 0.1f);
  for (float v : Values(model, "model.layers.0.mlp.up_proj.bias")) EXPECT_NEAR(v, 0.0f, 0.1f);
}

TEST(Random, TheStoredDtypeIsTheOneAskedFor) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const ImportedModel model = Random(dtype, 1);
    EXPECT_EQ(model.info.stored_dtype, dtype);
    EXPECT_EQ(model.weights->Find("lm_head.weight")->dtype, dtype);
  }
  EXPECT_EQ(ImportRandomModel("x", "{}", DType::kI8, 1, {}).status().message(),
            "random weights: expected dtype f32, f16 or bf16, found i8");
}

TEST(Random, AnUnknownWeightIsAnError) {
  EXPECT_EQ(Random(DType::kF32, 1).weights->Find("w").status().message(),
            "random weights: expected a tensor of the model, found \"w\"");
}

TEST(Random, TheGraphIsThatOfACheckpointOfTheSameConfiguration) {
  ninfer::testing::TemporaryFolder folder;
  ninfer::testing::WriteModel(folder.path(), TinyLlama());
  const auto stored = ImportModel(folder.path(), {});
  ASSERT_TRUE(stored.ok()) << stored.status();
  const auto random = ImportRandomModel("x", TinyLlama().config.dump(), DType::kF32, 1, {});
  ASSERT_TRUE(random.ok()) << random.status();
  EXPECT_EQ(ir::Print(random->module), ir::Print(stored->module));
}

TEST(Presets, HaveTheParametersOfTheModelsTheyAreNamedAfter) {
  const std::pair<absl::string_view, int64_t> expected[] = {
      {"smollm2-135m", 134515008},    {"gpt2-124m", 124439808},     {"qwen2.5-0.5b", 494032768},
      {"tinyllama-1.1b", 1100048384}, {"llama-3.2-1b", 1235814400}, {"llama-3-8b", 8030261248}};
  EXPECT_EQ(Presets().size(), std::size(expected));
  for (const auto& [name, parameters] : expected) {
    SCOPED_TRACE(std::string(name));
    const Preset* preset = FindPreset(name);
    ASSERT_NE(preset, nullptr);
    const auto model =
        ImportRandomModel(std::string(name), preset->config_json, DType::kBF16, 1, {});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->info.parameters, parameters);
    const absl::Status verified = ir::Verify(model->module);
    EXPECT_TRUE(verified.ok()) << verified;
    const std::string text = ir::Print(model->module);
    const auto parsed = ir::Parse(text, "preset.ir");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(ir::Print(*parsed), text);
  }
  EXPECT_EQ(FindPreset("gpt5"), nullptr);
}

}  // namespace
}  // namespace ninfer::frontend
