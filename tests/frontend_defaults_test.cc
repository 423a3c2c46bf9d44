// What a configuration that says nothing but its family means: the defaults of transformers'
// configuration classes, which stand in defaults.json of a folder of each family.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "frontend/frontend.h"
#include "ir/text.h"
#include "nlohmann/json.hpp"

namespace ninfer::frontend {
namespace {

using ::nlohmann::json;

std::vector<std::string> FoldersWith(const std::string& file) {
  std::vector<std::string> folders;
  for (const auto& entry :
       std::filesystem::directory_iterator(NINFER_SOURCE_DIR "/tests/data/hf-models")) {
    if (FileExists(entry.path().string() + "/" + file)) folders.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

json ReadJson(const std::string& file) {
  const auto text = ReadFile(file);
  EXPECT_TRUE(text.ok()) << text.status();
  return json::parse(text.ok() ? *text : "", nullptr, /*allow_exceptions=*/false);
}

class DefaultsTest : public testing::TestWithParam<std::string> {};

TEST_P(DefaultsTest, AreThoseOfTheConfigurationClass) {
  const json defaults = ReadJson(GetParam() + "/defaults.json");
  const json& all = defaults["config"];
  const json none = {{"architectures", all["architectures"]}, {"model_type", all["model_type"]}};
  const auto found = ImportRandomModel("test", none.dump(), DType::kBF16, 1, {});
  const auto expected = ImportRandomModel("test", all.dump(), DType::kBF16, 1, {});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(found->info.parameters, defaults["parameters"].get<int64_t>());
  EXPECT_EQ(found->info.vocab_size, expected->info.vocab_size);
  EXPECT_EQ(found->info.context_length, expected->info.context_length);
  EXPECT_EQ(found->info.bos_id, expected->info.bos_id);
  EXPECT_EQ(found->info.eos_ids, expected->info.eos_ids);
  // Every size, epsilon, window and frequency.
  EXPECT_TRUE(ir::Print(found->module) == ir::Print(expected->module));
}

INSTANTIATE_TEST_SUITE_P(Families, DefaultsTest, testing::ValuesIn(FoldersWith("defaults.json")),
                         [](const testing::TestParamInfo<std::string>& info) {
                           std::string name = std::filesystem::path(info.param).filename();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// gemma-3-4b-it's folder on the hub says no more than this of its text.
TEST(Defaults, CompleteTheFewKeysOfGemma3sFolders) {
  const json few = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                    {"model_type", "gemma3"},
                    {"eos_token_id", {1, 106}},
                    {"text_config",
                     {{"hidden_size", 2560},
                      {"intermediate_size", 10240},
                      {"model_type", "gemma3_text"},
                      {"num_hidden_layers", 34},
                      {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                      {"sliding_window", 1024}}}};
  json all =
      ReadJson(NINFER_SOURCE_DIR "/tests/data/hf-models/gemma3-sees/defaults.json")["config"];
  json& text = all["text_config"];
  text.erase("layer_types");
  text["hidden_size"] = 2560;
  text["intermediate_size"] = 10240;
  text["num_hidden_layers"] = 34;
  text["sliding_window"] = 1024;
  text["rope_parameters"]["full_attention"] = {
      {"factor", 8.0}, {"rope_theta", 1e6}, {"rope_type", "linear"}};
  const auto found = ImportRandomModel("test", few.dump(), DType::kBF16, 1, {});
  const auto expected = ImportRandomModel("test", all.dump(), DType::kBF16, 1, {});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_TRUE(ir::Print(found->module) == ir::Print(expected->module));
  EXPECT_EQ(found->info.parameters, 3880263168);  // as transformers counts them
  EXPECT_EQ(found->info.context_length, 131072);
  EXPECT_EQ(found->info.eos_ids, (std::vector<int32_t>{1, 106}));
}

TEST(Defaults, AreKnownOfEveryFamilyOfText) {
  std::set<std::string> known = {"Idefics3ForConditionalGeneration",
                                 "SmolVLMForConditionalGeneration"};
  for (const std::string& folder : FoldersWith("defaults.json")) {
    const json defaults = ReadJson(folder + "/defaults.json");
    known.insert(defaults["config"]["architectures"][0].get<std::string>());
  }
  for (const std::string& architecture : ListArchitectures()) {
    EXPECT_EQ(known.count(architecture), 1) << architecture;
  }
}

}  // namespace
}  // namespace ninfer::frontend
