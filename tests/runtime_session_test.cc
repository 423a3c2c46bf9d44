// One generation on a fake executor: what goes in by steps, what comes out, and every reason to
// stop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "runtime/session.h"
#include "tests/fake_executor.h"

namespace ninfer::runtime {
namespace {

std::vector<int32_t> Prompt(int length) {
  std::vector<int32_t> prompt(length);
  for (int i = 0; i < length; ++i) prompt[i] = (i * 7 + 3) % 50;
  return prompt;
}

Generation Finish(FakeExecutor* executor, const std::vector<int32_t>& prompt,
                  GenerateOptions options, const Tokenizer* tokenizer = nullptr) {
  Session session(executor, tokenizer);
  absl::StatusOr<Generation> result = session.Generate(prompt, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

GenerateOptions Greedy(int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  return options;
}

TEST(Session, ChunksCacheAndWholeTextsGiveTheSameIds) {
  FakeExecutor whole(/*has_kv_cache=*/false);
  const std::vector<int32_t> expected = Finish(&whole, Prompt(40), Greedy(80)).ids;
  ASSERT_EQ(expected.size(), 80);
  for (int64_t chunk : {0, 1, 3, 16, 1000}) {
    FakeExecutor executor;
    GenerateOptions options = Greedy(80);
    options.prefill_chunk = chunk;
    EXPECT_EQ(Finish(&executor, Prompt(40), options).ids, expected) << chunk;
  }
}

TEST(Session, ThePromptGoesInByChunksAndTokensOneByOne) {
  FakeExecutor executor;
  Finish(&executor, Prompt(40), Greedy(3));
  EXPECT_EQ(executor.step_sizes(), (std::vector<int>{16, 16, 8, 1, 1}));
}

TEST(Session, AKeptCacheLeavesOnlyWhatIsNewToCompute) {
  GenerateOptions options = Greedy(5);
  options.keep_cache = true;
  FakeExecutor executor;
  Session session(&executor, nullptr);
  const Generation first = *session.Generate(Prompt(20), options);
  EXPECT_EQ(first.stats.reused_tokens, 0);
  std::vector<int32_t> longer = first.prompt_ids;
  longer.insert(longer.end(), first.ids.begin(), first.ids.end());
  longer.insert(longer.end(), {1, 2, 3});
  std::vector<int32_t> other = longer;
  other[10] = (other[10] + 1) % 50;
  // The last token of an answer was never computed.
  const int64_t shared[] = {24, 10, 0};
  const std::vector<int32_t> prompts[] = {longer, other, {7, 8}};
  for (int i = 0; i < 3; ++i) {
    const Generation kept = *session.Generate(prompts[i], options);
    EXPECT_EQ(kept.stats.reused_tokens, shared[i]);
    FakeExecutor fresh;
    EXPECT_EQ(kept.ids, Finish(&fresh, prompts[i], Greedy(5)).ids);
  }
  EXPECT_EQ(executor.step_sizes(), (std::vector<int>{16, 4, 1, 1, 1, 1, 4, 1, 1, 1, 1,  //
                                                     16, 2, 1, 1, 1, 1, 2, 1, 1, 1, 1}));
  // The same prompt again: its last token alone, whose logits are wanted.
  const Generation again = *session.Generate({7, 8}, options);
  EXPECT_EQ(again.stats.reused_tokens, 1);
}

// The kept keys were turned as the length of their own text asked for.
TEST(Session, NoPrefixIsSharedWhereTheRopeDependsOnTheTextsLength) {
  GenerateOptions options = Greedy(2);
  options.keep_cache = true;
  FakeExecutor executor, fresh;
  executor.mutable_metadata()->rope_by_length = true;
  Session session(&executor, nullptr);
  ASSERT_TRUE(session.Generate(Prompt(10), options).ok());
  const Generation longer = *session.Generate(Prompt(12), options);
  EXPECT_EQ(longer.stats.reused_tokens, 0);
  EXPECT_EQ(longer.ids, Finish(&fresh, Prompt(12), Greedy(2)).ids);
  std::vector<int32_t> lengths(10, 10);
  lengths.push_back(11);
  lengths.insert(lengths.end(), 12, 12);
  lengths.push_back(13);
  EXPECT_EQ(executor.rope_lens(), lengths);
}

// Of layers that see 10 positions two pages are held: of a text of 152 positions 64 to 152.
TEST(Session, ATextThatGoesBackBehindItsWindowIsComputedFromItsStart) {
  GenerateOptions options = Greedy(3);
  options.keep_cache = true;
  const std::vector<int32_t> text = Prompt(150);
  for (const auto& [common, reused] : {std::pair<int, int>{150, 149},
                                       {140, 140},
                                       {128, 128},
                                       {73, 73},
                                       {72, 0},
                                       {64, 0},
                                       {5, 0},
                                       {0, 0}}) {
    FakeExecutor executor, fresh;
    executor.AddWindow(10, 2, 2);
    Session session(&executor, nullptr);
    ASSERT_TRUE(session.Generate(text, options).ok());
    std::vector<int32_t> other = Prompt(155);
    for (size_t i = common; i < other.size(); ++i) other[i] = (other[i] + 1) % 50;
    if (common == 150) other.resize(150);
    const absl::StatusOr<Generation> kept = session.Generate(other, options);
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_EQ(kept->stats.reused_tokens, reused) << common;
    EXPECT_EQ(kept->ids, Finish(&fresh, other, Greedy(3)).ids) << common;
  }
}

TEST(Session, WithoutACacheEveryStepTakesTheWholeText) {
  FakeExecutor executor(/*has_kv_cache=*/false);
  Finish(&executor, Prompt(40), Greedy(3));
  EXPECT_EQ(executor.step_sizes(), (std::vector<int>{40, 41, 42}));
}

TEST(Session, RopeLengthsAreThePromptsThenEachPositionsOwn) {
  FakeExecutor executor;
  Finish(&executor, Prompt(18), Greedy(3));
  std::vector<int32_t> expected(18, 18);
  expected.push_back(19);
  expected.push_back(20);
  EXPECT_EQ(executor.rope_lens(), expected);
}

TEST(Session, ATextThatGrowsBeyondItsRopeCrossingIsComputedAgainFromItsStart) {
  FakeExecutor plain, executor, whole(/*has_kv_cache=*/false);
  executor.mutable_metadata()->rope_crossing = whole.mutable_metadata()->rope_crossing = 19;
  const std::vector<int32_t> expected = Finish(&plain, Prompt(18), Greedy(4)).ids;
  EXPECT_EQ(Finish(&executor, Prompt(18), Greedy(4)).ids, expected);
  EXPECT_EQ(executor.step_sizes(), (std::vector<int>{16, 2, 1, 16, 3, 1, 1}));
  std::vector<int32_t> lengths(18, 18);
  lengths.push_back(19);
  lengths.insert(lengths.end(), 20, 20);
  lengths.push_back(21);
  EXPECT_EQ(executor.rope_lens(), lengths);

  EXPECT_EQ(Finish(&whole, Prompt(18), Greedy(4)).ids, expected);
  lengths.assign(36, 18);
  lengths.push_back(19);
  lengths.insert(lengths.end(), 40, 20);
  lengths.push_back(21);
  EXPECT_EQ(whole.rope_lens(), lengths);
}

TEST(Session, APromptBeyondTheRopeCrossingIsComputedOnce) {
  FakeExecutor executor;
  executor.mutable_metadata()->rope_crossing = 19;
  Finish(&executor, Prompt(20), Greedy(3));
  EXPECT_EQ(executor.step_sizes(), (std::vector<int>{16, 4, 1, 1}));
}

TEST(Session, LogitsGivenBeforeARopeCrossingAreNotGivenAgain) {
  FakeExecutor plain, executor;
  executor.mutable_metadata()->rope_crossing = 22;
  GenerateOptions options = Greedy(5);
  options.all_logits = true;
  EXPECT_EQ(Finish(&executor, Prompt(21), options).logits,
            Finish(&plain, Prompt(21), options).logits);
}

TEST(Session, AllLogitsAreThoseOfEveryPositionHoweverTheyAreComputed) {
  std::vector<int32_t> text;
  for (bool cache : {true, false}) {
    FakeExecutor executor(cache);
    GenerateOptions options = Greedy(5);
    options.all_logits = true;
    const Generation result = Finish(&executor, Prompt(21), options);
    text = result.prompt_ids;
    text.insert(text.end(), result.ids.begin(), result.ids.end());
    ASSERT_EQ(result.logits.size(), 26 * 50);
    for (size_t row = 0; row < text.size(); ++row) {
      std::vector<float> expected(50);
      executor.Logits({text.begin(), text.begin() + row + 1}, expected.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), result.logits.begin() + row * 50))
          << "row " << row << (cache ? ", cached" : ", whole texts");
    }
  }
}

TEST(Session, AnEndIdEndsItAndIsAmongTheIds) {
  FakeExecutor executor;
  executor.mutable_metadata()->eos_ids = {7, 9};
  executor.Force(14, 9);
  const Generation result = Finish(&executor, Prompt(10), Greedy(50));
  EXPECT_EQ(result.finish, FinishReason::kEndId);
  ASSERT_EQ(result.ids.size(), 5);
  EXPECT_EQ(result.ids.back(), 9);
  EXPECT_EQ(result.stats.generated_tokens, 5);
}

TEST(Session, IgnoredEndIdsDoNot) {
  FakeExecutor executor;
  executor.mutable_metadata()->eos_ids = {9};
  executor.Force(14, 9);
  GenerateOptions options = Greedy(50);
  options.ignore_eos = true;
  const Generation result = Finish(&executor, Prompt(10), options);
  EXPECT_EQ(result.finish, FinishReason::kMaxTokens);
  EXPECT_EQ(result.ids.size(), 50);
}

TEST(Session, TheContextEndsIt) {
  FakeExecutor executor;
  const Generation result = Finish(&executor, Prompt(190), Greedy(-1));
  EXPECT_EQ(result.finish, FinishReason::kContext);
  EXPECT_EQ(result.ids.size(), 10);
}

TEST(Session, APromptAsLongAsTheContextGivesItsLogitsAndNoToken) {
  FakeExecutor executor;
  GenerateOptions options = Greedy(-1);
  options.all_logits = true;
  const Generation result = Finish(&executor, Prompt(200), options);
  EXPECT_EQ(result.finish, FinishReason::kContext);
  EXPECT_TRUE(result.ids.empty());
  EXPECT_EQ(result.logits.size(), 200 * 50);
}

TEST(Session, NoTokensCanBeAskedFor) {
  FakeExecutor executor;
  const Generation result = Finish(&executor, Prompt(5), Greedy(0));
  EXPECT_EQ(result.finish, FinishReason::kMaxTokens);
  EXPECT_TRUE(result.ids.empty());
  EXPECT_EQ(result.stats.decode_rate(), 0);
}

TEST(Session, ItEndsBetweenTokensWhenCancelled) {
  FakeExecutor executor;
  GenerateOptions options = Greedy(50);
  int ids = 0;
  options.on_id = [&](int32_t) { ++ids; };
  options.cancelled = [&] { return ids >= 3; };
  const Generation result = Finish(&executor, Prompt(5), options);
  EXPECT_EQ(result.finish, FinishReason::kCancelled);
  EXPECT_EQ(result.ids.size(), 3);
}

TEST(Session, ItEndsBetweenChunksWhenCancelled) {
  FakeExecutor executor;
  GenerateOptions options = Greedy(50);
  options.prefill_chunk = 4;
  options.cancelled = [&] { return executor.step_sizes().size() >= 2; };
  const Generation result = Finish(&executor, Prompt(20), options);
  EXPECT_EQ(result.finish, FinishReason::kCancelled);
  EXPECT_TRUE(result.ids.empty());
  EXPECT_EQ(executor.step_sizes().size(), 2);
  EXPECT_EQ(result.stats.prefilled_tokens, 8);
  EXPECT_EQ(result.stats.prefill_rate(), 8 / result.stats.prefill_seconds);
}

TEST(Session, PagesComeBackAfterEachGeneration) {
  FakeExecutor executor;
  Session session(&executor, nullptr);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(session.Generate(Prompt(150), Greedy(40)).ok());
  }
}

TEST(Session, WindowsDoNotLimitTheTextThatPagesHold) {
  FakeExecutor executor;
  executor.mutable_limits()->kv_groups.clear();
  executor.AddWindow(10, 2, 2);
  EXPECT_EQ(LongestText(executor.limits()), 200);
  executor.mutable_limits()->kv_groups[0].total_pages = 1;  // too few for the largest step
  EXPECT_EQ(LongestText(executor.limits()), 64);
  executor.mutable_limits()->kv_groups = {{0, 2, 4}, {10, 2, 2}};
  EXPECT_EQ(LongestText(executor.limits()), 128);
}

TEST(Session, PromptTokensAreNeverCountedAsGenerated) {
  FakeExecutor executor;
  const Generation result = Finish(&executor, Prompt(40), Greedy(10));
  EXPECT_EQ(result.stats.prompt_tokens, 40);
  EXPECT_EQ(result.stats.generated_tokens, 10);
  EXPECT_EQ(result.stats.decode_steps, 9);
  EXPECT_DOUBLE_EQ(result.stats.bytes_per_token(), 1000 + 44);
  EXPECT_GT(result.stats.prefill_rate(), 0);
  EXPECT_GE(result.stats.first_token_seconds, result.stats.prefill_seconds);
}

TEST(Session, ASeedFixesTheIdsAndAnotherGivesOthers) {
  GenerateOptions options = Greedy(60);
  options.sampling.sample = true;
  options.sampling.seed = 5;
  FakeExecutor a, b, c;
  const std::vector<int32_t> ids = Finish(&a, Prompt(5), options).ids;
  EXPECT_EQ(Finish(&b, Prompt(5), options).ids, ids);
  options.sampling.seed = 6;
  EXPECT_NE(Finish(&c, Prompt(5), options).ids, ids);
}

TEST(Session, BadPromptsAndOptionsAreRefused) {
  FakeExecutor executor;
  Session session(&executor, nullptr);
  EXPECT_EQ(session.Generate({}, {}).status().message(),
            "prompt: expected one token at least, found none");
  EXPECT_EQ(session.Generate({1, 50}, {}).status().message(),
            "prompt: token 1: expected an id from 0 to 49, found 50");
  EXPECT_EQ(session.Generate(Prompt(201), {}).status().message(),
            "prompt: expected at most 200 tokens, the context's length, found 201");
  GenerateOptions options;
  options.sampling.top_p = 2;
  EXPECT_EQ(session.Generate({1}, options).status().message(), "--top-p: expected 0 to 1, found 2");
  options = {};
  options.stop = {"x"};
  EXPECT_EQ(session.Generate({1}, options).status().message(),
            "--stop: expected a model with a tokenizer, found one without");
}

// The demo model's tokenizer, with an executor that spells out a text.
class SessionTextTest : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::FromFolder(NINFER_SOURCE_DIR "/models/demo");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    executor_ = std::make_unique<FakeExecutor>(true, tokenizer_->vocab_size());
  }
  void Spell(int64_t prompt_length, const std::string& text) {
    for (int32_t id : tokenizer_->Encode(text, false)) executor_->Force(prompt_length++, id);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<FakeExecutor> executor_;
};

