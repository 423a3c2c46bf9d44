// The whole way, against Hugging Face transformers: every folder with goldens, compiled in f32,
// through the plan's code, the eager executor and the program's interpreter; then the same with
// passes left out, for other CPUs, and with every form of attention: the quick tier tries those
// variants on two models, the full tier on all of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "base/machine.h"
#include "compiler/compile.h"
#include "compiler/run_text.h"
#include "compiler/vision.h"
#include "program/text.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"
#include "tests/tier.h"

namespace ninfer::compiler {
namespace {

constexpr double kLogitBound = 2e-5;  // of the largest logit

class GoldensTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(LoadGoldenModel(GetParam(), model_));
    ids_ = model_.IdsWithLogits();
    expected_ = model_.Floats("logits");
    text_ = GoldenTextOf(GetParam(), model_);
    ASSERT_FALSE(text_.answer.empty());
  }

  void ExpectGolden(runtime::Executor& executor, const std::string& what) {
    const auto pictures = SeeGolden(executor, model_);
    ASSERT_TRUE(pictures.ok()) << what << ": " << pictures.status();
    if (!pictures->empty()) {
      EXPECT_LE(LargestError(*pictures, model_.Floats("image_hidden_states")), kLogitBound) << what;
    }
    const auto logits = RunText(executor, ids_, 0, &model_, *pictures);
    ASSERT_TRUE(logits.ok()) << what << ": " << logits.status();
    EXPECT_LE(LargestError(*logits, expected_), kLogitBound) << what;
    const auto greedy = GreedyIds(executor, text_, *pictures);
    ASSERT_TRUE(greedy.ok()) << what << ": " << greedy.status();
    EXPECT_EQ(*greedy, text_.answer) << what;
  }

  void ExpectGolden(const absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>>& plan,
                    const Json& options) {
    ASSERT_TRUE(plan.ok()) << options << ": " << plan.status();
    const auto executor = Execute(*plan);
    ASSERT_TRUE(executor.ok()) << options << ": " << executor.status();
    ExpectGolden(**executor, options.dump());
  }

  void ExpectGolden(const Json& options) { ExpectGolden(CompileInPlace(options), options); }

  Json Options() const { return ExactOptions(GetParam()); }

  // The plan of Options, compiled once for all tests of a folder.
  absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>> Plan() const {
    static auto* made =
        new std::map<std::string, absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>>>();
    if (made->count(GetParam()) == 0) made->emplace(GetParam(), CompileInPlace(Options()));
    return made->at(GetParam());
  }

  GoldenModel model_;
  std::vector<int32_t> ids_;
  std::vector<float> expected_;
  GoldenText text_;
};

TEST_P(GoldensTest, CompiledCodeEqualsTransformers) { ExpectGolden(Plan(), Options()); }

TEST_P(GoldensTest, AnyThreadsAndChunksOfThePromptGiveTheSameBits) {
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::vector<float> expected;
  for (const auto& [threads, chunk] : {std::pair{1, 0}, {2, 1}, {3, 7}, {1, 16}}) {
    const auto executor = Execute(*plan, threads);
    ASSERT_TRUE(executor.ok()) << executor.status();
    const auto pictures = SeeGolden(**executor, model_);
    ASSERT_TRUE(pictures.ok()) << pictures.status();
    const auto logits = RunText(**executor, ids_, chunk, &model_, *pictures);
    ASSERT_TRUE(logits.ok()) << logits.status();
    if (expected.empty()) expected = *logits;
    ASSERT_EQ(logits->size(), expected.size());
    EXPECT_EQ(std::memcmp(logits->data(), expected.data(), 4 * expected.size()), 0)
        << threads << " threads, chunks of " << chunk;
  }
}

TEST_P(GoldensTest, EagerEqualsTransformers) {
  auto options = ParseOptions(Json{{"model", GetParam()}, {"threads", 2}}.dump(), Caller::kEager);
  ASSERT_TRUE(options.ok()) << options.status();
  auto executor = EagerExecutor::Create(*options, {});
  ASSERT_TRUE(executor.ok()) << executor.status();
  ExpectGolden(**executor, "eager");
}

