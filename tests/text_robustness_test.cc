// Long words, text that is not UTF-8, random ids, several threads.
#include <chrono>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/text_testing.h"
#include "text/detokenizer.h"

namespace ninfer {
namespace {

const char* const kNames[] = {
    "gpt2",          "llama3",    "qwen2",       "o200k",         "bloom",
    "gemma",         "falcon",    "added-flags", "clip",          "metaspace-first-unk",
    "llama2-legacy", "t5",        "xlm-roberta", "unigram-bytes", "bert-uncased",
    "wordlevel",     "openai-gpt"};

std::unique_ptr<Tokenizer> Load(const std::string& name) {
  auto tokenizer = Tokenizer::FromFolder(ZooPath(name));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(TextRobustnessTest, AMegabyteWithoutABlankIsNotQuadratic) {
  std::mt19937 random(5);
  std::string letters;
  for (int i = 0; i < 1 << 20; ++i) letters += static_cast<char>('a' + random() % 26);
  const std::string same(1 << 20, 'a');
  const std::string blanks(1 << 20, ' ');
  for (const char* name : {"gpt2", "llama3", "bloom", "gemma", "metaspace-first-unk", "t5",
                           "unigram-bytes", "bert-uncased", "wordlevel"}) {
    const auto tokenizer = Load(name);
    for (const std::string* text : {&std::as_const(letters), &same, &blanks}) {
      const auto start = std::chrono::steady_clock::now();
      const Ids ids = tokenizer->Encode(*text, false);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      EXPECT_LT(seconds.count(), 30) << name;  // takes tenths; quadratic would take hours
      EXPECT_EQ(tokenizer->Decode(ids, false).empty(), ids.empty());
    }
  }
}

TEST(TextRobustnessTest, AMegabyteOfCombiningMarksIsNotQuadratic) {
  std::string marks = "a";
  while (marks.size() < 1 << 20) marks += "\u0301\u0323";
  const auto tokenizer = Load("qwen2");  // which normalizes to NFC
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = tokenizer->Encode(marks, false);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 30);
  // In canonical order the marks below come first, and the first of them joins the letter.
  EXPECT_EQ(tokenizer->Decode(ids, false).substr(0, 5), "\u1ea1\u0323");
}

TEST(TextRobustnessTest, LongWordsGiveTheSameMergesAsShortOnes) {
  // A word is merged by scanning up to a length and by a heap beyond; a tail that merges with
  // nothing moves the same start from one to the other.
  const auto tokenizer = Load("gpt2");
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    std::string word;
    for (int i = 0; i < 30; ++i) word += "theandrig"[random() % 9];
    const Ids expected = tokenizer->Encode(word, false);
    std::string tail;
    for (int i = 0; i < 20; ++i) tail += "\u72d0";  // letters, so that the word does not end
    const Ids rest = tokenizer->Encode(tail, false);
    Ids joined = expected;
    joined.insert(joined.end(), rest.begin(), rest.end());
    ASSERT_EQ(tokenizer->Encode(word + tail, false), joined) << word;
  }
}

TEST(TextRobustnessTest, TextThatIsNotUtf8IsRepairedFirst) {
  std::mt19937 random(2);
  for (const char* name : kNames) {
    const auto tokenizer = Load(name);
    for (int round = 0; round < 300; ++round) {
      std::string bytes;
      for (int i = random() % 40; i > 0; --i) {
        bytes +=
            static_cast<char>(random() % 3 == 0 ? random() % 256 : "a <\xF0\x9F"[random() % 5]);
      }
      ASSERT_EQ(tokenizer->Encode(bytes, true), tokenizer->Encode(RepairUtf8(bytes), true));
    }
  }
}

TEST(TextRobustnessTest, StreamedTextIsTheDecodedTextForAnyIds) {
  std::mt19937 random(9);
  for (const char* name : kNames) {
    const auto tokenizer = Load(name);
    for (int round = 0; round < 300; ++round) {
      Ids ids;
      const int32_t limit = round % 2 == 0 ? tokenizer->vocab_size() + 5 : 280;
      for (int i = random() % 30; i > 0; --i) ids.push_back(static_cast<int32_t>(random() % limit));
      for (const bool skip : {false, true}) {
        IncrementalDetokenizer detokenizer(tokenizer.get(), skip);
        std::string text;
        for (const int32_t id : ids) {
          const std::string piece = detokenizer.Append(id);
          ASSERT_TRUE(IsValidUtf8(piece));
          text += piece;
        }
        text += detokenizer.Finish();
        ASSERT_EQ(text, tokenizer->Decode(ids, skip)) << name;
      }
    }
  }
}

TEST(TextRobustnessTest, StreamOfAByteLevelTokenizerHoldsBackUnfinishedCharactersOnly) {
  const auto tokenizer = Load("gpt2");
  const Ids ids = tokenizer->Encode("a\U0001F98Ab", false);
  IncrementalDetokenizer detokenizer(tokenizer.get(), false);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) pieces.push_back(detokenizer.Append(id));
  EXPECT_EQ(pieces.front(), "a");
  EXPECT_EQ(pieces.back(), "b");
  EXPECT_EQ(pieces[pieces.size() - 2], "\U0001F98A");
  EXPECT_EQ(detokenizer.Finish(), "");
}