TEST_F(SessionTextTest, TextIsStreamedAfterThePrompts) {
  const std::vector<int32_t> prompt = tokenizer_->Encode("Once upon a time", true);
  Spell(static_cast<int64_t>(prompt.size()), ", there was a lamb.");
  std::string shown_prompt, shown;
  GenerateOptions options = Greedy(6);
  options.on_prompt_text = [&](absl::string_view text) { shown_prompt += std::string(text); };
  options.on_text = [&](absl::string_view text) { shown += std::string(text); };
  const Generation result = Finish(executor_.get(), prompt, options, tokenizer_.get());
  EXPECT_EQ(shown_prompt, "Once upon a time");
  EXPECT_EQ(shown, result.text);
  EXPECT_EQ(result.text.substr(0, 14), ", there was a ");
}

TEST_F(SessionTextTest, AStopStringEndsItAndIsNotShown) {
  const std::vector<int32_t> prompt = tokenizer_->Encode("Once", true);
  Spell(static_cast<int64_t>(prompt.size()), " upon a time, there was a lamb. The end.");
  GenerateOptions options = Greedy(50);
  options.stop = {"zebra", " was a"};
  const Generation result = Finish(executor_.get(), prompt, options, tokenizer_.get());
  EXPECT_EQ(result.finish, FinishReason::kStopString);
  EXPECT_EQ(result.text, " upon a time, there");
}

