// The interpreter on whole models: logits, greedy ids and hidden rows of Hugging Face transformers,
// and several sequences at once.
#include "tests/eager_models.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "eager/eager.h"

namespace ninfer::eager {
namespace {

constexpr double kLogitBound = 2e-5;  // of the largest logit

class EagerModelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(LoadGoldenModel(GetParam(), model_));
    auto interpreter = Interpreter::Create(&model_.imported->module, model_.imported->weights, 2);
    ASSERT_TRUE(interpreter.ok()) << interpreter.status();
    interpreter_ = *std::move(interpreter);
  }

  // Logits [T, vocabulary] of the whole text. rope_len is by default the text's length.
  std::vector<float> Logits(const std::vector<int32_t>& ids, const Observer* observer = nullptr,
                            std::vector<int32_t> rope_len = {}) {
    StepArguments arguments;
    arguments.tokens = ids;
    arguments.pictures = model_.PictureRows(ids);
    arguments.is_picture = model_.IsPicture(ids);
    arguments.rope_len = std::move(rope_len);
    auto results = interpreter_->Run(arguments, nullptr, observer);
    EXPECT_TRUE(results.ok()) << results.status();
    return results.ok() ? *results->at(0).floats : std::vector<float>();
  }

  GoldenModel model_;
  std::unique_ptr<Interpreter> interpreter_;
};

TEST_P(EagerModelTest, LogitsEqualTransformers) {
  const std::vector<float> expected = model_.Floats("logits");
  EXPECT_LE(LargestError(Logits(model_.IdsWithLogits()), expected), kLogitBound);
}

// The test asks at each golden position for the largest logit; no position needs the ones after it.
TEST_P(EagerModelTest, GreedyIdsEqualTransformers) {
  std::vector<int32_t> ids = model_.Ids("input_ids"), greedy = model_.Ids("greedy_ids");
  size_t first = ids.size();
  if (greedy.empty()) {
    // input_ids are prompt and answer; where the answer starts stands in golden.json.
    auto text = ReadFile(GetParam() + "/golden.json");
    ASSERT_TRUE(text.ok()) << text.status();
    const size_t begin = text->find("\"prompt_ids\""), end = text->find(']', begin);
    first = 1 + std::count(text->begin() + begin, text->begin() + end, ',');
  } else {
    ids.insert(ids.end(), greedy.begin(), greedy.end());
  }
  ASSERT_LT(first, ids.size());
  // As generate() has it: the prompt's tokens see its length, later ones each its own; a text that
  // crosses into long frequencies is computed again with them.
  std::vector<int32_t> lengths(ids.size(), static_cast<int32_t>(first));
  for (size_t i = first; i < ids.size(); ++i) lengths[i] = static_cast<int32_t>(i + 1);
  const std::vector<float> before = Logits(ids, nullptr, lengths);
  const std::vector<float> after = Logits(ids);
  ASSERT_EQ(before.size(), ids.size() * model_.vocab());
  const int64_t crossing = model_.imported->info.rope_crossing;
  for (size_t i = first; i < ids.size(); ++i) {
    const bool crossed = crossing > 0 && static_cast<int64_t>(i) > crossing;
    const auto row = (crossed ? after : before).begin() + (i - 1) * model_.vocab();
    ASSERT_EQ(std::max_element(row, row + model_.vocab()) - row, ids[i]) << "position " << i;
  }
}

TEST_P(EagerModelTest, SeveralSequencesEqualEachAlone) {
  const std::vector<int32_t> ids = model_.Ids("input_ids");
  ASSERT_GE(ids.size(), 10u);
  const std::vector<std::vector<int32_t>> texts = {{ids.begin(), ids.begin() + 5},
                                                   {ids[3]},
                                                   {ids.begin() + 2, ids.begin() + 10},
                                                   {ids[1], ids[0]}};
  for (size_t count = 2; count <= texts.size(); ++count) {
    StepArguments arguments;
    arguments.seq_bounds = {0};
    std::vector<float> expected;
    for (size_t s = 0; s < count; ++s) {
      arguments.tokens.insert(arguments.tokens.end(), texts[s].begin(), texts[s].end());
      arguments.seq_bounds.push_back(static_cast<int32_t>(arguments.tokens.size()));
      const std::vector<float> alone = Logits(texts[s]);
      expected.insert(expected.end(), alone.begin(), alone.end());
    }
    // A picture's rows are the same for each text.
    for (size_t s = 0; s < count; ++s) {
      const std::vector<float> rows = model_.PictureRows(texts[s]);
      arguments.pictures.insert(arguments.pictures.end(), rows.begin(), rows.end());
    }
    arguments.is_picture = model_.IsPicture(arguments.tokens);
    if (static_cast<int64_t>(arguments.tokens.size()) > model_.imported->info.context_length) break;
    auto results = interpreter_->Run(arguments, nullptr);
    ASSERT_TRUE(results.ok()) << results.status();
    EXPECT_LE(LargestError(*results->at(0).floats, expected), 2e-6) << count << " sequences";
  }
}

