// Models that see, compiled: the comparisons after every pass, every type and form of attention,
// texts with pictures in any chunks, plans written and read, and what is refused.
#include "compiler/vision.h"

#include <gmock/gmock.h>

#include <cstring>

#include "plan/reader.h"
#include "plan/writer.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr char kModel[] = NINFER_SOURCE_DIR "/tests/data/hf-models/smolvlm";

class VisionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(LoadGoldenModel(kModel, model_));
    rows_ = model_.Floats("image_hidden_states");
  }

  double ErrorOfRows(const Json& options) {
    const auto plan = CompileInPlace(options);
    EXPECT_TRUE(plan.ok()) << options << ": " << plan.status();
    if (!plan.ok()) return 1;
    const auto executor = Execute(*plan);
    EXPECT_TRUE(executor.ok()) << executor.status();
    if (!executor.ok()) return 1;
    const auto rows = SeeGolden(**executor, model_);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? LargestError(*rows, rows_) : 1;
  }

  GoldenModel model_;
  std::vector<float> rows_;
};

TEST_F(VisionTest, EveryPassOfVisionIsComparedWithEager) {
  for (const char* type : {"f32", "bf16"}) {
    Json options = ExactOptions(kModel);
    options["weights"] = options["activations"] = type;
    options["verify_each"] = true;
    const auto compiled = CompileWith(options);
    ASSERT_TRUE(compiled.ok()) << type << ": " << compiled.status();
    const size_t vision = compiled->pass_table.find("vision:\n");
    ASSERT_NE(vision, std::string::npos);
    EXPECT_THAT(compiled->pass_table.substr(vision), HasSubstr("of 1e-04"));
    EXPECT_GT(compiled->plan.vision->function->evidence.logits_digest, 0u);
  }
}

TEST(VisionEvidence, WhereNothingWasComparedTheLineGivesNoFigure) {
  plan::Evidence evidence;
  evidence.compared = "none, for want of a CPU that runs the code";
  EXPECT_EQ(VisionEvidenceLine(evidence), "vision: none, for want of a CPU that runs the code");
}

TEST(VisionLeftOut, AModelOfWhichTheTextAloneIsReadSaysSo) {
  const std::string folder = NINFER_SOURCE_DIR "/tests/data/hf-models/mistral3";
  std::vector<std::string> lines;
  Callbacks callbacks;
  callbacks.log = [&](const std::string& line) { lines.push_back(line); };
  const auto compiled = CompileWith({{"model", folder}, {"stop_after", "canonicalise"}}, callbacks);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_THAT(lines, Contains(folder + "/config.json: vision_config: not done here: pictures are "
                                       "not seen"));
}

TEST_F(VisionTest, EveryFormOfAttentionAndNoFusionGiveTheRowsOfTransformers) {
  for (const char* form : {"naive", "efficient", "flash"}) {
    Json options = ExactOptions(kModel);
    options["attention"] = form;
    EXPECT_LE(ErrorOfRows(options), 2e-5) << form;
  }
  Json options = ExactOptions(kModel);
  options["disable_passes"] = {"fuse", "merge-linears", "kv-cache"};
  EXPECT_LE(ErrorOfRows(options), 2e-5);
}

TEST_F(VisionTest, ReducedTypesStayWithinTheirBounds) {
  for (const auto& [weights, bound] :
       {std::pair<const char*, double>{"bf16", 0.06}, {"int8", 0.1}}) {
    Json options = ExactOptions(kModel);
    options["weights"] = weights;
    options["activations"] = "bf16";
    const double error = ErrorOfRows(options);
    EXPECT_LE(error, bound) << weights;
    EXPECT_GT(error, 1e-5) << "nothing was rounded";
  }
}

