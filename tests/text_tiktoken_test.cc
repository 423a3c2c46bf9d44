// tiktoken files and tekken.json: the byte strings of GPT-2, written in these forms, must give what
// GPT-2's own files give; and what is refused.
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/text_testing.h"
#include "text/pattern.h"
#include "text/tiktoken.h"

namespace ninfer {
namespace {

// The bytes of a piece spelled in byte letters.
std::string BytesOf(const std::string& letters) {
  std::string bytes;
  for (size_t pos = 0; pos < letters.size();) {
    const CodePoint c = DecodeAt(letters, pos);
    bytes += static_cast<char>(LetterToByte(c.value));
    pos += c.length;
  }
  return bytes;
}

// GPT-2's pieces in base64, by id.
std::vector<std::string> Gpt2Pieces(const std::string& folder) {
  const nlohmann::json vocabulary = ReadJson(folder + "/encoder.json");
  std::vector<std::string> pieces(vocabulary.size() - 1);  // but <|endoftext|>, the last
  for (const auto& [piece, id] : vocabulary.items()) {
    if (piece != "<|endoftext|>") pieces[id.get<size_t>()] = absl::Base64Escape(BytesOf(piece));
  }
  return pieces;
}

std::string Lines(const std::vector<std::string>& pieces) {
  std::string lines;
  for (size_t i = 0; i < pieces.size(); ++i) absl::StrAppend(&lines, pieces[i], " ", i, "\n");
  return lines;
}

// The single bytes, in order, and `more`.
std::vector<std::string> SmallPieces(const std::vector<std::string>& more = {}) {
  std::vector<std::string> pieces;
  for (int byte = 0; byte < 256; ++byte) {
    pieces.push_back(absl::Base64Escape(std::string(1, static_cast<char>(byte))));
  }
  for (const std::string& text : more) pieces.push_back(absl::Base64Escape(text));
  return pieces;
}

std::string Tekken(const std::vector<std::string>& pieces, int special,
                   const std::string& pattern = kGpt2Split) {
  nlohmann::json json;
  json["config"] = {{"pattern", pattern},
                    {"default_vocab_size", pieces.size() + special},
                    {"default_num_special_tokens", special}};
  for (size_t i = 0; i < pieces.size(); ++i) {
    json["vocab"].push_back({{"rank", i}, {"token_bytes", pieces[i]}, {"token_str", nullptr}});
  }
  return json.dump();
}

std::unique_ptr<Tokenizer> LoadFolder(const std::string& folder) {
  auto tokenizer = Tokenizer::FromFolder(folder);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_TRUE(tokenizer.ok() && *tokenizer != nullptr) << folder;
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

TEST(TextTiktokenTest, Gpt2AsATiktokenFileGivesTheSameIds) {
  NINFER_TEST_DATA_OR_SKIP(folder, "tokenizers/gpt2");
  const auto tokenizer =
      LoadFolder(FolderWith("gpt2-tiktoken", {{"gpt2.tiktoken", Lines(Gpt2Pieces(folder))}}));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocab_size(), 50257);
  CheckGoldens("gpt-2", *tokenizer);
  EXPECT_EQ(tokenizer->Encode("a<|endoftext|>", true), (Ids{64, 50256}));
}

TEST(TextTiktokenTest, Gpt2AsATekkenFileGivesTheSameIdsBehindTheSpecialTokens) {
  NINFER_TEST_DATA_OR_SKIP(folder, "tokenizers/gpt2");
  const std::string tekken =
      FolderWith("gpt2-tekken", {{"tekken.json", Tekken(Gpt2Pieces(folder), 30)}});
  const auto tokenizer = LoadFolder(tekken);
  const auto gpt2 = LoadFolder(folder);
  ASSERT_TRUE(tokenizer != nullptr && gpt2 != nullptr);
  const auto texts = ReadFile(TestDataPath("goldens/tokenizer-cases/gpt-2.inp"));
  ASSERT_TRUE(texts.ok());
  Ids expected = {1};
  for (const int32_t id : gpt2->Encode(*texts, false)) expected.push_back(id + 30);
  EXPECT_EQ(tokenizer->Encode(*texts, true), expected);
  EXPECT_EQ(tokenizer->Decode(expected, true), *texts);
  EXPECT_EQ(tokenizer->Encode("[INST]a", true), (Ids{1, 3, 94}));
  EXPECT_EQ(tokenizer->IdToPiece(29), "<SPECIAL_29>");
}

TEST(TextTiktokenTest, TheLowestRankMergesFirstAndWholeWordsAreLookedUp) {
  const auto tokenizer =
      LoadFolder(FolderWith("small", {{"x.tiktoken", Lines(SmallPieces({"bc", "ab", "abcd"}))}}));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("abc", false), (Ids{'a', 256}));
  EXPECT_EQ(tokenizer->Encode("abcd", false), Ids{258});  // which no merge reaches
  EXPECT_EQ(tokenizer->Decode({0xC3, 0xA9, 0xFF}, false), "\u00e9\ufffd");
}

TEST(TextTiktokenTest, ATokenizerModelMayBeATiktokenFile) {
  const auto tokenizer = LoadFolder(FolderWith(
      "llama3-like",
      {{"tokenizer.model", Lines(SmallPieces())},
       {"tokenizer_config.json",
        R"({"add_bos_token":true,"bos_token":"<b>","added_tokens_decoder":)"
        R"({"300":{"content":"<b>","special":true},"260":{"content":"<c>","special":true}}})"}}));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("a<c>", true), (Ids{300, 'a', 260}));
  EXPECT_EQ(tokenizer->vocab_size(), 301);
}

