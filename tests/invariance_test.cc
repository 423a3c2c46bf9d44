// Logits that are equal to the bit, whatever the number of threads, the chunks of the prompt, the
// company of other texts, the pages, what lay on them before, and the way of the code into memory.
// In f32, bf16 and integers, on texts of several pages.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/quantise.h"
#include "base/status.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"
#include "tests/support/random.h"

namespace ninfer::compiler {
namespace {

constexpr int64_t kContext = 320;  // five pages

std::vector<int32_t> RandomIds(int64_t count, int64_t vocab, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random.Below(vocab)));
  return ids;
}

void ExpectSameBits(const std::vector<float>& found, const std::vector<float>& expected,
                    int64_t vocab, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&found[i], &expected[i], sizeof(float)) == 0) continue;
    FAIL() << what << ": position " << i / vocab << ", logit " << i % vocab << ": expected "
           << expected[i] << ", found " << found[i];
  }
}

// Rows choose their experts, whatever their neighbours choose.
constexpr char kExperts[] = R"({
  "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 75,
  "hidden_size": 36, "intermediate_size": 50, "moe_intermediate_size": 35, "num_hidden_layers": 2,
  "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 6, "num_experts": 5,
  "num_experts_per_tok": 2, "max_position_embeddings": 320, "norm_topk_prob": true
})";

struct Case {
  const char* name;
  const char* model;
  const char* type;
  const char* attention;
  const char* activations = nullptr;  // null: as the type goes
  const char* cache = "auto";
};

struct Plans {
  std::shared_ptr<const plan::LoadedPlan> in_place, from_file;
};

absl::StatusOr<Plans> MakePlans(const Case& from) {
  testing::TemporaryFolder folder;
  std::string path = folder.path();
  testing::TinyOptions tiny;
  tiny.context = kContext;
  tiny.heads = 6;
  tiny.kv_heads = 2;
  tiny.inner = 50;
  tiny.vocab = 75;
  const std::string model = from.model;
  tiny.hidden = model == "llama" ? 36 : 42;  // heads of 6 and of 7 columns
  if (model == "llama") testing::WriteModel(path, testing::TinyLlama(tiny));
  if (model == "gpt2") testing::WriteModel(path, testing::TinyGpt2(tiny));
  if (model == "demo") path = NINFER_SOURCE_DIR "/models/demo";
  Json options = ExactOptions(path);
  if (model == "experts") {
    NINFER_RETURN_IF_ERROR(WriteFile(folder.File("experts.json"), kExperts));
    options.erase("model");
    options["random_weights"] = folder.File("experts.json");
  }
  options["context"] = options["max_tokens"] = options["max_rows"] = kContext;
  options["weights"] = from.type;
  const bool integers = FindWeightScheme(from.type) != nullptr;
  options["activations"] = from.activations != nullptr ? from.activations
                           : integers                  ? "int8"
                                                       : from.type;
  options["attention"] = from.attention;
  options["kv_cache"] = from.cache;
  NINFER_ASSIGN_OR_RETURN(Compiled compiled, CompileWith(options));
  const std::string file = folder.File("plan.bin");
  NINFER_RETURN_IF_ERROR(plan::WritePlan(compiled.plan, compiled.weights->data(), file));
  NINFER_ASSIGN_OR_RETURN(plan::LoadedPlan loaded, plan::ReadPlan(file, {}));
  Plans plans;
  plans.from_file = std::make_shared<const plan::LoadedPlan>(std::move(loaded));
  NINFER_ASSIGN_OR_RETURN(plans.in_place, InPlace(std::move(compiled)));
  return plans;
}

class InvarianceTest : public PlanTest<Case> {
 protected:
  void SetUp() override {
    // One compilation for all tests of a case.
    static auto* made = new std::map<const char*, absl::StatusOr<Plans>>();
    const char* name = GetParam().name;
    if (made->count(name) == 0) made->emplace(name, MakePlans(GetParam()));
    const absl::StatusOr<Plans>& plans = made->at(name);
    ASSERT_TRUE(plans.ok()) << plans.status();
    plan_ = plans->in_place;
    from_file_ = plans->from_file;
    vocab_ = plan_->plan.metadata.vocab_size;
    text_ = RandomIds(150, vocab_, 1);
    executor_ = NewExecutor(1);
    expected_ = Run(*executor_, text_);
  }