TEST_F(VisionTest, ThePlansDigestIsTheSameWheneverItIsMade) {
  std::vector<std::string> digests;
  for (int time = 0; time < 2; ++time) {
    const auto compiled = CompileWith(ExactOptions(kModel));
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    digests.push_back(plan::ContentDigestOf(compiled->plan, compiled->weights->data()));
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(VisionTest, RulesForWeightsByNameHoldWhereTheirWeightsAre) {
  Json options = ExactOptions(kModel);
  options["weights_for"] = {"*.vision_model.*.fc?.weight=int8"};
  EXPECT_GT(ErrorOfRows(options), 1e-5) << "nothing was rounded";
  options["weights_for"] = {"model.text_model.*_proj.weight=int8"};
  EXPECT_LE(ErrorOfRows(options), 2e-5);
  options["weights_for"] = {"model.audio_model.*=int8"};
  EXPECT_THAT(std::string(CompileInPlace(options).status().message()),
              HasSubstr("--weights-for: model.audio_model.*: expected the name"));
}

TEST_F(VisionTest, TextsWithPicturesAreTheSameToTheBitInAnyChunksAndThreads) {
  for (const char* type : {"f32", "bf16"}) {
    Json options = ExactOptions(kModel);
    options["weights"] = options["activations"] = type;
    const auto plan = CompileInPlace(options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::vector<int32_t> ids = model_.IdsWithLogits();
    std::vector<float> expected, expected_rows;
    for (const int threads : {1, 2}) {
      const auto executor = Execute(*plan, threads);
      ASSERT_TRUE(executor.ok()) << executor.status();
      const auto rows = SeeGolden(**executor, model_);
      ASSERT_TRUE(rows.ok()) << rows.status();
      if (expected_rows.empty()) expected_rows = *rows;
      EXPECT_EQ(std::memcmp(rows->data(), expected_rows.data(), rows->size() * sizeof(float)), 0);
      for (const int64_t chunk : {0, 1, 3, 10}) {
        const auto logits = RunText(**executor, ids, chunk, &model_, *rows);
        ASSERT_TRUE(logits.ok()) << logits.status();
        if (expected.empty()) expected = *logits;
        ASSERT_EQ(logits->size(), expected.size());
        EXPECT_EQ(std::memcmp(logits->data(), expected.data(), expected.size() * sizeof(float)), 0)
            << type << ", " << threads << " threads, chunks of " << chunk;
      }
    }
  }
}

TEST_F(VisionTest, APlanThatWasWrittenAndReadSees) {
  testing::TemporaryFolder folder;
  const std::string path = JoinPath(folder.path(), "plan.bin");
  const auto compiled = CompileWith(ExactOptions(kModel));
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  ASSERT_TRUE(plan::WritePlan(compiled->plan, compiled->weights->data(), path).ok());
  auto read = plan::ReadPlan(path, {});
  ASSERT_TRUE(read.ok()) << read.status();
  const auto executor = Execute(std::make_shared<const plan::LoadedPlan>(*std::move(read)));
  ASSERT_TRUE(executor.ok()) << executor.status();
  const auto rows = SeeGolden(**executor, model_);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_LE(LargestError(*rows, rows_), 2e-5);
}

TEST_F(VisionTest, CodeMadeAnewSees) {
  auto compiled = CompileWith(ExactOptions(kModel));
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  auto function = std::make_shared<plan::Plan>(*compiled->plan.vision->function);
  function->images.clear();
  compiled->plan.vision->function = function;
  auto options = ParseOptions(R"({"targets": ["native"]})", Caller::kGenerateCode);
  ASSERT_TRUE(options.ok()) << options.status();
  const absl::Status made = GenerateImages(*options, {}, &compiled->plan);
  ASSERT_TRUE(made.ok()) << made;
  const auto plan = InPlace(*std::move(compiled));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto executor = Execute(*plan);
  ASSERT_TRUE(executor.ok()) << executor.status();
  const auto rows = SeeGolden(**executor, model_);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_LE(LargestError(*rows, rows_), 2e-5);
}

TEST_F(VisionTest, SessionsTakePicturesAndKeepWhatTextsShare) {
  const auto plan = CompileInPlace(ExactOptions(kModel));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto executor = Execute(*plan);
  ASSERT_TRUE(executor.ok()) << executor.status();
  const GoldenText text = GoldenTextOf(kModel, model_);
  runtime::Session session(executor->get(), nullptr);
  runtime::GenerateOptions options;
  options.max_tokens = static_cast<int64_t>(text.answer.size());
  options.ignore_eos = options.keep_cache = true;
  options.pictures = rows_;
  for (const bool again : {false, true}) {
    const auto generation = session.Generate(text.prompt, options);
    ASSERT_TRUE(generation.ok()) << generation.status();
    EXPECT_EQ(generation->ids, text.answer);
    EXPECT_EQ(generation->stats.reused_tokens > 0, again);
  }
  // Another picture in the first place: nothing behind the words before it is shared.
  options.pictures[0] += 1;
  const auto other = session.Generate(text.prompt, options);
  ASSERT_TRUE(other.ok()) << other.status();
  const auto first = std::find(text.prompt.begin(), text.prompt.end(),
                               model_.imported->info.vision.image_token_id);
  EXPECT_EQ(other->stats.reused_tokens, first - text.prompt.begin());
  options.pictures.resize(options.pictures.size() / 2);
  EXPECT_EQ(session.Generate(text.prompt, options).status().message(),
            "prompt: expected an image token for each of the pictures' 4 rows, found 8");
}

TEST_F(VisionTest, FramesOutOfPlaceAreRefused) {
  const auto plan = CompileInPlace(ExactOptions(kModel));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto executor = Execute(*plan);
  ASSERT_TRUE(executor.ok()) << executor.status();
  const image::Patches good = GoldenPatches(model_)[0];
  std::vector<float> rows(good.count() * (*executor)->limits().picture_columns);
  const auto see = [&](const image::Patches& p) {
    return std::string(
        (*executor)->See({p.pixels, p.patch_ids, p.visible, p.shuffle}, rows.data()).message());
  };
  EXPECT_EQ(see(good), "");
  image::Patches bad = good;
  bad.patch_ids[3] = 36;
  EXPECT_EQ(see(bad), "picture: position: expected 0 to 35, found 36");
  bad = good;
  bad.visible[0] = -1;
  EXPECT_EQ(see(bad), "picture: last patch seen: expected 0 to 35, found -1");
  bad = good;
  bad.shuffle[5] = 1000;
  EXPECT_EQ(see(bad), "picture: patch of a row: expected 0 to 35, found 1000");
  bad = good;
  bad.pixels.pop_back();
  EXPECT_THAT(see(bad), HasSubstr("expected pixels, places and rows of 36 patches"));
  bad.patch_ids.resize(20);
  EXPECT_EQ(see(bad), "picture: expected up to 36 patches, a multiple of 9, found 20");
}

TEST_F(VisionTest, FramesBeyondThePlansOwnBoundsAreRefused) {
  const auto plan = CompileInPlace(ExactOptions(kModel));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto lesser = std::make_shared<plan::LoadedPlan>(**plan);
  const auto function = std::make_shared<plan::Plan>(*lesser->plan.vision->function);
  for (plan::Symbol& symbol : function->symbols) {
    if (symbol.name == "T") symbol.max = 35;
  }
  lesser->plan.vision->function = function;
  const auto executor = Execute(lesser);
  ASSERT_TRUE(executor.ok()) << executor.status();
  const image::Patches frame = GoldenPatches(model_)[0];
  std::vector<float> rows(frame.count() * (*executor)->limits().picture_columns);
  EXPECT_EQ((*executor)
                ->See({frame.pixels, frame.patch_ids, frame.visible, frame.shuffle}, rows.data())
                .message(),
            "picture: expected at most 35 patches, found 36");
}

TEST_F(VisionTest, PlansWhoseVisionIsDamagedAreRefused) {
  const auto compiled = CompileWith(ExactOptions(kModel));
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  const auto error = [&](auto change) {
    plan::Plan plan = compiled->plan;
    auto function = std::make_shared<plan::Plan>(*plan.vision->function);
    change(*plan.vision, *function);
    if (plan.vision->function != nullptr) plan.vision->function = function;
    const auto read = plan::ParseSections(plan::SerializeSections(plan), "plan");
    return read.ok() ? "read" : std::string(read.status().message());
  };
  EXPECT_EQ(error([](plan::Vision&, plan::Plan&) {}), "read");
  EXPECT_EQ(error([](plan::Vision& v, plan::Plan&) { v.patch_size = 0; }),
            "plan: section vision: patch size: expected 1 to 16384, found 0");
  EXPECT_EQ(error([](plan::Vision& v, plan::Plan&) { v.scale_factor = 4; }),
            "plan: section vision: expected whole rows of 4 by 4 patches, found a grid of 6 and "
            "frames of 364");
  EXPECT_EQ(error([](plan::Vision& v, plan::Plan&) { v.image_std = {1}; }),
            "plan: section vision: mean and deviation: expected three numbers each, found 3 and 1");
  EXPECT_THAT(error([](plan::Vision&, plan::Plan& f) { f.weight_bytes += 64; }),
              HasSubstr("section vision: function: weight bytes: expected"));
  EXPECT_THAT(error([](plan::Vision& v, plan::Plan& f) { f.vision = v; }),
              HasSubstr("section vision: function: expected no vision of its own, found one"));
}

TEST_F(VisionTest, ARandomModelOfTheSameConfigurationSees) {
  Json options = {{"random_weights", std::string(kModel) + "/config.json"}, {"threads", 2}};
  const auto plan = CompileInPlace(options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto executor = Execute(*plan);
  ASSERT_TRUE(executor.ok()) << executor.status();
  EXPECT_TRUE(SeeGolden(**executor, model_).ok());
}

}  // namespace
}  // namespace ninfer::compiler
