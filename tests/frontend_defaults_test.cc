// What a configuration that says nothing but its family means: the defaults of transformers'
// configuration classes. The rows were printed by transformers 5.23.0.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "frontend/frontend.h"
#include "nlohmann/json.hpp"

namespace ninfer::frontend {
namespace {

struct Defaults {
  std::string architecture, model_type;
  int64_t parameters, vocab, context;
  int32_t bos;  // -1: none
  std::vector<int32_t> eos;
  size_t frequencies;
  float second_frequency;
  double eps;
  int windows;  // layers that have one
};

void PrintTo(const Defaults& row, std::ostream* out) { *out << row.model_type; }

class DefaultsTest : public testing::TestWithParam<Defaults> {};

TEST_P(DefaultsTest, AreThoseOfTheConfigurationClass) {
  const Defaults& row = GetParam();
  const nlohmann::json config = {{"architectures", {row.architecture}},
                                 {"model_type", row.model_type}};
  const auto model = ImportRandomModel("test", config.dump(), DType::kBF16, 1, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->info.parameters, row.parameters);
  EXPECT_EQ(model->info.vocab_size, row.vocab);
  EXPECT_EQ(model->info.context_length, row.context);
  EXPECT_EQ(model->info.bos_id.value_or(-1), row.bos);
  EXPECT_EQ(model->info.eos_ids, row.eos);
  const ir::Value* frequencies = model->module.FindWeight("rope.inv_freq");
  ASSERT_NE(frequencies, nullptr);
  const std::vector<float>& values = model->module.WeightOf(frequencies).literal;
  ASSERT_EQ(values.size(), row.frequencies);
  EXPECT_FLOAT_EQ(values[1], row.second_frequency);
  int windows = 0;
  for (const auto& node : model->module.FindFunction("step")->nodes()) {
    windows += node->op() == ir::Op::kCausalMask && node->attr_int_or("window", 0) == 4096;
    if (node->op() != ir::Op::kRmsNorm && node->op() != ir::Op::kLayerNorm) continue;
    ASSERT_DOUBLE_EQ(node->attr_float("eps"), row.eps);
  }
  EXPECT_EQ(windows, row.windows);
}

INSTANTIATE_TEST_SUITE_P(
    Families, DefaultsTest,
    testing::ValuesIn(std::vector<Defaults>{
        {"CohereForCausalLM",
         "cohere",
         34980831232,
         256000,
         8192,
         5,
         {255001},
         64,
         0.81461722,
         1e-05,
         0},
        {"Cohere2ForCausalLM",
         "cohere2",
         34980831232,
         256000,
         8192,
         5,
         {255001},
         64,
         0.86596435,
         1e-05,
         30},
        {"GemmaForCausalLM", "gemma", 8537680896, 256000, 8192, 2, {1}, 128, 0.93057203, 1e-06, 0},
        {"Gemma2ForCausalLM",
         "gemma2",
         2614341888,
         256000,
         8192,
         2,
         {1},
         128,
         0.93057203,
         1e-06,
         13},
        {"Gemma3ForCausalLM",
         "gemma3_text",
         2628658432,
         262208,
         131072,
         2,
         {1},
         128,
         0.89768714,
         1e-06,
         22},
        {"Glm4ForCausalLM",
         "glm4",
         9400279040,
         151552,
         131072,
         -1,
         {151329, 151336, 151338},
         32,
         0.7498942,
         1.5625e-07,
         0},
        {"GraniteForCausalLM",
         "granite",
         6738415616,
         32000,
         2048,
         1,
         {2},
         64,
         0.86596435,
         1e-06,
         0},
        {"GraniteMoeForCausalLM",
         "granitemoe",
         37039116288,
         32000,
         2048,
         1,
         {2},
         64,
         0.86596435,
         1e-06,
         0},
        {"LlamaForCausalLM", "llama", 6738415616, 32000, 2048, 1, {2}, 64, 0.86596435, 1e-06, 0},
        {"MinistralForCausalLM",
         "ministral",
         7241732096,
         32000,
         131072,
         1,
         {2},
         64,
         0.86596435,
         1e-06,
         32},
        {"Ministral3ForCausalLM",
         "ministral3",
         8489553920,
         131072,
         262144,
         1,
         {2},
         64,
         0.80584222,
         1e-05,
         0},
        {"MistralForCausalLM",
         "mistral",
         7241732096,
         32000,
         131072,
         1,
         {2},
         64,
         0.86596435,
         1e-06,
         32},
        {"MixtralForCausalLM",
         "mixtral",
         46702792704,
         32000,
         131072,
         1,
         {2},
         64,
         0.80584222,
         1e-05,
         0},
        {"NemotronForCausalLM",
         "nemotron",
         17642041344,
         256000,
         4096,
         2,
         {3},
         32,
         0.7498942,
         1e-05,
         0},
        {"OlmoForCausalLM", "olmo", 6888095744, 50304, 2048, -1, {50279}, 64, 0.86596435, 1e-05, 0},
        {"Olmo2ForCausalLM",
         "olmo2",
         6888624128,
         50304,
         2048,
         -1,
         {50279},
         64,
         0.86596435,
         1e-05,
         0},
        {"Olmo3ForCausalLM",
         "olmo3",
         6888624128,
         50304,
         2048,
         -1,
         {50279},
         64,
         0.81461722,
         1e-05,
         24},
        {"OlmoeForCausalLM",
         "olmoe",
         13361612800,
         50304,
         4096,
         -1,
         {50279},
         64,
         0.86596435,
         1e-05,
         0},
        {"Phi3ForCausalLM", "phi3", 3821079552, 32064, 4096, 1, {32000}, 48, 0.82540417, 1e-05, 0},
        {"Qwen2ForCausalLM", "qwen2", 12049846272, 151936, 32768, -1, {}, 64, 0.86596435, 1e-06, 0},
        {"Qwen2MoeForCausalLM",
         "qwen2_moe",
         14315784192,
         151936,
         32768,
         -1,
         {},
         64,
         0.86596435,
         1e-06,
         0},
        {"Qwen3ForCausalLM", "qwen3", 12049461248, 151936, 32768, -1, {}, 64, 0.86596435, 1e-06, 0},
        {"Qwen3MoeForCausalLM",
         "qwen3_moe",
         15350731776,
         151936,
         32768,
         -1,
         {},
         32,
         0.7498942,
         1e-06,
         0},
        {"SmolLM3ForCausalLM",
         "smollm3",
         3075098624,
         128256,
         32768,
         128000,
         {128001},
         64,
         0.7971617,
         1e-06,
         0},
    }),
    [](const testing::TestParamInfo<Defaults>& info) { return info.param.model_type; });

}  // namespace
}  // namespace ninfer::frontend
