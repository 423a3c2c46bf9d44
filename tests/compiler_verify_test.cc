// What --verify-each compares with and where it draws the line: wrong graphs and wrong programs
// exceed the bound, right ones stay far below, at every stage.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "compiler/run_text.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "program/text.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::HasSubstr;

class CompilerVerifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteModel(folder_.path(), testing::TinyLlama());
    const auto options = ParseOptions(ExactOptions(folder_.path()).dump(), Caller::kCompile);
    auto source = OpenSource(*options);
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = std::make_unique<Source>(*std::move(source));
    std::string explanation;
    auto pass_options = PassOptionsFor(*options, *source_, &explanation);
    ASSERT_TRUE(pass_options.ok()) << pass_options.status();
    options_ = *std::move(pass_options);
    ids_ = CalibrationIds("", 37, 12);
    const absl::Status lent = LendComparisons(*source_, VerifyTexts("", 37, 64), 2, &options_);
    ASSERT_TRUE(lent.ok()) << lent;
  }
  const ir::Module& imported() const { return source_->model.module; }

  // The text with the first `from` behind the first `after` replaced.
  static std::string Edit(std::string text, const char* after, const std::string& from,
                          const std::string& to) {
    const size_t at = text.find(from, text.find(after));
    EXPECT_NE(at, text.npos) << from;
    return at == text.npos ? text : text.replace(at, from.size(), to);
  }
  passes::Comparison Compare(const std::string& graph) {
    const auto module = ir::Parse(graph, "edited");
    EXPECT_TRUE(module.ok()) << module.status();
    const auto comparison = options_.compare_module(*module, passes::Rounding::kNone);
    EXPECT_TRUE(comparison.ok()) << comparison.status();
    return comparison.ok() ? *comparison : passes::Comparison();
  }

  testing::TemporaryFolder folder_;
  std::unique_ptr<Source> source_;
  passes::PassOptions options_;
  std::vector<int32_t> ids_;
};

TEST_F(CompilerVerifyTest, TheGraphItselfIsEqualAndAnEditedOneIsNot) {
  const std::string text = ir::Print(imported());
  const passes::Comparison same = Compare(text);
  EXPECT_LT(same.max_error, 1e-6);
  EXPECT_EQ(same.bound, 1e-4);
  const passes::Comparison other = Compare(Edit(text, "rms_norm", "eps = 1e-05", "eps = 0.01"));
  EXPECT_GT(other.max_error, other.bound);
  EXPECT_THAT(other.where, HasSubstr("position "));
  EXPECT_THAT(other.where, HasSubstr(" of text "));
  EXPECT_THAT(other.where, HasSubstr(", logit "));
}

