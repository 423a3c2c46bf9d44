// tokenizer.json and its companions: what transformers makes of their parts, and what is refused.
#include <map>

#include "tests/text_testing.h"
#include "text/tokenizer_json.h"

namespace ninfer {
namespace {

constexpr char kVocab[] = R"("vocab":{"a":0,"b":1,"ab":2,"<s>":3},"merges":["a b"])";

absl::Status Refusal(const std::string& json) {
  SpecBuilder builder;
  return ReadTokenizerJson(json, "t", &builder);
}

std::string WithModel(const std::string& model, const std::string& rest = "") {
  return R"({"model":{"type":"BPE",)" + model + "}" + rest + "}";
}

std::unique_ptr<Tokenizer> FromFiles(
    const std::string& name, const std::vector<std::pair<std::string, std::string>>& files) {
  auto tokenizer = Tokenizer::FromFolder(FolderWith(name, files));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

TEST(TextJsonTest, BadFilesAreRefusedInOneLine) {
  const std::map<std::string, std::string> refused = {
      {"{", "t: not valid JSON"},
      {"\"\xFF\"", "t: not valid JSON"},
      {"[]", "t: expected an object, found array"},
      {"{}", "t: model: expected an object, found nothing"},
      {R"({"version":"2.0"})", "t: expected version 1.0, found 2.0"},
      {R"({"model":{"vocab":{}}})",
       "t: model: expected BPE, Unigram, WordPiece or WordLevel, found no type"},
      {R"({"model":{"vocab":{"a":0,"b":1,"a":2}}})", "t: 'a' comes twice in one object"},
      {R"({"model":{"type":"Neural"}})",
       "t: model: expected BPE, Unigram, WordPiece or WordLevel, found Neural"},
      {R"({"model":{"type":"Unigram"}})", "t: model.vocab: expected a list, found nothing"},
      {R"({"model":{"type":"Unigram","vocab":[["a"]]}})",
       "t: model.vocab[0]: expected a piece and its score, found array"},
      {R"({"model":{"type":"Unigram","vocab":[["a",0],["a",1]],"unk_id":0}})",
       "t: model.vocab: piece 'a' comes twice"},
      {R"({"model":{"type":"Unigram","vocab":[["a",0]]}})",
       "t: model: unk_id: expected a whole number, found nothing"},
      {R"({"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":1}})",
       "t: model.unk_id: expected an id below 1, found 1"},
      {R"({"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"b"}})",
       "t: model.unk_token: 'b' is not in the vocabulary"},
      {R"({"model":{"type":"WordPiece","vocab":{"a":0},"unk_token":"a",)"
       R"("max_input_chars_per_word":-1}})",
       "t: model.max_input_chars_per_word: expected 0 or more, found -1"},
      {WithModel(R"("vocab":[],"merges":[])"), "t: model.vocab: expected an object, found array"},
      {WithModel(R"("vocab":{"a":"x"},"merges":[])"),
       "t: model.vocab: 'a': expected a whole number, found string"},
      {WithModel(R"("vocab":{"a":-1},"merges":[])"),
       "t: model.vocab: piece 'a': expected an id from 0 to 4194303, found -1"},
      {WithModel(R"("vocab":{"a":9223372036854775808},"merges":[])"),
       "t: model.vocab: 'a': expected a whole number, found number"},
      {WithModel(R"("vocab":{"a":1,"b":1},"merges":[])"),
       "t: model.vocab: pieces 'a' and 'b' have the same id 1"},
      {WithModel(R"("vocab":{"a":0})"), "t: model.merges: expected a list, found nothing"},
      {WithModel(R"("vocab":{"a":0},"merges":["a"])"),
       "t: model.merges[0]: expected two pieces and a blank, found 'a'"},
      {WithModel(R"("vocab":{"a":0},"merges":["a b"])"),
       "t: model.merges[0]: merge 'a b': 'b' is not in the vocabulary"},
      {WithModel(R"("vocab":{"a":0,"b":1},"merges":[["a","b"]])"),
       "t: model.merges[0]: merge 'a b': 'ab' is not in the vocabulary"},
      {WithModel(R"("vocab":{"a":0},"merges":[["a"]])"),
       "t: model.merges[0]: expected a string or two strings, found array"},
      {WithModel(std::string(R"("dropout":0.1,)") + kVocab),
       "t: model.dropout: expected null or 0, found 0.1"},
      {WithModel(std::string(R"("fuse_unk":1,)") + kVocab),
       "t: model: fuse_unk: expected true or false, found number"},
      {WithModel(kVocab, R"(,"added_tokens":{})"),
       "t: added_tokens: expected a list, found object"},
      {WithModel(kVocab, R"(,"added_tokens":null)"),
       "t: added_tokens: expected a list, found null"},
      {WithModel(kVocab, R"(,"added_tokens":[{"id":-5,"content":"x"}])"),
       "t: added_tokens: id: expected a number from 0 on, found -5"},
      {WithModel(kVocab, R"(,"added_tokens":[{"id":"7","content":"x"}])"),
       "t: added_tokens: id: expected a whole number, found string"},
      {WithModel(kVocab, R"(,"added_tokens":[{"id":1}])"),
       "t: added_tokens: content: expected a string, found nothing"},
      {WithModel(kVocab, R"(,"pre_tokenizer":{"type":"Runes"})"),
       "t: pre_tokenizer: Runes is not supported"},
      {WithModel(kVocab, R"(,"decoder":{"type":"Rot13"})"), "t: decoder: Rot13 is not supported"},
      {WithModel(kVocab, R"(,"post_processor":{"type":"New"})"),
       "t: post_processor: New is not supported"},
      {WithModel(kVocab,
                 R"(,"post_processor":{"type":"BertProcessing","cls":["c",99],"sep":["s",0]})"),
       "t: post_processor: expected ids below 4, found 99"},
      {WithModel(kVocab, R"(,"post_processor":{"type":"TemplateProcessing","single":[]})"),
       "t: post_processor.single: expected the sequence A once"},
      {WithModel(
           kVocab,
           R"(,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}]})"),
       "t: post_processor.special_tokens: 'x': ids: expected a list, found nothing"},
  };
  for (const auto& [json, message] : refused) {
    EXPECT_EQ(Refusal(json).message(), message) << json;
  }
}

