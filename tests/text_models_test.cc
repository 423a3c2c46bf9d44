// The tokenizers of whole models: the one that the project ships, and third-party ones with the ids
// that others' tests expect of them.
#include <algorithm>
#include <chrono>

#include "absl/strings/str_split.h"
#include "tests/test_data.h"
#include "tests/text_testing.h"
#include "text/detokenizer.h"

namespace ninfer {
namespace {

std::unique_ptr<Tokenizer> Load(const std::string& folder) {
  auto tokenizer = Tokenizer::FromFolder(folder);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_TRUE(tokenizer.ok() && *tokenizer != nullptr) << folder;
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

TEST(TextModelsTest, Gpt2FromEncoderJsonAndVocabBpe) {
  NINFER_TEST_DATA_OR_SKIP(folder, "tokenizers/gpt2");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 50257);
  CheckGoldens("gpt-2", *tokenizer);
  EXPECT_EQ(tokenizer->Encode("a<|endoftext|>", true), (Ids{64, 50256}));
  EXPECT_TRUE(tokenizer->IsSpecial(50256));
}

TEST(TextModelsTest, Qwen2FromVocabJsonAndMerges) {
  NINFER_TEST_DATA_OR_SKIP(folder, "tokenizers/qwen2.5-7b-instruct");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  CheckGoldens("qwen2", *tokenizer);
  EXPECT_EQ(tokenizer->Encode("<|im_start|>user", true), (Ids{151644, 872}));
  EXPECT_EQ(tokenizer->IdToPiece(151645), "<|im_end|>");
}

TEST(TextModelsTest, LlamaFromTokenizerJson) {
  NINFER_TEST_DATA_OR_SKIP(folder, "tokenizers/tinyllama-1.1b-chat");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  CheckGoldens("llama-spm", *tokenizer);
  EXPECT_EQ(tokenizer->Encode("Hello</s>", true), (Ids{1, 15043, 2}));
}

TEST(TextModelsTest, LlamaFromTokenizerModel) {
  NINFER_TEST_DATA_OR_SKIP(source, "tokenizers/tinyllama-1.1b-chat");
  const auto tokenizer =
      Load(FolderOf("llama-model", {{source + "/tokenizer.model", "tokenizer.model"},
                                    {source + "/tokenizer_config.json", "tokenizer_config.json"}}));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  CheckGoldens("llama-spm", *tokenizer);
  EXPECT_EQ(tokenizer->Encode("Hello</s>", true), (Ids{1, 15043, 2}));
}

TEST(TextModelsTest, SmallLlamaFromTokenizerModelGivesItsPrompt) {
  NINFER_TEST_DATA_OR_SKIP(folder, "models/stories260K-hf");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 512);
  const Ids prompt = ReadJson(folder + "/golden.json")["prompt_ids"];
  EXPECT_EQ(tokenizer->Encode("Once upon a time", true), prompt);
  EXPECT_EQ(tokenizer->Decode(prompt, true), "Once upon a time");
}

// As transformers does it: the file's normalization puts U+2581 before these tokens, and
// tokenizers' own decode() then knows them no more.
TEST(TextModelsTest, SpecialTokensThatNormalizationChangesAreSkippedToo) {
  NINFER_TEST_DATA_OR_SKIP(folder, "models/tinystories-656k-hf");
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Decode({1, 80, 147, 2}, true), "On");
  EXPECT_EQ(tokenizer->Decode({1, 80, 147}, false), "<|start_story|> On");
}

TEST(TextModelsTest, FolderWithoutATokenizerIsNull) {
  const auto none = Tokenizer::FromFolder(FolderOf("no-tokenizer", {}));
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
}

TEST(TextModelsTest, LargeVocabularyLoadsFromTablesInMilliseconds) {
  NINFER_TEST_DATA_OR_SKIP(folder, "tokenizers/qwen2.5-7b-instruct");
  const std::string bytes = Load(folder)->Serialize();
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto tokenizer = Tokenizer::Deserialize(bytes);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    ASSERT_TRUE(tokenizer.ok());
    best = std::min(best, seconds.count());
  }
  RecordProperty("milliseconds", std::to_string(best * 1e3));
  EXPECT_LT(best, 0.1);  // far above what it takes, so that a busy machine does not fail it
}

class DemoModelTest : public ::testing::TestWithParam<const char*> {};

TEST_P(DemoModelTest, GoldenPromptAndTextGiveTheirIds) {
  const std::string folder = JoinPath(NINFER_SOURCE_DIR "/models", GetParam());
  if (!IsDirectory(folder)) GTEST_SKIP() << "no " << folder;
  const auto tokenizer = Load(folder);
  ASSERT_NE(tokenizer, nullptr);
  const nlohmann::json golden = ReadJson(folder + "/golden.json");
  const Ids prompt_ids = golden["prompt_ids"];
  const Ids greedy_ids = golden["greedy_ids"];
  EXPECT_EQ(tokenizer->Encode(golden["prompt"].get<std::string>(), true), prompt_ids);
  EXPECT_EQ(tokenizer->Decode(greedy_ids, false), golden["text"].get<std::string>());
  EXPECT_EQ(tokenizer->Encode(golden["text"].get<std::string>(), true), greedy_ids);
  EXPECT_EQ(Stream(*tokenizer, greedy_ids), golden["text"].get<std::string>());
  if (golden.contains("chat_prompt") && golden.contains("chat_prompt_ids")) {
    const Ids chat_ids = golden["chat_prompt_ids"];
    EXPECT_EQ(tokenizer->Encode(golden["chat_prompt"].get<std::string>(), true), chat_ids);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DemoModelTest, ::testing::Values("demo", "demo-draft"),
                         [](const auto& info) {
                           return std::string(info.param) == "demo" ? "demo" : "draft";
                         });

}  // namespace
}  // namespace ninfer
