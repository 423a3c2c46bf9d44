// Layers with a window hold the pages that it covers and no more: texts of many windows' length
// give the logits and ids of eager on the whole text, the same to the bit for any threads, chunks,
// pages and company, as with every page held, while the cache stays as it is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "eager/program_interpreter.h"
#include "plan/kv_groups.h"
#include "program/text.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"
#include "tests/support/random.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kContext = 768;  // twelve pages
constexpr int64_t kChunk = 64;     // tokens of a step

// Every layer sees 40 positions: fewer than a step has.
constexpr char kMistral[] = R"({
  "architectures": ["MistralForCausalLM"], "model_type": "mistral", "vocab_size": 75,
  "hidden_size": 36, "intermediate_size": 50, "num_hidden_layers": 2, "num_attention_heads": 6,
  "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 768, "sliding_window": 40
})";
// Two layers of three see 100 positions, more than a step has; with caps, and a rope for each kind.
constexpr char kGemma3[] = R"({
  "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "vocab_size": 75,
  "hidden_size": 42, "intermediate_size": 50, "num_hidden_layers": 3, "num_attention_heads": 6,
  "num_key_value_heads": 2, "head_dim": 10, "max_position_embeddings": 768, "sliding_window": 100,
  "query_pre_attn_scalar": 10, "final_logit_softcapping": 3.0,
  "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]
})";

struct Case {
  const char* name;
  const char* config;
  const char* type;
  const char* attention;
  bool passes = true;  // the optional ones, but for the cache
  const char* cache = "auto";

  // Of the largest logit.
  double bound() const { return exact() ? 2e-5 : 0.02; }
  bool exact() const { return std::strcmp(type, "f32") == 0 && std::strcmp(cache, "auto") == 0; }
};

std::vector<int32_t> RandomIds(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random.Below(75)));
  return ids;
}

void ExpectSameBits(const std::vector<float>& found, const std::vector<float>& expected,
                    const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&found[i], &expected[i], sizeof(float)) == 0) continue;
    FAIL() << what << ": position " << i / 75 << ", logit " << i % 75 << ": expected "
           << expected[i] << ", found " << found[i];
  }
}

// A compilation and a run of eager for all tests of a case.
struct Made {
  std::shared_ptr<const plan::LoadedPlan> plan;
  std::string program_text;
};

Json SourceOf(const Case& from, const std::string& config) {
  Json options = {{"random_weights", config}, {"threads", 2}, {"context", kContext}};
  options["random_dtype"] = "f32";
  options["weights"] = options["activations"] = from.type;
  options["kv_cache"] = from.cache;
  return options;
}

absl::StatusOr<Made> Make(const Case& from) {
  testing::TemporaryFolder folder;
  const std::string config = folder.File("config.json");
  NINFER_RETURN_IF_ERROR(WriteFile(config, from.config));
  Json options = SourceOf(from, config);
  options["max_tokens"] = options["max_rows"] = kChunk;
  options["max_sequences"] = 4;
  options["attention"] = from.attention;
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    if (!from.passes && pass.optional && pass.name != "kv-cache") {
      options["disable_passes"].push_back(pass.name);
    }
  }
  NINFER_ASSIGN_OR_RETURN(Compiled compiled, CompileWith(options));
  Made made;
  made.program_text = compiled.plan.program_text;
  NINFER_ASSIGN_OR_RETURN(made.plan, InPlace(std::move(compiled)));
  return made;
}

std::unique_ptr<EagerExecutor> OpenEager(const Case& from, bool cache) {
  testing::TemporaryFolder folder;
  const std::string config = folder.File("config.json");
  EXPECT_TRUE(WriteFile(config, from.config).ok());
  Json options = SourceOf(from, config);
  if (!cache) options["disable_passes"] = {"kv-cache"};
  auto parsed = ParseOptions(options.dump(), Caller::kEager);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  if (!parsed.ok()) return nullptr;
  auto executor = EagerExecutor::Create(*parsed, {});
  EXPECT_TRUE(executor.ok()) << executor.status();
  return executor.ok() ? *std::move(executor) : nullptr;
}