// The program as the plan carries it: printed, parsed back, interpreted in its arena.
TEST_P(GoldensTest, TheProgramsInterpreterEqualsTransformers) {
  Json options = Options();
  options["stop_after"] = "plan-buffers";
  const auto compiled = CompileWith(options);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  const auto program = program::Parse(compiled->plan.program_text, "plan");
  ASSERT_TRUE(program.ok()) << program.status();
  const auto pictures = [this](const std::vector<int32_t>& ids) {
    return TextPictures{model_.PictureRows(ids), model_.IsPicture(ids)};
  };
  const auto logits = RunProgram(*program, *model_.imported->weights, ids_, 4, 2, pictures(ids_));
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_LE(LargestError(logits->values, expected_), kLogitBound);
  // Where frequencies depend on the length, an answer depends on how the text grew.
  if (model_.imported->info.rope_by_length) return;
  std::vector<int32_t> all = text_.prompt;
  all.insert(all.end(), text_.answer.begin(), text_.answer.end());
  const auto whole = RunProgram(*program, *model_.imported->weights, all, 0, 2, pictures(all));
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (size_t i = 0; i < text_.answer.size(); ++i) {
    const auto row =
        whole->values.begin() + static_cast<int64_t>(text_.prompt.size() + i - 1) * whole->vocab;
    ASSERT_EQ(std::max_element(row, row + whole->vocab) - row, text_.answer[i]) << i;
  }
}

// @vision, as the step.
TEST_P(GoldensTest, TheInterpreterOfVisionEqualsTransformers) {
  if (!model_.imported->vision.has_value()) GTEST_SKIP() << "a model of text alone";
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto program = program::Parse((*plan)->plan.vision->function->program_text, "plan");
  ASSERT_TRUE(program.ok()) << program.status();
  std::vector<float> rows;
  for (const image::Patches& patches : GoldenPatches(model_)) {
    const auto seen =
        SeeWithProgram(*program, *model_.imported->weights, ninfer::VisionArguments(patches), 2);
    ASSERT_TRUE(seen.ok()) << seen.status();
    rows.insert(rows.end(), seen->begin(), seen->end());
  }
  EXPECT_LE(LargestError(rows, model_.Floats("image_hidden_states")), kLogitBound);
}

// --- variants ------------------------------------------------------------------------------------

class GoldenVariantsTest : public GoldensTest {
 protected:
  // At half of the positions, and four times that at any; in a mixture of experts rounding may
  // change which of them a row takes, and with it all of the row.
  void ExpectRoundedWithin(double bound, const Json& options) {
    const auto plan = CompileInPlace(options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto executor = Execute(*plan);
    ASSERT_TRUE(executor.ok()) << executor.status();
    const auto pictures = SeeGolden(**executor, model_);
    ASSERT_TRUE(pictures.ok()) << pictures.status();
    const auto logits = RunText(**executor, ids_, 0, &model_, *pictures);
    ASSERT_TRUE(logits.ok()) << logits.status();
    ASSERT_EQ(logits->size(), expected_.size());
    const auto rows = static_cast<int64_t>(ids_.size());
    const LogitsError error = ErrorOf(logits->data(), expected_.data(), rows,
                                      static_cast<int64_t>(logits->size()) / rows);
    const bool routed = absl::StrContains((*plan)->plan.imported_graph_text, " top_k ");
    EXPECT_LE(error.typical, bound);
    EXPECT_LE(error.worst, routed ? 2 : 4 * bound);
    EXPECT_GT(error.worst, 1e-5) << "nothing was rounded";
  }
};

std::vector<std::string> OptionalPasses() {
  std::vector<std::string> names;
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    if (pass.optional) names.push_back(pass.name);
  }
  return names;
}

TEST_P(GoldenVariantsTest, WithEachOptionalPassLeftOutItStillEqualsTransformers) {
  Json options = Options();
  for (const std::string& name : OptionalPasses()) {
    options["disable_passes"] = {name};
    ExpectGolden(options);
  }
}

TEST_P(GoldenVariantsTest, WithAllOptionalPassesLeftOutItStillEqualsTransformers) {
  Json options = Options();
  options["disable_passes"] = OptionalPasses();
  ExpectGolden(options);
}