  std::shared_ptr<const plan::LoadedPlan> from_file_;
  int64_t vocab_ = 0;
  std::vector<int32_t> text_;
  std::vector<float> expected_;
};

TEST_P(InvarianceTest, AnyNumberOfThreadsGivesTheSameBits) {
  for (const int threads : {2, 3, 5}) {
    const auto executor = NewExecutor(threads);
    const std::string what = absl::StrCat(threads, " threads");
    ExpectSameBits(Run(*executor, text_), expected_, vocab_, what);
    const std::vector<int32_t> start(text_.begin(), text_.begin() + 20);
    const std::vector<float> begin(expected_.begin(), expected_.begin() + 20 * vocab_);
    ExpectSameBits(Run(*executor, start, 1), begin, vocab_, what + ", token by token");
  }
}

TEST_P(InvarianceTest, APromptInChunksGivesTheSameBits) {
  const auto two = NewExecutor(2);
  for (const int64_t chunk : {1, 3, 16, 64, 149}) {
    ExpectSameBits(Run(*(chunk == 3 ? two : executor_), text_, chunk), expected_, vocab_,
                   absl::StrCat("chunks of ", chunk));
  }
}

// Texts of unequal lengths on shuffled pages: prompts together, then some answer while others still
// have chunks of their prompts in the same step.
TEST_P(InvarianceTest, TextsInOneStepOnShuffledPagesGiveTheBitsOfEachAlone) {
  const int64_t lengths[] = {70, 5, 131, 64};
  std::vector<Sequence> texts;
  std::vector<std::vector<float>> alone;
  for (size_t i = 0; i < std::size(lengths); ++i) {
    texts.push_back({RandomIds(lengths[i], vocab_, 10 + i), {}});
    alone.push_back(Run(*executor_, texts.back().ids));
  }
  const auto executor = NewExecutor(2, 16);
  const std::vector<int32_t> shuffled = {11, 2, 14, 7, 0, 9, 5, 13, 3, 15, 1, 8, 12, 4, 10, 6};
  for (size_t count = 1; count <= texts.size(); ++count) {
    std::vector<Sequence*> running;
    size_t next_page = count;
    for (size_t s = 0; s < count; ++s) {
      texts[s].pages = {{}};
      texts[s].logits.clear();
      texts[s].done = 0;
      for (int64_t p = 0; p * 64 < lengths[s]; ++p) {
        texts[s].pages[0].push_back(shuffled[next_page++ % shuffled.size()]);
        executor->ClearPage(0, texts[s].pages[0].back());
      }
      running.push_back(&texts[s]);
    }
    for (int step = 0;; ++step) {
      std::vector<int64_t> counts;
      for (const Sequence* text : running) {
        const int64_t chunk = step == 0 ? text->left() / 2 : step % 3 == 0 ? 1 : 7;
        counts.push_back(std::min(std::max<int64_t>(chunk, 1), text->left()));
      }
      if (std::accumulate(counts.begin(), counts.end(), int64_t{0}) == 0) break;
      const absl::Status status = RunStep(*executor, running, counts);
      ASSERT_TRUE(status.ok()) << status;
    }
    for (size_t s = 0; s < count; ++s) {
      ExpectSameBits(texts[s].logits, alone[s], vocab_, absl::StrCat("text ", s, " of ", count));
    }
  }
}

TEST_P(InvarianceTest, ThePlanReadBackGivesTheBitsOfTheCodeInPlace) {
  ASSERT_EQ(from_file_->plan.images.size(), plan_->plan.images.size());
  EXPECT_EQ(from_file_->plan.images[0].bytes, plan_->plan.images[0].bytes);
  auto executor = Execute(from_file_, 2);
  ASSERT_TRUE(executor.ok()) << executor.status();
  ExpectSameBits(Run(**executor, text_), expected_, vocab_, "from the file");
  ExpectSameBits(Run(**executor, text_, 16), expected_, vocab_, "from the file, in chunks");
}

TEST_P(InvarianceTest, PagesThatHeldAnotherTextGiveTheSameBitsOnceCleared) {
  const auto executor = NewExecutor(2, 5);
  Run(*executor, RandomIds(kContext, vocab_, 3));  // fills every position of every page
  ExpectSameBits(Run(*executor, text_), expected_, vocab_, "whole");
  Run(*executor, RandomIds(kContext, vocab_, 4));
  ExpectSameBits(Run(*executor, text_, 16), expected_, vocab_, "in chunks");
}