class WindowTest : public PlanTest<Case> {
 protected:
  void SetUp() override {
    static auto* made = new std::map<std::string, absl::StatusOr<Made>>();
    const char* name = GetParam().name;
    if (made->count(name) == 0) made->emplace(name, Make(GetParam()));
    const absl::StatusOr<Made>& found = made->at(name);
    ASSERT_TRUE(found.ok()) << found.status();
    plan_ = found->plan;
    program_text_ = found->program_text;
    text_ = RandomIds(610, 1);
    executor_ = NewExecutor(1);
    ASSERT_NE(executor_, nullptr);
    groups_ = plan::KvGroups(plan_->plan);
    window_ = static_cast<int>(groups_.size()) - 1;
    ASSERT_GT(groups_[window_].window, 0);
  }

  std::string program_text_;
  std::vector<plan::KvGroup> groups_;
  int window_ = 0;  // the group with one
  std::vector<int32_t> text_;
};

TEST_P(WindowTest, ATextOfManyWindowsHasTheLogitsOfEagerOnTheWholeText) {
  const double bound = GetParam().bound();
  const auto whole = OpenEager(GetParam(), /*cache=*/false), cached = OpenEager(GetParam(), true);
  ASSERT_TRUE(whole != nullptr && cached != nullptr);
  std::vector<float> expected = Run(*whole, text_);
  const std::vector<float> with_cache = Run(*cached, text_, 50);
  if (std::strcmp(GetParam().cache, "int8") == 0) {  // which the whole text does without
    EXPECT_LE(LargestError(with_cache, expected), 0.1);
    expected = with_cache;
  }
  EXPECT_LE(LargestError(with_cache, expected), bound);
  EXPECT_LE(LargestError(Run(*executor_, text_), expected), bound);
}

TEST_P(WindowTest, GeneratedIdsAreThoseOfEager) {
  if (!GetParam().exact()) GTEST_SKIP() << "rounding may change an id";
  runtime::GenerateOptions options;
  options.max_tokens = 400;
  options.ignore_eos = true;
  const auto eager = OpenEager(GetParam(), true);
  ASSERT_NE(eager, nullptr);
  const std::vector<int32_t> prompt(text_.begin(), text_.begin() + 150);
  const auto expected = runtime::Session(eager.get(), nullptr).Generate(prompt, options);
  const auto found = runtime::Session(executor_.get(), nullptr).Generate(prompt, options);
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->ids.size(), 400);
  const std::set<int32_t> different(found->ids.begin(), found->ids.end());
  EXPECT_GT(different.size(), 10);  // no loop that any cache would give
  EXPECT_EQ(found->ids, expected->ids);
}

TEST_P(WindowTest, ThreadsAndChunksGiveTheSameBits) {
  const std::vector<float> expected = Run(*executor_, text_);
  const auto two = NewExecutor(2);
  ExpectSameBits(Run(*two, text_), expected, "two threads");
  for (const int64_t chunk : {1, 3, 16, 63}) {
    ExpectSameBits(Run(*executor_, text_, chunk), expected, absl::StrCat("chunks of ", chunk));
    ExpectSameBits(Run(*two, text_, chunk), expected, absl::StrCat("two threads, by ", chunk));
  }
}

TEST_P(WindowTest, HoldingEveryPageGivesTheSameBits) {
  const auto executor = NewExecutor(2, kContext / 64);
  Sequence text{text_, runtime::HeldPages(groups_.size())};
  for (size_t group = 0; group < groups_.size(); ++group) {
    ASSERT_EQ(executor->limits().kv_groups[group].total_pages, kContext / 64);
    for (int32_t page = 0; page < kContext / 64; ++page) text.pages[group].push_back(page);
  }
  while (text.left() > 0) {
    const absl::Status status = RunStep(*executor, {&text}, {std::min(kChunk, text.left())});
    ASSERT_TRUE(status.ok()) << status;
  }
  ExpectSameBits(Run(*executor_, text_), text.logits, "with the window's pages alone");
}

