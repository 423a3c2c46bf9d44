// SentencePiece's tokenizer.model: ids as SentencePiece itself gives them, and what is refused.
#include <algorithm>
#include <map>

#include "tests/text_testing.h"
#include "text/sentencepiece_model.h"

namespace ninfer {
namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> FromModel(absl::string_view bytes,
                                                     const SentencePieceOptions& options = {}) {
  SpecBuilder builder;
  const absl::Status status = ReadSentencePieceModel(bytes, "m", options, &builder);
  if (!status.ok()) return status;
  return Tokenizer::FromSpec(std::move(builder.spec));
}

class SentencePieceZooTest : public ::testing::TestWithParam<std::string> {};

TEST_P(SentencePieceZooTest, AgreesWithSentencePieceOnEveryCase) {
  const auto bytes = ReadFile(ZooPath(GetParam()) + "/tokenizer.model");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto tokenizer = FromModel(*bytes);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  int cases = 0;
  const nlohmann::json golden = ReadJson(ZooPath(GetParam()) + "/cases.json");
  for (const auto& test : golden["texts"]) {
    if (!test.contains("spm_ids")) continue;
    SCOPED_TRACE(test["name"].get<std::string>());
    const Ids expected = test["spm_ids"];
    // SentencePiece reads control pieces in a text as text.
    EXPECT_EQ((*tokenizer)->Encode(test["text"].get<std::string>(), false, false), expected);
    // Where SentencePiece has a sign for what it does not know, transformers skips the token.
    const bool unknown = std::any_of(expected.begin(), expected.end(),
                                     [&](int32_t id) { return (*tokenizer)->IsSpecial(id); });
    if (!unknown) {
      EXPECT_EQ((*tokenizer)->Decode(expected, true), test["spm_decode"].get<std::string>());
    }
    ++cases;
  }
  EXPECT_GT(cases, 90);
}

INSTANTIATE_TEST_SUITE_P(Zoo, SentencePieceZooTest,
                         ::testing::ValuesIn(ZooNames("tokenizer.model")), ZooTestName);

// A message field of the wire format.
std::string Field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) +
         std::string(1, static_cast<char>(bytes.size())) + bytes;
}
std::string Number(int number, int value) {
  std::string tag;
  for (int rest = number << 3; rest > 0; rest >>= 7) {
    tag += static_cast<char>((rest & 0x7F) | (rest > 0x7F ? 0x80 : 0));
  }
  return tag + static_cast<char>(value);
}
std::string Piece(const std::string& text, float score, int type) {
  const std::string bits(reinterpret_cast<const char*>(&score), 4);
  return Field(1, Field(1, text) + "\x15" + bits + Number(3, type));
}

const char kBlank[] = "\xE2\x96\x81";

// <unk> <s> </s> _ a b c ab bc abc, as BPE.
std::string SmallModel(const std::string& normalizer = "") {
  return Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3) + Piece(kBlank, -9, 1) +
         Piece("a", -10, 1) + Piece("b", -11, 1) + Piece("c", -12, 1) + Piece("ab", -1, 1) +
         Piece("bc", 0, 1) + Piece("abc", -2, 1) + Field(2, Number(3, 2)) + Field(3, normalizer);
}

TEST(SentencePieceTest, TheBestScoreMergesFirst) {
  const auto tokenizer = FromModel(SmallModel());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("abc", true), (Ids{1, 3, 9}));  // b+c first, then a+bc
  EXPECT_EQ((*tokenizer)->Encode("abbc", false), (Ids{3, 7, 8}));
  EXPECT_EQ((*tokenizer)->Decode({1, 3, 9}, true), "abc");
}

TEST(SentencePieceTest, ARunOfUnknownCharactersIsOneToken) {
  const auto tokenizer = FromModel(SmallModel());
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->Encode("xyza zz", false), (Ids{3, 0, 4, 3, 0}));
}

TEST(SentencePieceTest, ExtraBlanksGoWhereTheModelSaysSo) {
  const auto squeezing = FromModel(SmallModel());
  EXPECT_EQ((*squeezing)->Encode("  a   b ", false), (Ids{3, 4, 3, 5}));
  EXPECT_EQ((*squeezing)->Encode("   ", false), Ids{});
  const auto keeping = FromModel(SmallModel(Number(4, 0)));
  EXPECT_EQ((*keeping)->Encode(" a  b", false), (Ids{3, 3, 4, 3, 3, 5}));
}

TEST(SentencePieceTest, TheDummyPrefixFollowsTheModelAndTheLegacyOption) {
  const auto without = FromModel(SmallModel(Number(3, 0)));
  EXPECT_EQ((*without)->Encode("a", false), Ids{4});
  const auto first = FromModel(SmallModel());
  EXPECT_EQ((*first)->Encode("a</s>a", false), (Ids{3, 4, 2, 4}));
  EXPECT_EQ((*first)->Encode("</s>a", false), (Ids{2, 4}));
  SentencePieceOptions legacy;
  legacy.prefix_everywhere = true;
  const auto everywhere = FromModel(SmallModel(), legacy);
  EXPECT_EQ((*everywhere)->Encode("a</s>a", false), (Ids{3, 4, 2, 3, 4}));
}

TEST(SentencePieceTest, BosAndEosAreAddedAsAsked) {
  SentencePieceOptions options;
  options.add_bos = false;
  options.add_eos = true;
  EXPECT_EQ((*FromModel(SmallModel(), options))->Encode("a", true), (Ids{3, 4, 2}));
}

TEST(SentencePieceTest, WhatIsNotSupportedIsRefusedInOneLine) {
  const std::string bpe = Field(2, Number(3, 2));
  const std::string damaged = "m: expected a SentencePiece model, found other or damaged bytes";
  const std::map<std::string, std::string> refused = {
      {"", damaged},
      {"hello", damaged},
      {SmallModel().substr(0, 40), damaged},
      {SmallModel(Field(2, "map")), "m: precompiled_charsmap: cut short"},
      {SmallModel(Field(2, "mapmap")),
       "m: precompiled_charsmap: expected a double array of at most 2 bytes, found 1836081517"},
      {Piece("<unk>", 0, 2) + Piece("x", 0, 5) + bpe, "m: piece 1: type 5 is not supported"},
      {Piece("<unk>", 0, 2) + Piece("\xFF", 0, 1) + bpe, "m: piece 1: not UTF-8"},
      {Piece("<unk>", 0, 2) + Piece("x", 0.0f / 0.0f, 1) + bpe,
       "m: piece 1: its score is not a number"},
      {Piece("a", 0, 1) + Piece("a", 0, 1) + bpe, "m: piece 'a' comes twice"},
      {Piece("a", 0, 1) + Field(2, Number(3, 2) + Number(40, 7)),
       "m: unk_id: expected 0 to 0, found 7"},
      {Piece("a", 0, 1) + bpe, "m: bos_id: expected an id below 1, found 1"},
      {Piece("a", 0, 1) + Field(2, Number(3, 4)), "m: Char is not supported (BPE and Unigram are)"},
  };
  for (const auto& [bytes, message] : refused) {
    EXPECT_EQ(FromModel(bytes).status().message(), message);
  }
}

TEST(SentencePieceTest, AModelCutAnywhereIsRefusedOrLoads) {
  const std::string model = SmallModel();
  for (size_t size = 0; size < model.size(); ++size) {
    const auto tokenizer = FromModel(absl::string_view(model).substr(0, size));
    if (tokenizer.ok()) (*tokenizer)->Encode("abc", true);
  }
}

}  // namespace
}  // namespace ninfer
