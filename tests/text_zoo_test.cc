// Every tokenizer of the zoo, found by listing its folder: ids, decoding and
// streaming of all its cases, on the tokenizer as read and on its tables as they come from a plan.
#include "tests/text_testing.h"
#include "text/detokenizer.h"

namespace ninfer {
namespace {

// The pieces of a stream: each is whole characters, together they are the decoded text, and none
// comes earlier than in `golden`, which has every character as early as it can be known.
void CheckStream(const Tokenizer& tokenizer, const Ids& ids, const nlohmann::json& golden) {
  IncrementalDetokenizer detokenizer(&tokenizer, /*skip_special_tokens=*/true);
  std::string streamed;
  std::string earliest;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string piece = detokenizer.Append(ids[i]);
    EXPECT_TRUE(IsValidUtf8(piece));
    streamed += piece;
    if (golden.is_array()) {
      earliest += golden[i].get<std::string>();
      EXPECT_LE(streamed.size(), earliest.size()) << "earlier than certain at " << i;
    }
  }
  streamed += detokenizer.Finish();
  EXPECT_TRUE(IsValidUtf8(streamed));
  EXPECT_EQ(streamed, tokenizer.Decode(ids, true));
}

void CheckCases(const Tokenizer& tokenizer, const nlohmann::json& cases) {
  for (const auto& test : cases["texts"]) {
    SCOPED_TRACE(test["name"].get<std::string>());
    const std::string text = test["text"];
    const Ids ids = test["ids"];
    const Ids special = test["ids_special"];
    const Ids plain = test.value("ids_plain", ids);
    EXPECT_EQ(tokenizer.Encode(text, false), ids);
    EXPECT_EQ(tokenizer.Encode(text, true), special);
    EXPECT_EQ(tokenizer.Encode(text, false, /*special_in_text=*/false), plain);
    EXPECT_EQ(tokenizer.Decode(special, false), test["decode"].get<std::string>());
    EXPECT_EQ(tokenizer.Decode(special, true), test["decode_skip"].get<std::string>());
    CheckStream(tokenizer, special, test["stream"]);
  }
  for (const auto& test : cases["pairs"]) {
    const Tokenizer::Pair pair =
        tokenizer.EncodePair(test["first"].get<std::string>(), test["second"].get<std::string>());
    EXPECT_EQ(pair.ids, test["ids_special"].get<Ids>());
    EXPECT_EQ(pair.type_ids, test["type_ids"].get<std::vector<uint32_t>>());
  }
  for (const auto& test : cases["ids"]) {
    SCOPED_TRACE(test["name"].get<std::string>());
    const Ids ids = test["ids"];
    EXPECT_EQ(tokenizer.Decode(ids, false), test["decode"].get<std::string>());
    EXPECT_EQ(tokenizer.Decode(ids, true), test["decode_skip"].get<std::string>());
    CheckStream(tokenizer, ids, test["stream"]);
  }
}

class ZooTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ZooTest, AgreesWithTokenizersOnEveryCase) {
  const auto tokenizer = Tokenizer::FromFolder(ZooPath(GetParam()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const nlohmann::json cases = ReadJson(ZooPath(GetParam()) + "/cases.json");
  CheckCases(**tokenizer, cases);
  EXPECT_GE((*tokenizer)->vocab_size(), cases["vocab_size"].get<int>());
}

TEST_P(ZooTest, TablesGiveTheSameAsTheFiles) {
  const auto tokenizer = Tokenizer::FromFolder(ZooPath(GetParam()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string bytes = (*tokenizer)->Serialize();
  const auto copy = Tokenizer::Deserialize(bytes);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ((*copy)->Serialize(), bytes);
  EXPECT_EQ((*copy)->vocab_size(), (*tokenizer)->vocab_size());
  for (int32_t id = -1; id <= (*copy)->vocab_size(); ++id) {
    EXPECT_EQ((*copy)->IdToPiece(id), (*tokenizer)->IdToPiece(id));
    EXPECT_EQ((*copy)->IsSpecial(id), (*tokenizer)->IsSpecial(id));
    const std::string piece = (*copy)->IdToPiece(id);
    if (!piece.empty()) {
      EXPECT_EQ((*copy)->PieceToId(piece), id);
    }
  }
  CheckCases(**copy, ReadJson(ZooPath(GetParam()) + "/cases.json"));
}

INSTANTIATE_TEST_SUITE_P(Zoo, ZooTest, ::testing::ValuesIn(ZooNames("tokenizer.json")),
                         ZooTestName);

TEST(ZooFilesTest, OlderFilesGiveTheSameAsTokenizerJson) {
  const std::string folder =
      FolderOf("gpt2-older", {{ZooPath("gpt2/vocab.json"), "vocab.json"},
                              {ZooPath("gpt2/merges.txt"), "merges.txt"},
                              {ZooPath("gpt2/tokenizer_config.json"), "tokenizer_config.json"}});
  const auto tokenizer = Tokenizer::FromFolder(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  CheckCases(**tokenizer, ReadJson(ZooPath("gpt2/cases.json")));
}

}  // namespace
}  // namespace ninfer