// Texts of unequal lengths whose pages were shuffled, some still in their prompts while others
// answer, each dropping and taking pages as it goes.
TEST_P(WindowTest, CompanyAndShuffledPagesGiveTheBitsOfEachAlone) {
  const int64_t lengths[] = {500, 64, 331, 190};
  std::vector<Sequence> texts;
  std::vector<std::vector<float>> alone;
  for (size_t i = 0; i < std::size(lengths); ++i) {
    texts.push_back({RandomIds(lengths[i], 10 + i), {}});
    alone.push_back(Run(*executor_, texts.back().ids));
  }
  const auto executor = NewExecutor(2, 24);
  runtime::KvPages pages(executor.get());
  Random random(7);
  std::vector<runtime::HeldPages> shuffle(pages.free_pages(window_));
  for (auto& held : shuffle) ASSERT_TRUE(pages.Reserve(0, 1, &held).ok());
  while (!shuffle.empty()) {
    std::swap(shuffle[random.Below(shuffle.size())], shuffle.back());
    pages.Release(&shuffle.back());
    shuffle.pop_back();
  }
  for (int step = 0;; ++step) {
    std::vector<Sequence*> running;
    std::vector<int64_t> counts;
    int64_t room = kChunk, tokens = 0;
    for (size_t s = 0; s < texts.size(); ++s) {
      const int64_t wanted = (step + s) % 3 == 0 ? 1 : (step + s) % 5 == 0 ? 33 : 13;
      const int64_t count = std::min({wanted, room, texts[s].left()});
      room -= count;
      tokens += count;
      running.push_back(&texts[s]);
      counts.push_back(count);
      if (count == 0) continue;
      const absl::Status held =
          pages.Reserve(texts[s].done, texts[s].done + count, &texts[s].pages);
      ASSERT_TRUE(held.ok()) << held;
    }
    if (tokens == 0) break;
    const absl::Status status = RunStep(*executor, running, counts);
    ASSERT_TRUE(status.ok()) << status;
  }
  for (size_t s = 0; s < texts.size(); ++s) {
    ExpectSameBits(texts[s].logits, alone[s], absl::StrCat("text ", s));
  }
}

// With no page to spare: the pool is as small as one text of the context's length needs.
TEST_P(WindowTest, TheCacheDoesNotGrowBeyondTheWindow) {
  const plan::KvGroup& group = groups_[window_];
  const runtime::KvGroupLimits& limits = executor_->limits().kv_groups[window_];
  const int64_t ring = (group.window - 1 + kChunk + 63) / 64 + 1;
  EXPECT_EQ(limits.total_pages, ring);
  EXPECT_LT(ring, kContext / 64);
  runtime::KvPages pages(executor_.get());
  runtime::HeldPages held;
  for (int64_t done = 0; done < kContext; done += kChunk) {
    ASSERT_TRUE(pages.Reserve(done, done + kChunk, &held).ok());
  }
  EXPECT_LE(limits.total_pages - pages.free_pages(window_), ring);
  int64_t expected = ring * group.page_bytes;
  if (window_ > 0) expected += kContext / 64 * groups_[0].page_bytes;
  EXPECT_EQ(executor_->CacheBytes(kContext), expected);
  EXPECT_EQ(executor_->CacheBytes(ring * 64) - executor_->CacheBytes(64),
            (ring - 1) * (group.page_bytes + (window_ > 0 ? groups_[0].page_bytes : 0)));
  EXPECT_EQ(runtime::LongestText(executor_->limits()), kContext);
  // A decoded token reads the window's positions, and all of them of the other layers.
  const int64_t far = executor_->BytesPerToken(700), near = executor_->BytesPerToken(600);
  EXPECT_EQ(far - near, window_ > 0 ? 100 * groups_[0].page_bytes / 64 : 0);
}

