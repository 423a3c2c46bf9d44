// Which files of a repository are fetched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "hub/choose.h"

namespace ninfer::hub {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<Choice> Choose(const std::set<std::string>& files) {
  return ChooseFiles([&](const std::string& name) { return files.count(name) > 0; });
}

TEST(Choose, OneTokenizerAndOneFormatOfWeights) {
  const auto choice = Choose({"config.json", "generation_config.json", "tokenizer.json",
                              "tokenizer.model", "vocab.json", "merges.txt",
                              "tokenizer_config.json", "chat_template.jinja", "model.safetensors",
                              "pytorch_model.bin", "tf_model.h5", "README.md", ".gitattributes"});
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(choice->files,
              ElementsAre("config.json", "generation_config.json", "tokenizer_config.json",
                          "chat_template.jinja", "tokenizer.json", "model.safetensors"));
  EXPECT_EQ(choice->index, "");
}

TEST(Choose, HalfATokenizerIsNone) {
  const auto choice =
      Choose({"config.json", "vocab.json", "encoder.json", "vocab.bpe", "pytorch_model.bin"});
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(choice->files,
              ElementsAre("config.json", "encoder.json", "vocab.bpe", "pytorch_model.bin"));
}

TEST(Choose, ShardedSafetensorsComeBeforePyTorchsFile) {
  const auto choice = Choose({"config.json", "model.safetensors.index.json", "pytorch_model.bin"});
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->index, "model.safetensors.index.json");
  EXPECT_THAT(choice->files, ElementsAre("config.json", "model.safetensors.index.json"));
}

TEST(Shards, AreNamedOnceAndInTheFolder) {
  const auto shards = ShardsOf("x.json", R"({"weight_map":{"a":"2.bin","b":"1.bin","c":"2.bin"}})");
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_THAT(*shards, ElementsAre("1.bin", "2.bin"));
  for (const char* text : {"", "[]", "{}", R"({"weight_map":3})", R"({"weight_map":{"a":1}})",
                           R"({"weight_map":{"a":"../x"}})", R"({"weight_map":{"a":".."}})"}) {
    EXPECT_FALSE(ShardsOf("x.json", text).ok()) << text;
  }
}

}  // namespace
}  // namespace ninfer::hub