TEST(TextRobustnessTest, OneTokenizerServesSeveralThreads) {
  const auto tokenizer = Load("llama3");
  const nlohmann::json cases = ReadJson(ZooPath("llama3/cases.json"));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (const auto& test : cases["texts"]) {
        const Ids expected = test["ids"];
        wrong[t] += tokenizer->Encode(test["text"].get<std::string>(), false) != expected;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

// A tokenizer of `h`, `i` and the blank's letter, with these members.
std::string WithSteps(const std::string& members) {
  return R"({"model":{"type":"BPE","vocab":{"h":0,"i":1,"\u0120":2},"merges":[]},)" + members + "}";
}

std::string Times(int count, const std::string& step) {
  std::string list = step;
  for (int i = 1; i < count; ++i) list += "," + step;
  return list;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> FromSteps(const std::string& members) {
  return Tokenizer::FromFolder(FolderWith("steps", {{"tokenizer.json", WithSteps(members)}}));
}

TEST(TextRobustnessTest, StepsThatDoubleATextOverAndOverEnd) {
  const std::string doubled = R"({"type":"Replace","pattern":{"String":"h"},"content":"hh"})";
  const std::string letters = R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true})";
  for (const std::string& members :
       {R"("normalizer":{"type":"Sequence","normalizers":[)" + Times(60, doubled) + "]}",
        R"("normalizer":{"type":"Sequence","normalizers":[)" +
            Times(60, R"({"type":"ByteLevel"})") + "]}",
        R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[)" + Times(100, letters) + "]}",
        R"("decoder":{"type":"Sequence","decoders":[)" + Times(60, doubled) + "]}"}) {
    const auto tokenizer = FromSteps(members);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const std::string text = "h\u00e9 hi";
    const Ids ids = (*tokenizer)->Encode(text, false);
    EXPECT_FALSE(ids.empty());
    EXPECT_LT(ids.size(), 10000u);
    EXPECT_LT((*tokenizer)->Decode(Ids(1000, 0), false).size(), 200000u);
  }
}

TEST(TextRobustnessTest, AnIdFarBeyondTheNumberOfTokensIsRefused) {
  const auto refused = Tokenizer::FromFolder(FolderWith(
      "far",
      {{"tokenizer.json", R"({"model":{"type":"BPE","vocab":{"h":0,"i":4000000},"merges":[]}})"}}));
  EXPECT_TRUE(
      absl::EndsWith(refused.status().message(),
                     "the vocabulary: expected ids below 65552 for 2 tokens, found 4000000"))
      << refused.status();
}

TEST(TextRobustnessTest, AListOfMoreStepsThanAnyTokenizerHasIsRefused) {
  const auto refused = FromSteps(R"("decoder":{"type":"Sequence","decoders":[)" +
                                 Times(100000, R"({"type":"Fuse"})") + "]}");
  EXPECT_TRUE(
      absl::EndsWith(refused.status().message(),
                     "expected at most 128 normalizers, pre-tokenizers or decoders, found 100000"))
      << refused.status();
}

// The seconds that `text` takes with the tokenizer of this tokenizer.json.
double SecondsFor(const std::string& json, const std::string& text, Ids* ids) {
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = Tokenizer::FromFolder(FolderWith("timed", {{"tokenizer.json", json}}));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  if (tokenizer.ok()) *ids = (*tokenizer)->Encode(text, false);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(TextRobustnessTest, TokensThatTakeTheBlanksAroundThemAreNotQuadratic) {
  const std::string json = WithSteps(
      R"("added_tokens":[{"id":3,"content":" ","single_word":false,"lstrip":true,"rstrip":true,)"
      R"("normalized":false,"special":false}])");
  Ids ids;
  EXPECT_LT(SecondsFor(json, "h" + std::string(1 << 20, ' ') + "i", &ids), 30);
  EXPECT_EQ(ids.size(), 3u);  // the first takes them all
}

TEST(TextRobustnessTest, LongPiecesOfWordPieceCostNoMoreThanTheirLength) {
  std::string vocab = R"("[U]":0,"a":1,"##a":2)";
  for (int i = 0; i < 20; ++i) {
    absl::StrAppend(&vocab, ",\"##", std::string(20000 + i, 'a'), "b\":", 3 + i);
  }
  const std::string json =
      R"({"model":{"type":"WordPiece","unk_token":"[U]","continuing_subword_prefix":"##",)"
      R"("max_input_chars_per_word":100000000,"vocab":{)" +
      vocab + "}}}";
  Ids ids;
  EXPECT_LT(SecondsFor(json, std::string(20000, 'a'), &ids), 30);
  EXPECT_EQ(ids.size(), 20000u);
}

TEST(TextRobustnessTest, APostProcessorOfEndlessTokensIsRefused) {
  const auto refused =
      FromSteps(R"("post_processor":{"type":"TemplateProcessing","single":[)" +
                Times(1000, R"({"SpecialToken":{"id":"x","type_id":0}})") +
                R"(,{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"x":{"id":"x","ids":[)" +
                Times(1000, "0") + R"(],"tokens":["h"]}}})");
  EXPECT_TRUE(absl::EndsWith(refused.status().message(),
                             "single: expected at most 65536 tokens, found more"))
      << refused.status();
}

TEST(TextRobustnessTest, ManyNewTokensAreNotQuadratic) {
  std::string tokens;
  for (int i = 0; i < 200000; ++i) {
    tokens += absl::StrCat(i == 0 ? "" : ",", R"({"id":)", i, R"(,"content":"t)", i,
                           R"(","special":false})");
  }
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = FromSteps(R"("added_tokens":[)" + tokens + "]");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 200003);
  EXPECT_LT(seconds.count(), 30);
}

TEST(TextRobustnessTest, EmptyTextAndEmptyIds) {
  for (const char* name : kNames) {
    const auto tokenizer = Load(name);
    EXPECT_EQ(tokenizer->Encode("", false), Ids{});
    EXPECT_EQ(tokenizer->Decode({}, true), "");
    IncrementalDetokenizer detokenizer(tokenizer.get(), true);
    EXPECT_EQ(detokenizer.Finish(), "");
  }
}

}  // namespace
}  // namespace ninfer