// A conversation whose turns go back by more and more, to before what is held of the window.
TEST_P(WindowTest, GoingBackInAKeptTextGivesTheIdsOfAFreshOne) {
  runtime::GenerateOptions options;
  options.max_tokens = 12;
  options.ignore_eos = true;
  runtime::GenerateOptions keep = options;
  keep.keep_cache = true;
  runtime::Session session(executor_.get(), nullptr);
  const auto other = NewExecutor(1);
  int reused = 0, again = 0;
  for (const int64_t common : {600, 590, 560, 500, 420, 300, 64, 0}) {
    ASSERT_TRUE(session.Generate(text_, keep).ok());
    std::vector<int32_t> turn(text_.begin(), text_.begin() + common);
    const std::vector<int32_t> rest = RandomIds(40, common);
    turn.insert(turn.end(), rest.begin(), rest.end());
    const auto kept = session.Generate(turn, keep);
    const auto fresh = runtime::Session(other.get(), nullptr).Generate(turn, options);
    ASSERT_TRUE(kept.ok()) << kept.status();
    ASSERT_TRUE(fresh.ok()) << fresh.status();
    EXPECT_EQ(kept->ids, fresh->ids) << common;
    (kept->stats.reused_tokens >= common && common > 0 ? reused : again) += 1;
  }
  EXPECT_GE(reused, 2);
  EXPECT_GE(again, 2);
}

// The kernel program, interpreted through the same tables, which name no page behind a window.
TEST_P(WindowTest, TheProgramsInterpreterReadsThroughTheSameTables) {
  const auto program = program::Parse(program_text_, "plan");
  ASSERT_TRUE(program.ok()) << program.status();
  const auto interpreter =
      eager::ProgramInterpreter::Create(&*program, plan_->weights, 2, kContext / 64);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  const std::vector<float> expected = Run(*executor_, text_);
  runtime::KvPages pages(executor_.get());
  runtime::HeldPages held;
  std::vector<float> found;
  for (int32_t done = 0; done < 400;) {
    const int32_t count = done == 320 ? 1 : kChunk;
    ASSERT_TRUE(pages.Reserve(done, done + count, &held).ok());
    eager::StepArguments step;
    step.tokens.assign(text_.begin() + done, text_.begin() + done + count);
    step.cached_lens = {done};
    for (size_t group = 0; group < groups_.size(); ++group) {
      std::vector<int32_t> table = held[group];
      table.resize(kContext / 64, kNoPage);
      if (groups_[group].window == 0) {
        step.page_table = table;
      } else {
        step.window_tables.push_back(table);
      }
    }
    const auto logits = (*interpreter)->Run(step);
    ASSERT_TRUE(logits.ok()) << logits.status();
    found.insert(found.end(), logits->floats->begin(), logits->floats->end());
    done += count;
  }
  const double bound = GetParam().bound();
  const std::vector<float> begin(expected.begin(), expected.begin() + found.size());
  EXPECT_LE(LargestError(found, begin), bound);
}

INSTANTIATE_TEST_SUITE_P(
    Models, WindowTest,
    ::testing::Values(Case{"mistral_f32_flash", kMistral, "f32", "flash"},
                      Case{"mistral_f32_naive", kMistral, "f32", "naive"},
                      Case{"mistral_bf16_efficient", kMistral, "bf16", "efficient"},
                      Case{"gemma3_f32_flash", kGemma3, "f32", "flash"},
                      Case{"gemma3_f32_efficient", kGemma3, "f32", "efficient"},
                      Case{"gemma3_f32_naive", kGemma3, "f32", "naive", false},
                      Case{"gemma3_bf16_flash", kGemma3, "bf16", "flash"},
                      Case{"gemma3_cache8_flash", kGemma3, "f32", "flash", true, "int8"},
                      Case{"mistral_cache8_naive", kMistral, "bf16", "naive", true, "int8"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace ninfer::compiler