TEST(TextTiktokenTest, ATextThatIsAlsoASpecialTokensNameKeepsItsPiece) {
  std::vector<std::string> pieces = SmallPieces({"s>", "<s>"});
  const auto tokenizer =
      LoadFolder(FolderWith("twice", {{"tekken.json", Tekken(pieces, 5, ".+")}}));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("<s>", false), Ids{1});
  EXPECT_EQ(tokenizer->Encode("<s>", false, /*special_in_text=*/false), Ids{257 + 5});
}

TEST(TextTiktokenTest, BadFilesAreRefusedInOneLine) {
  const auto refusal = [](const std::string& file, const std::string& text) {
    const std::string folder = FolderWith("bad-tiktoken", {{file, text}});
    const std::string message(Tokenizer::FromFolder(folder).status().message());
    EXPECT_EQ(message.compare(0, folder.size() + 1, folder + "/"), 0) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    return message.substr(folder.size() + 1);
  };
  EXPECT_EQ(refusal("x.tiktoken", ""), "x.tiktoken: expected every single byte, found none for 0");
  EXPECT_EQ(refusal("x.tiktoken", "IQ=="),
            "x.tiktoken: line 1: expected base64 and a rank, found 'IQ=='");
  EXPECT_EQ(refusal("x.tiktoken", "IQ== 1\n!! 2\n"),
            "x.tiktoken: line 2: expected base64, found '!!'");
  EXPECT_EQ(refusal("x.tiktoken", "IQ== 1\nIQ== 2\n"), "x.tiktoken: line 2: piece '!' comes twice");
  EXPECT_EQ(refusal("x.tiktoken", "IQ== 1\nIg== 1\n"),
            "x.tiktoken: line 2: pieces '!' and '\"' have the same id 1");
  EXPECT_EQ(refusal("x.tiktoken", "IQ== 4294967296\n"),
            "x.tiktoken: line 1: piece '!': expected an id from 0 to 4194303, found 4294967296");
  EXPECT_EQ(refusal("tekken.json", "[]"), "tekken.json: expected an object, found array");
  EXPECT_EQ(refusal("tekken.json", "{}"), "tekken.json: config: expected an object, found nothing");
  EXPECT_EQ(refusal("tekken.json", Tekken(SmallPieces(), 1, "(")),
            "tekken.json: regular expression not understood: missing closing parenthesis near "
            "character 1");
  nlohmann::json json = nlohmann::json::parse(Tekken(SmallPieces(), 3));
  json["config"]["default_num_special_tokens"] = 1 << 30;
  EXPECT_EQ(refusal("tekken.json", json.dump()),
            "tekken.json: config: expected at most 4194304 tokens, at most 65536 special ones "
            "among them, found "
            "259 and 1073741824");
  json["config"]["default_num_special_tokens"] = 3;
  json["special_tokens"] = {{{"rank", 3}, {"token_str", "<x>"}}};
  EXPECT_EQ(refusal("tekken.json", json.dump()),
            "tekken.json: special_tokens: rank: expected 0 to 2, found 3");
  json["special_tokens"] = {{{"rank", 1}, {"token_str", "<x>"}},
                            {{"rank", 2}, {"token_str", "<x>"}}};
  EXPECT_EQ(refusal("tekken.json", json.dump()), "tekken.json: added token '<x>' comes twice");
}

}  // namespace
}  // namespace ninfer
