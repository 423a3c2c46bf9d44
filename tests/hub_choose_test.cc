// Which files of a repository are fetched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "hub/choose.h"

namespace ninfer::hub {
namespace {

using ::testing::ElementsAre;

class Files : public Names {
 public:
  explicit Files(const std::vector<std::string>& files) : files_(files) {}
  bool Has(const std::string& name) override {
    return std::count(files_.begin(), files_.end(), name) > 0;
  }
  std::vector<std::string> Like(const std::string& folder, const std::string& suffix) override {
    return NamesLike(files_, folder, suffix);
  }

 private:
  const std::vector<std::string>& files_;
};

absl::StatusOr<Choice> Choose(const std::vector<std::string>& files) {
  Files names(files);
  return ChooseFiles(names);
}

TEST(Choose, OneTokenizerAndOneFormatOfWeights) {
  const auto choice =
      Choose({"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
              "vocab.json", "merges.txt", "tokenizer_config.json", "chat_template.jinja",
              "model.safetensors", "qwen.tiktoken", "vocab.txt", "pytorch_model.bin", "tf_model.h5",
              "README.md", ".gitattributes"});
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

TEST(Choose, WhatIsSaidOfTokensAndEveryChatTemplate) {
  const auto choice =
      Choose({"config.json", "additional_chat_templates/tool_use.jinja",
              "additional_chat_templates/rag.jinja", "additional_chat_templates/deeper/x.jinja",
              "additional_chat_templates/README.md", "x.jinja", "vocab.txt", "added_tokens.json",
              "special_tokens_map.json", "chat_template.json", "pytorch_model.bin"});
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(
      choice->files,
      ElementsAre("config.json", "special_tokens_map.json", "added_tokens.json",
                  "chat_template.json", "additional_chat_templates/rag.jinja",
                  "additional_chat_templates/tool_use.jinja", "vocab.txt", "pytorch_model.bin"));
}

TEST(Choose, ATiktokenFileByItsEnding) {
  const auto choice = Choose({"config.json", "qwen.tiktoken", "folder/a.tiktoken", "vocab.txt",
                              "b.tiktoken", "pytorch_model.bin"});
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_THAT(choice->files, ElementsAre("config.json", "b.tiktoken", "pytorch_model.bin"));
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