TEST_F(SessionTextTest, TextHeldBackForAStopStringIsShownAtTheEnd) {
  const std::vector<int32_t> prompt = tokenizer_->Encode("Once", true);
  Spell(static_cast<int64_t>(prompt.size()), " upon a time");
  GenerateOptions options = Greedy(3);
  options.stop = {" a time, there"};
  const Generation result = Finish(executor_.get(), prompt, options, tokenizer_.get());
  EXPECT_EQ(result.finish, FinishReason::kMaxTokens);
  EXPECT_EQ(result.text, " upon a time");
}

// A byte token is told from a part of a longer run when something else follows it.
TEST(SessionBytesTest, APromptThatEndsInBytesIsShownWholeAndStopsNothing) {
  const std::string folder = JoinPath(testing::TempDir(), "bytes");
  std::filesystem::create_directories(folder);
  std::ofstream(JoinPath(folder, "tokenizer.json")) << R"({
    "model": {"type": "BPE", "byte_fallback": true, "merges": [],
              "vocab": {"<unk>": 0, "<0x0A>": 1, "<0xC3>": 2, "<0xA9>": 3, "a": 4, "b": 5}},
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}})";
  auto tokenizer = Tokenizer::FromFolder(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto generate = [&](std::vector<int32_t> prompt, const std::vector<int32_t>& answer) {
    FakeExecutor executor(true, (*tokenizer)->vocab_size());
    auto at = static_cast<int64_t>(prompt.size());
    for (const int32_t id : answer) executor.Force(at++, id);
    GenerateOptions options = Greedy(static_cast<int>(answer.size()));
    options.stop = {"\n"};
    std::string shown;
    options.on_prompt_text = [&](absl::string_view text) { shown = std::string(text); };
    const Generation result = Finish(&executor, prompt, options, tokenizer->get());
    return std::make_pair(shown, result.text);
  };
  using testing::Pair;
  EXPECT_THAT(generate({4, 1}, {5, 4}), Pair("a\n", "ba"));
  EXPECT_THAT(generate({4, 1}, {2, 3, 5}), Pair("a\n", "\u00e9b"));
  EXPECT_THAT(generate({4, 2}, {3, 5}), Pair("a", "\u00e9b"));
}

TEST(FinishReason, EachHasAName) {
  EXPECT_EQ(FinishReasonName(FinishReason::kEndId), "end id");
  EXPECT_EQ(FinishReasonName(FinishReason::kStopString), "stop string");
  EXPECT_EQ(FinishReasonName(FinishReason::kMaxTokens), "max tokens");
  EXPECT_EQ(FinishReasonName(FinishReason::kContext), "context");
  EXPECT_EQ(FinishReasonName(FinishReason::kCancelled), "cancelled");
}

}  // namespace
}  // namespace ninfer::runtime