using EagerHiddenTest = EagerModelTest;

// transformers' rows after the embedding and after each layer appear, in this order, among the
// results of the graph's nodes: where a layer goes wrong, this names it.
TEST_P(EagerHiddenTest, HiddenRowsEqualTransformersLayerByLayer) {
  if (model_.golden->Find("hidden_last") == nullptr)
    GTEST_SKIP() << "the golden has no hidden rows";
  const std::vector<float> hidden = model_.Floats("hidden_last");
  const size_t width = model_.golden->Find("hidden_last")->shape[1];
  const std::vector<int32_t> ids = model_.IdsWithLogits();
  size_t next = 0;  // row of the golden that is looked for
  const auto compare = [&](const ir::Node&, absl::Span<const Tensor> results) {
    const Tensor& y = results[0];
    if (next * width == hidden.size() || y.floats == nullptr) return absl::OkStatus();
    if (y.elements() != static_cast<int64_t>(ids.size() * width)) return absl::OkStatus();
    const std::vector<float> expected(hidden.begin() + next * width,
                                      hidden.begin() + (next + 1) * width);
    if (LargestError({y.floats->end() - width, y.floats->end()}, expected) < kLogitBound) ++next;
    return absl::OkStatus();
  };
  const Observer observer(compare);
  Logits(ids, &observer);
  EXPECT_EQ(next * width, hidden.size()) << "layer " << next << " differs";
}

TEST_P(EagerHiddenTest, LogitsOfAShortTextEqualTransformers) {
  const std::vector<float> expected = model_.Floats("logits_short");
  if (model_.golden->Find("pixel_values") != nullptr) GTEST_SKIP() << "a text with pictures alone";
  std::vector<int32_t> ids = model_.Ids("input_ids");
  ASSERT_FALSE(expected.empty());
  ids.resize(expected.size() / model_.vocab());
  EXPECT_LE(LargestError(Logits(ids), expected), kLogitBound);
}

std::vector<std::string> FoldersWithHiddenRows() {
  std::vector<std::string> folders = GoldenModelFolders();
  const auto without = [](const std::string& folder) {
    return folder.find("/hf-models/") == folder.npos;
  };
  folders.erase(std::remove_if(folders.begin(), folders.end(), without), folders.end());
  return folders;
}

// The folders beside the project's own. Where one is absent the summary names it.
class CasesOfOthersTest : public testing::TestWithParam<const char*> {};

TEST_P(CasesOfOthersTest, AreAllAmongThoseThatAreTested) {
  NINFER_TEST_DATA_OR_SKIP(parent, GetParam());
  const std::vector<std::string> tested = GoldenModelFolders();
  for (const std::string& folder : CasesIn(parent)) {
    EXPECT_TRUE(std::any_of(tested.begin(), tested.end(), [&folder](const std::string& other) {
      return other == folder ||
             (FolderName(other) == FolderName(folder) && SameCase(other, folder));
    })) << folder;
  }
}

TEST(GoldenModels, EveryFamilyHasACaseOfTheProjectsOwn) {
  std::string configs;
  for (const std::string& folder : CasesIn(CaseParents().front())) {
    const absl::StatusOr<std::string> config = ReadFile(folder + "/config.json");
    ASSERT_TRUE(config.ok()) << config.status();
    configs += *config;
  }
  for (const std::string& name : frontend::ListArchitectures()) {
    if (name == "Idefics3ForConditionalGeneration") continue;  // SmolVLM's under an older name
    EXPECT_NE(configs.find("\"" + name + "\""), configs.npos) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, CasesOfOthersTest, testing::Values("hf-models", "models"),
                         [](const auto& info) {
                           return std::string(info.param) == "models" ? "models" : "hf_models";
                         });
INSTANTIATE_TEST_SUITE_P(Models, EagerHiddenTest, testing::ValuesIn(FoldersWithHiddenRows()),
                         FolderTestName);
INSTANTIATE_TEST_SUITE_P(Models, EagerModelTest, testing::ValuesIn(GoldenModelFolders()),
                         FolderTestName);

}  // namespace
}  // namespace ninfer::eager