TEST_F(CompilerVerifyTest, EveryStageOfThePipelineStaysBelowItsBound) {
  const auto result = passes::RunPipeline(imported().Clone(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  int compared = 0;
  for (const passes::PassRecord& record : result->records) {
    if (!record.comparison) continue;
    ++compared;
    EXPECT_LT(record.comparison->max_error, 5e-6) << record.name;
    EXPECT_EQ(record.comparison->bound, 1e-4) << record.name;
  }
  EXPECT_GE(compared, 8);
}

TEST_F(CompilerVerifyTest, AWrongProgramExceedsTheBound) {
  const auto result = passes::RunPipeline(imported().Clone(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string text = program::Print(result->program);
  for (const auto& [from, to] : {std::pair("eps = 1e-05", "eps = 0.02"), {"silu", "relu"}}) {
    if (text.find(from) == text.npos) continue;
    const auto wrong = program::Parse(absl::StrReplaceAll(text, {{from, to}}), "edited");
    ASSERT_TRUE(wrong.ok()) << wrong.status();
    const auto comparison = options_.compare_program(*wrong);
    ASSERT_TRUE(comparison.ok()) << comparison.status();
    EXPECT_GT(comparison->max_error, comparison->bound) << to;
  }
}

TEST_F(CompilerVerifyTest, AProgramThatReadsWhatNobodyWroteIsCaught) {
  auto result = passes::RunPipeline(imported().Clone(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  // The last launches never run: the logits stay poisoned.
  result->program.launches.pop_back();
  const auto comparison = options_.compare_program(result->program);
  EXPECT_TRUE(!comparison.ok() || !(comparison->max_error <= comparison->bound));
}

TEST_F(CompilerVerifyTest, TheBoundIsWideOnlyWhereTheChoiceOfTypesRounds) {
  const auto bound_for = [&](const char* stored, const char* weights, const char* activations,
                             const char* cache, const char* disabled = "fuse") {
    testing::TemporaryFolder folder;
    testing::WriteModel(folder.path(), testing::TinyLlama({.dtype = stored}));
    Json json = ExactOptions(folder.path());
    json["weights"] = weights;
    json["activations"] = activations;
    json["kv_cache"] = cache;
    json["disable_passes"] = {disabled};
    const auto options = ParseOptions(json.dump(), Caller::kCompile);
    const auto source = OpenSource(*options);
    EXPECT_TRUE(source.ok()) << source.status();
    std::string explanation;
    const auto choice = PassOptionsFor(*options, *source, &explanation);
    EXPECT_TRUE(choice.ok()) << choice.status();
    EXPECT_EQ(ErrorBound(source->model.module, *choice, /*settled=*/false).worst, 1e-4);
    return ErrorBound(source->model.module, *choice, /*settled=*/true).typical;
  };
  EXPECT_EQ(bound_for("F32", "f32", "f32", "f32"), 1e-4);
  EXPECT_EQ(bound_for("BF16", "bf16", "f32", "f32"), 1e-4);
  EXPECT_EQ(bound_for("BF16", "f32", "f32", "f32"), 1e-4);
  EXPECT_EQ(bound_for("F32", "bf16", "f32", "f32"), 0.06);
  EXPECT_EQ(bound_for("F16", "bf16", "f32", "f32"), 0.06);
  EXPECT_EQ(bound_for("BF16", "bf16", "bf16", "f32"), 0.06);
  EXPECT_EQ(bound_for("F32", "f32", "f32", "bf16"), 0.06);
  EXPECT_EQ(bound_for("F32", "f32", "f32", "int8"), 0.06);
  EXPECT_EQ(bound_for("F32", "f32", "f32", "bf16", "kv-cache"), 1e-4);
  EXPECT_EQ(bound_for("F32", "f32", "f32", "int8", "kv-cache"), 1e-4);
}

// What a pass does to the graph has no say in what is allowed.
TEST_F(CompilerVerifyTest, AGraphThatRoundsByMistakeDoesNotLoosenItsOwnBound) {
  const std::string text = ir::Print(imported());
  const size_t at = text.find(" = linear %");
  ASSERT_NE(at, text.npos);
  const size_t operand = at + std::string(" = linear ").size();
  const std::string x = text.substr(operand, text.find(',', operand) - operand);
  const size_t line = text.rfind('\n', at) + 1;
  std::string edited = text;
  edited.replace(operand, x.size(), "%back");
  edited.insert(line, "  %half = cast " + x + " : bf16[T,24]\n  %back = cast %half : f32[T,24]\n");
  const passes::Comparison found = Compare(edited);
  EXPECT_EQ(found.bound, 1e-4);
  EXPECT_GT(found.max_error, found.bound);
}

// A row that chose other experts is another row; as many as half of them are a fault.
TEST(LogitsError, TypicalIsTheMedianOverPositions) {
  const std::vector<float> reference = {8, 1, -4, 2, 2, 2};
  const auto error = [&](std::vector<float> found) {
    return ErrorOf(found.data(), reference.data(), 3, 2);
  };
  const LogitsError one = error({8, 1, 4, 2, 2, 2});
  EXPECT_EQ(one.worst, 1);
  EXPECT_EQ(one.at, 2u);
  EXPECT_EQ(one.typical, 0);
  EXPECT_TRUE(one.Within({1, 0.06}));
  EXPECT_FALSE(one.Within({0.06, 0.06}));
  EXPECT_EQ(error({8, 2, 4, 2, 2, 2}).typical, 0.125);
  EXPECT_FALSE(error({0, 0, 0, 0, 0, 0}).Within({2, 0.06}));
  EXPECT_FALSE(error({8, 1, NAN, 2, 2, 2}).Within({2, 0.06}));
}

TEST(LogitsError, IsInfiniteWhereEitherSideIsNotFinite) {
  const float good[] = {1, 2, 3, 4}, bad[] = {1, NAN, 3, 4};
  for (const LogitsError& error : {ErrorOf(good, bad, 2, 2), ErrorOf(bad, good, 2, 2)}) {
    EXPECT_EQ(error.worst, INFINITY);
    EXPECT_EQ(error.at, 1u);
    EXPECT_FALSE(error.Within({1, 1}));
  }
}

TEST_F(CompilerVerifyTest, TextsAreSeveralUnequalAndLongerThanAPageWhereTheContextIs) {
  const auto lengths = [](const Texts& texts) {
    std::vector<size_t> found;
    for (const auto& ids : texts) found.push_back(ids.size());
    return found;
  };
  EXPECT_EQ(lengths(VerifyTexts("", 37, 2048)), (std::vector<size_t>{70, 1, 9}));
  EXPECT_EQ(lengths(VerifyTexts("", 37, 5)), (std::vector<size_t>{5, 1, 5}));
}

// Together, cut into steps, on pages out of order: as each text alone and whole.
TEST_F(CompilerVerifyTest, TextsThatShareStepsGiveWhatEachGivesAlone) {
  testing::TemporaryFolder folder;
  testing::WriteModel(folder.path(), testing::TinyLlama({.context = 200}));
  const auto options = ParseOptions(ExactOptions(folder.path()).dump(), Caller::kCompile);
  const auto source = OpenSource(*options);
  ASSERT_TRUE(source.ok()) << source.status();
  const Texts texts = {CalibrationIds("", 37, 130), {5}, CalibrationIds("", 37, 70)};
  std::vector<float> alone;
  for (const std::vector<int32_t>& ids : texts) {
    const auto whole = RunGraph(source->model.module, source->model.weights, ids, 0, 2);
    ASSERT_TRUE(whole.ok()) << whole.status();
    alone.insert(alone.end(), whole->values.begin(), whole->values.end());
  }
  std::string explanation;
  passes::PassOptions choice = *PassOptionsFor(*options, *source, &explanation);
  for (const char* disabled : {"fuse", "kv-cache"}) {
    for (const int64_t sequences : {16, 2, 1}) {
      choice.max_sequences = sequences;
      choice.max_rows = 50;
      choice.disabled = {disabled};
      const auto result = passes::RunPipeline(source->model.module.Clone(), choice);
      ASSERT_TRUE(result.ok()) << result.status();
      const auto graph = RunGraph(result->module, source->model.weights, texts, 3, 2);
      ASSERT_TRUE(graph.ok()) << graph.status();
      EXPECT_LE(LargestError(graph->values, alone), 2e-6) << disabled << sequences;
      const auto program = RunProgram(result->program, *source->model.weights, texts, 3, 2);
      ASSERT_TRUE(program.ok()) << program.status();
      EXPECT_LE(LargestError(program->values, alone), 2e-6) << disabled << sequences;
    }
  }
}

TEST_F(CompilerVerifyTest, StepsOfAnySizeGiveTheSameLogits) {
  const auto whole = RunGraph(imported(), source_->model.weights, ids_, 0, 2);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->vocab, 37);
  options_.max_tokens = options_.max_rows = 5;  // steps of five tokens at most
  options_.compare_module = nullptr;
  options_.compare_program = nullptr;
  auto result = passes::RunPipeline(imported().Clone(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const int64_t singles : {0, 4, 12}) {
    const auto graph = RunGraph(result->module, source_->model.weights, ids_, singles, 2);
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_LE(LargestError(graph->values, whole->values), 2e-6) << singles;
    const auto program = RunProgram(result->program, *source_->model.weights, ids_, singles, 2);
    ASSERT_TRUE(program.ok()) << program.status();
    EXPECT_LE(LargestError(program->values, whole->values), 2e-6) << singles;
  }
  // Without a cache the text goes whole, and its rows come by as many as may be asked for.
  options_.disabled = {"kv-cache"};
  result = passes::RunPipeline(imported().Clone(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto uncached = RunProgram(result->program, *source_->model.weights, ids_, 3, 2);
  ASSERT_TRUE(uncached.ok()) << uncached.status();
  EXPECT_LE(LargestError(uncached->values, whole->values), 2e-6);
}

}  // namespace
}  // namespace ninfer::compiler