TEST_P(InvarianceTest, RowsAskedForDoNotChangeTheirBits) {
  runtime::KvPages pages(executor_.get());
  runtime::HeldPages held;
  ASSERT_TRUE(pages.Reserve(0, text_.size(), &held).ok());
  const std::vector<int32_t> table = runtime::PageTable(executor_->limits(), {&held});
  std::vector<int32_t> positions(text_.size());
  std::iota(positions.begin(), positions.end(), 0);
  const int32_t bounds[] = {0, static_cast<int32_t>(text_.size())}, cached[] = {0};
  const std::vector<int32_t> rows = {0, 63, 64, 149}, lengths(text_.size(), 150);
  std::vector<float> logits(rows.size() * vocab_), expected;
  const absl::Status status =
      executor_->Step({text_, positions, bounds, cached, table, rows, lengths}, logits.data());
  ASSERT_TRUE(status.ok()) << status;
  for (const int32_t row : rows) {
    expected.insert(expected.end(), expected_.begin() + row * vocab_,
                    expected_.begin() + (row + 1) * vocab_);
  }
  ExpectSameBits(logits, expected, vocab_, "four rows");
}

INSTANTIATE_TEST_SUITE_P(
    Models, InvarianceTest,
    ::testing::Values(Case{"llama_f32_flash", "llama", "f32", "flash"},
                      Case{"llama_bf16_flash", "llama", "bf16", "flash"},
                      Case{"gpt2_f32_efficient", "gpt2", "f32", "efficient"},
                      Case{"gpt2_bf16_naive", "gpt2", "bf16", "naive"},
                      Case{"demo_f32_flash", "demo", "f32", "flash"},
                      Case{"demo_bf16_flash", "demo", "bf16", "flash"},
                      Case{"llama_int8_flash", "llama", "int8", "flash"},
                      Case{"gpt2_int4_naive", "gpt2", "int4", "naive"},
                      Case{"llama_nu4_flash", "llama", "nu4", "flash"},
                      Case{"llama_channel_flash", "llama", "int8:channel", "flash", "bf16"},
                      Case{"gpt2_int4a_128_flash", "gpt2", "int4a:128", "flash", "f32"},
                      Case{"llama_cache8_flash", "llama", "f32", "flash", "f32", "int8"},
                      Case{"gpt2_cache8_efficient", "gpt2", "bf16", "efficient", "bf16", "int8"},
                      Case{"demo_cache8_naive", "demo", "int8", "naive", "int8", "int8"},
                      Case{"experts_f32_flash", "experts", "f32", "flash"},
                      Case{"experts_bf16_flash", "experts", "bf16", "flash"},
                      Case{"experts_int8_flash", "experts", "int8", "flash"}),
    [](const auto& info) { return std::string(info.param.name); });

// Without a cache: the same bits for any number of threads and in any company, and the text may
// grow to the context with the same code.
TEST(InvarianceWithoutCache, ThreadsAndCompanyDoNotChangeTheBits) {
  for (const char* type : {"f32", "bf16"}) {
    Json options = ExactOptions(NINFER_SOURCE_DIR "/tests/data/hf-models/llama-gqa");
    options["weights"] = options["activations"] = type;
    options["disable_passes"] = {"kv-cache"};
    options["max_rows"] = 128;
    const auto plan = CompileInPlace(options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    auto one = Execute(*plan, 1), three = Execute(*plan, 3);
    ASSERT_TRUE(one.ok() && three.ok()) << one.status();
    const int64_t vocab = (*plan)->plan.metadata.vocab_size;
    std::vector<Sequence> texts;
    std::vector<Sequence*> running;
    for (const int64_t length : {40, 1, 66, 21}) {
      texts.push_back({RandomIds(length, vocab, length), {}});
    }
    std::vector<int64_t> counts;
    for (Sequence& text : texts) {
      running.push_back(&text);
      counts.push_back(text.left());
    }
    const absl::Status status = RunStep(**three, running, counts);
    ASSERT_TRUE(status.ok()) << status;
    for (const Sequence& text : texts) {
      const auto alone = RunText(**one, text.ids);
      ASSERT_TRUE(alone.ok()) << alone.status();
      ExpectSameBits(text.logits, *alone, vocab, absl::StrCat(type, ", ", text.ids.size()));
    }
  }
}

}  // namespace
}  // namespace ninfer::compiler