TEST(TextJsonTest, DeepNestingIsRefused) {
  std::string deep = WithModel(kVocab, R"(,"normalizer":)");
  deep.pop_back();
  std::string close;
  for (int i = 0; i < 100000; ++i) {
    deep += R"({"type":"Sequence","normalizers":[)";
    close += "]}";
  }
  EXPECT_EQ(Refusal(deep + close + "}").message(), "t: normalizer: sequences nested too deeply");
}

TEST(TextJsonTest, AnEmptyVocabularyIsRefused) {
  const auto tokenizer = Tokenizer::FromFolder(
      FolderWith("empty", {{"tokenizer.json", WithModel(R"("vocab":{},"merges":[])")}}));
  EXPECT_EQ(tokenizer.status().message(),
            JoinPath(::testing::TempDir(), "empty/tokenizer.json: the vocabulary is empty"));
}

TEST(TextJsonTest, AddedTokensTakeTheIdOfTheirPieceOrTheNextFreeOne) {
  const auto tokenizer = FromFiles(
      "added", {{"tokenizer.json",
                 WithModel(kVocab, R"(,"added_tokens":[{"id":9,"content":"<s>","special":true},)"
                                   R"({"id":20,"content":"<x>"},{"id":4,"content":"<y>"}])")}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->PieceToId("<s>"), 3);
  EXPECT_EQ(tokenizer->PieceToId("<x>"), 4);
  EXPECT_EQ(tokenizer->PieceToId("<y>"), 5);
  EXPECT_EQ(tokenizer->vocab_size(), 6);
  EXPECT_EQ(tokenizer->PieceToId("<z>"), absl::nullopt);
  EXPECT_EQ(tokenizer->Encode("<s>ab<y>", false), (Ids{3, 2, 5}));
  EXPECT_TRUE(tokenizer->IsSpecial(3));
  EXPECT_FALSE(tokenizer->IsSpecial(4));
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
  EXPECT_FALSE(tokenizer->IsSpecial(6));
}

TEST(TextJsonTest, AnAddedTokenOnAnIdOfAnotherPieceIsRefused) {
  const auto tokenizer = Tokenizer::FromFolder(FolderWith(
      "hole", {{"tokenizer.json", WithModel(R"("vocab":{"a":0,"b":2},"merges":[])",
                                            R"(,"added_tokens":[{"id":3,"content":"<x>"}])")}}));
  EXPECT_EQ(tokenizer.status().message(),
            JoinPath(::testing::TempDir(),
                     "hole/tokenizer.json: added token '<x>': id 2 belongs to another piece"));
}

TEST(TextJsonTest, TokenizerConfigAddsAndChangesTokens) {
  const auto tokenizer = FromFiles(
      "config",
      {{"tokenizer.json",
        WithModel(kVocab, R"(,"added_tokens":[{"id":3,"content":"<s>","special":false}])")},
       {"tokenizer_config.json", R"({"added_tokens_decoder":{"3":{"content":"<s>","special":true},)"
                                 R"("4":{"content":"<t>","rstrip":true,"special":true}},)"
                                 R"("eos_token":"<e>","pad_token":null,"add_bos_token":true})"}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_TRUE(tokenizer->IsSpecial(3));
  EXPECT_TRUE(tokenizer->IsSpecial(4));
  EXPECT_EQ(tokenizer->PieceToId("<e>"), 5);
  EXPECT_TRUE(tokenizer->IsSpecial(5));
  EXPECT_EQ(tokenizer->Encode("a<t>  <e>b", true), (Ids{0, 4, 5, 1}));  // the config adds no BOS
}

TEST(TextJsonTest, SpecialTokensMapCountsWithoutAddedTokensDecoder) {
  const auto tokenizer = FromFiles(
      "map", {{"tokenizer.json", WithModel(kVocab)},
              {"special_tokens_map.json", R"({"bos_token":{"content":"<s>","lstrip":true},)"
                                          R"("additional_special_tokens":["<m>"]})"},
              {"added_tokens.json", R"({"<n>":5,"<m>":4})"}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->PieceToId("<m>"), 4);
  EXPECT_EQ(tokenizer->PieceToId("<n>"), 5);
  EXPECT_TRUE(tokenizer->IsSpecial(4));
  EXPECT_FALSE(tokenizer->IsSpecial(5));
  EXPECT_EQ(tokenizer->Encode("a <s>", false), (Ids{0, 3}));
}

TEST(TextJsonTest, VocabularyAndMergesTakeBosFromTheConfigOrItsClass) {
  for (const char* bos : {R"("bos_token":"<|endoftext|>",)", ""}) {
    const std::string config =
        absl::StrCat(R"({"tokenizer_class":"GPT2TokenizerFast","add_bos_token":true,)", bos,
                     R"("add_prefix_space":false})");
    const auto tokenizer =
        FromFiles("older", {{"vocab.json", R"({"a":0,"b":1,"ab":2,"<|endoftext|>":3})"},
                            {"merges.txt", "#version: 0.2\r\na b\r\n\n"},
                            {"tokenizer_config.json", config}});
    ASSERT_NE(tokenizer, nullptr);
    EXPECT_EQ(tokenizer->Encode("ab", true), (Ids{3, 2})) << bos;
    EXPECT_EQ(tokenizer->Encode("ab", false), Ids{2});
  }
}

TEST(TextJsonTest, BadVocabularyAndMergesAreRefusedInOneLine) {
  const auto refusal = [](const std::string& vocab, const std::string& merges,
                          const std::string& config) {
    const std::string folder = FolderWith(
        "bad-older",
        {{"vocab.json", vocab}, {"merges.txt", merges}, {"tokenizer_config.json", config}});
    const std::string message(Tokenizer::FromFolder(folder).status().message());
    EXPECT_EQ(message.compare(0, folder.size() + 1, folder + "/"), 0) << message;
    return message.substr(folder.size() + 1);
  };
  EXPECT_EQ(refusal("{", "", "{}"), "vocab.json: not valid JSON");
  EXPECT_EQ(refusal(R"({"a":[]})", "", "{}"),
            "vocab.json: 'a': expected a whole number, found array");
  EXPECT_EQ(refusal(R"({"a":0})", "#version: 0.2\na\n", "{}"),
            "merges.txt: line 2: expected two pieces and a blank, found 'a'");
  EXPECT_EQ(refusal(R"({"a":0})", "a b", "{}"),
            "merges.txt: line 1: merge 'a b': 'b' is not in the vocabulary");
  EXPECT_EQ(refusal(R"({"a":0})", "", R"({"tokenizer_class":"RobertaTokenizer"})"),
            "tokenizer_config.json: tokenizer_class: RobertaTokenizer is not supported without a "
            "tokenizer.json");
  EXPECT_EQ(refusal(R"({"a":0})", "", R"({"added_tokens_decoder":{"x":{"content":"y"}}})"),
            "tokenizer_config.json: added_tokens_decoder: expected an id, found 'x'");
}

TEST(TextJsonTest, ContinuingPrefixAndUnknownsFollowTheModel) {
  const auto tokenizer = FromFiles(
      "affixes",
      {{"tokenizer.json",
        WithModel(R"("unk_token":"?","continuing_subword_prefix":"##","end_of_word_suffix":"$",)"
                  R"("vocab":{"a":0,"##b":1,"##c$":2,"ab":3,"?":4,"a$":5},"merges":["a ##b"])",
                  R"(,"pre_tokenizer":{"type":"Whitespace"})")}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("abc a", false), (Ids{3, 2, 5}));
  EXPECT_EQ(tokenizer->Encode("axyb", false), (Ids{0, 4, 4, 4}));
}

TEST(TextJsonTest, AnUnknownTokenThatBpeDoesNotHaveIsNone) {
  const auto tokenizer =
      FromFiles("no-unknown",
                {{"tokenizer.json",
                  WithModel(R"("unk_token":"?","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"])")}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("abxa", false), (Ids{2, 0}));
}

TEST(TextJsonTest, ByteFallbackFallsBackToUnknownWhereAByteIsMissing) {
  const auto tokenizer = FromFiles(
      "bytes", {{"tokenizer.json",
                 WithModel(R"("unk_token":"?","fuse_unk":true,"byte_fallback":true,)"
                           R"("vocab":{"a":0,"?":1,"<0xC3>":2,"<0xA9>":3},"merges":[])")}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("a\u00e9", false), (Ids{0, 2, 3}));
  // The unknown token waits for more of its kind, and so comes behind the bytes.
  EXPECT_EQ(tokenizer->Encode("x\u00e9y\u00e9a", false), (Ids{2, 3, 2, 3, 1, 0}));
}

}  // namespace
}  // namespace ninfer
