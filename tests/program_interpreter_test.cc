// The interpreter of programs: goldens of transformers through lowering, layout, schedule and planned
// arena; steps of all shapes against the whole text; and spoilt programs, each of which must be named.
#include "eager/program_interpreter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "passes/pass.h"
#include "program/text.h"
#include "tests/eager_models.h"

namespace ninfer::eager {
namespace {

using testing::HasSubstr;

constexpr double kLogitBound = 2e-5;  // of the largest logit
constexpr int64_t kPages = 24;

struct Lowered {
  program::Program program;
  std::vector<uint8_t> packed;
};

passes::PassOptions OptionsFor(const GoldenModel& model) {
  passes::PassOptions options;
  options.context_length = model.imported->info.context_length;
  options.max_tokens = std::min<int64_t>(options.context_length, 128);
  options.max_rows = options.max_tokens;
  options.max_sequences = 4;
  return options;
}

void LowerModel(const GoldenModel& model, const passes::PassOptions& options, Lowered& lowered) {
  auto result = passes::RunPipeline(model.imported->module.Clone(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(result->lowered);
  lowered.program = std::move(result->program);
  lowered.packed.assign(lowered.program.weight_bytes, 0);
  int64_t reported = -1;
  const absl::Status status =
      PackWeights(lowered.program, *model.imported->weights, 2,
                  [&reported](int64_t bytes) {
                    EXPECT_LE(reported, bytes);
                    reported = bytes;
                  },
                  lowered.packed.data());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(reported, lowered.program.weight_bytes);
}

// One text in steps of at most `chunk` tokens.
std::vector<float> RunText(const Lowered& lowered, int threads, const std::vector<int32_t>& ids,
                           size_t chunk) {
  auto interpreter =
      ProgramInterpreter::Create(&lowered.program, lowered.packed.data(), threads, kPages);
  EXPECT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<float> logits;
  for (size_t first = 0; interpreter.ok() && first < ids.size(); first += chunk) {
    StepArguments arguments;
    arguments.tokens.assign(ids.begin() + first, ids.begin() + std::min(first + chunk, ids.size()));
    arguments.cached_lens = {static_cast<int32_t>(first)};
    auto rows = (*interpreter)->Run(arguments);
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok()) break;
    logits.insert(logits.end(), rows->floats->begin(), rows->floats->end());
  }
  return logits;
}

class ProgramModelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(LoadGoldenModel(GetParam(), model_));
    ids_ = model_.IdsWithLogits();
    expected_ = model_.Floats("logits");
  }
  GoldenModel model_;
  std::vector<int32_t> ids_;
  std::vector<float> expected_;
};

TEST_P(ProgramModelTest, LogitsEqualTransformersWholeAndInChunks) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  EXPECT_LE(LargestError(RunText(lowered, 2, ids_, ids_.size()), expected_), kLogitBound);
  EXPECT_LE(LargestError(RunText(lowered, 3, ids_, 1), expected_), kLogitBound) << "one by one";
  EXPECT_LE(LargestError(RunText(lowered, 2, ids_, 3), expected_), kLogitBound) << "three by three";
}

TEST_P(ProgramModelTest, LogitsEqualTransformersWithoutOptionalPasses) {
  passes::PassOptions options = OptionsFor(model_);
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    if (pass.optional) options.disabled.insert(pass.name);
  }
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, options, lowered));
  EXPECT_LE(LargestError(RunText(lowered, 2, ids_, ids_.size()), expected_), kLogitBound);
}

TEST_P(ProgramModelTest, LogitsEqualTransformersWithoutCacheInEveryFormOfAttention) {
  for (const char* form : {"naive", "efficient", "flash"}) {
    passes::PassOptions options = OptionsFor(model_);
    options.attention = form;
    options.disabled = {"kv-cache"};
    Lowered lowered;
    ASSERT_NO_FATAL_FAILURE(LowerModel(model_, options, lowered));
    EXPECT_LE(LargestError(RunText(lowered, 2, ids_, ids_.size()), expected_), kLogitBound) << form;
  }
}

TEST_P(ProgramModelTest, SequencesOnShuffledPagesEqualEachAlone) {
  Lowered lowered;
  ASSERT_NO_FATAL_FAILURE(LowerModel(model_, OptionsFor(model_), lowered));
  const std::vector<std::vector<int32_t>> texts = {{ids_.begin(), ids_.begin() + 5},
                                                   {ids_.begin() + 1, ids_.begin() + 3},
                                                   {ids_.begin() + 2, ids_.end()}};
  auto interpreter = ProgramInterpreter::Create(&lowered.program, lowered.packed.data(), 2, kPages);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<std::vector<float>> found(texts.size());
  // Each step takes up to two more tokens of every text that has any left.
  for (size_t done = 0; done < ids_.size(); done += 2) {
    StepArguments arguments;
    arguments.seq_bounds = {0};
    std::vector<std::pair<size_t, size_t>> parts;  // text, tokens
    for (size_t s = 0; s < texts.size(); ++s) {
      const size_t count = std::min<size_t>(2, texts[s].size() - std::min(done, texts[s].size()));
      if (count == 0) continue;
      parts.push_back({s, count});
      arguments.tokens.insert(arguments.tokens.end(), texts[s].begin() + done,
                              texts[s].begin() + done + count);
      arguments.seq_bounds.push_back(static_cast<int32_t>(arguments.tokens.size()));
      arguments.cached_lens.push_back(static_cast<int32_t>(done));
      for (const int32_t page : {17 - static_cast<int32_t>(s) * 5, 20 - static_cast<int32_t>(s)}) {
        arguments.page_table.push_back(page);
      }
    }
    if (parts.empty()) break;
    if (model_.imported->info.context_length <= 64) {  // one page is all that a text may have
      for (size_t i = 0; i < parts.size(); ++i) arguments.page_table.erase(arguments.page_table.begin() + i + 1);
    }
    auto rows = (*interpreter)->Run(arguments);
    ASSERT_TRUE(rows.ok()) << rows.status();
    auto row = rows->floats->begin();
    for (const auto& [text, count] : parts) {
      found[text].insert(found[text].end(), row, row + count * model_.vocab());
      row += count * model_.vocab();
    }
  }
  for (size_t s = 0; s < texts.size(); ++s) {
    const std::vector<float> alone = RunText(lowered, 2, texts[s], texts[s].size());
    EXPECT_LE(LargestError(found[s], alone), 4e-6) << "text " << s;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ProgramModelTest, testing::ValuesIn(GoldenModelFolders()),
                         FolderTestName);

}  // namespace
}  // namespace ninfer::eager