TEST_P(GoldenVariantsTest, EveryFormOfAttentionEqualsTransformersWithAndWithoutACache) {
  for (const char* form : {"naive", "efficient"}) {
    Json options = Options();
    options["attention"] = form;
    ExpectGolden(options);
    options["disable_passes"] = {"kv-cache"};
    ExpectGolden(options);
  }
}

TEST_P(GoldenVariantsTest, CodeForOtherCpusEqualsTransformersWhereThisOneRunsIt) {
  const auto features = CpuFeatures();
  int run = 0;
  for (const std::string& name : codegen::ListTargets()) {
    const auto target = codegen::FindTarget(name);
    ASSERT_TRUE(target.ok()) << target.status();
    const auto lacks = [&](const std::string& flag) { return !features.contains(flag); };
    if (std::any_of(target->required_features.begin(), target->required_features.end(), lacks)) {
      continue;
    }
    Json options = Options();
    options["targets"] = {name};
    ExpectGolden(options);
    ++run;
  }
  EXPECT_GT(run, 0) << "no target fits this CPU";
}

// In f32 and in bf16; every pass at both levels must have been compared.
TEST_P(GoldenVariantsTest, EveryPassStaysWithinItsBoundUnderVerifyEach) {
  for (const char* cache : {"f32", "bf16", "int8"}) {
    const char* type = std::strcmp(cache, "bf16") == 0 ? "bf16" : "f32";
    Json options = Options();
    options["weights"] = options["activations"] = type;
    options["kv_cache"] = cache;
    options["verify_each"] = true;
    options["targets"] = {"native"};
    const auto compiled = CompileWith(options);
    ASSERT_TRUE(compiled.ok()) << cache << ": " << compiled.status();
    EXPECT_THAT(compiled->pass_table, ::testing::HasSubstr("of 1e-04")) << compiled->pass_table;
  }
}

// What the user may lose by reduced precision: greedy answers may differ, logits by the bound only.
TEST_P(GoldenVariantsTest, HalfPrecisionStaysWithinItsBound) {
  Json options = Options();
  options["weights"] = options["activations"] = "bf16";
  for (const bool cached : {true, false}) {
    options["disable_passes"] = cached ? Json::array() : Json{"kv-cache"};
    ExpectRoundedWithin(0.06, options);
  }
}

TEST_P(GoldenVariantsTest, ACacheOfIntegersStaysWithinItsBound) {
  Json options = Options();
  options["kv_cache"] = "int8";
  for (const char* attention : {"flash", "efficient", "naive"}) {
    options["attention"] = attention;
    ExpectRoundedWithin(0.03, options);
  }
}

std::string DigestOf(const std::string& folder) {
  const auto compiled = CompileWith(ExactOptions(folder));
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  if (!compiled.ok()) return "";
  return plan::ContentDigestOf(compiled->plan, compiled->weights->data());
}

TEST_P(GoldenVariantsTest, BothStylesOfConfigurationGiveTheSameDigest) {
  const std::string old_style = JoinPath(GetParam(), "config.old-style.json");
  if (!FileExists(old_style)) GTEST_SKIP() << "no config.old-style.json";
  testing::TemporaryFolder folder;
  const std::string copy = folder.File(FolderName(GetParam()));  // the model's name is its folder's
  std::filesystem::copy(GetParam(), copy, std::filesystem::copy_options::recursive);
  std::filesystem::remove(JoinPath(copy, "config.json"));
  std::filesystem::copy(old_style, JoinPath(copy, "config.json"));
  EXPECT_EQ(DigestOf(copy), DigestOf(GetParam()));
}

std::vector<std::string> VariantFolders() {
  if (FullTier()) return GoldenModelFolders();
  return {NINFER_SOURCE_DIR "/tests/data/hf-models/llama-gqa",
          NINFER_SOURCE_DIR "/tests/data/hf-models/gpt2"};
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldensTest);
INSTANTIATE_TEST_SUITE_P(Models, GoldensTest, ::testing::ValuesIn(GoldenModelFolders()),
                         FolderTestName);
INSTANTIATE_TEST_SUITE_P(Models, GoldenVariantsTest, ::testing::ValuesIn(VariantFolders()),
                         FolderTestName);

}  // namespace
}  // namespace ninfer::compiler
