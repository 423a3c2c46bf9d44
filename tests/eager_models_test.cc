// The interpreter on whole models: logits, greedy ids and hidden rows of Hugging Face transformers, and
// several sequences at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "eager/eager.h"
#include "frontend/frontend.h"
#include "frontend/safetensors.h"
#include "tests/test_data.h"

namespace ninfer::eager {
namespace {

constexpr double kLogitBound = 2e-5;  // of the largest logit

struct Model {
  std::unique_ptr<frontend::ImportedModel> imported;
  std::unique_ptr<Interpreter> interpreter;
  std::unique_ptr<frontend::Checkpoint> golden;
};

// All folders with goldens that the project ships or finds.
std::vector<std::string> ModelFolders() {
  std::vector<std::string> folders = {NINFER_SOURCE_DIR "/models/demo",
                                      NINFER_SOURCE_DIR "/models/demo-draft"};
  for (const std::string& parent :
       {std::string(NINFER_SOURCE_DIR "/tests/data/hf-models"), TestDataPath("models")}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
      if (PathExists(entry.path().string() + "/golden.safetensors")) {
        folders.push_back(entry.path().string());
      }
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

void Load(const std::string& folder, int threads, Model& model) {
  auto imported = frontend::ImportModel(folder, {});
  ASSERT_TRUE(imported.ok()) << imported.status();
  model.imported = std::make_unique<frontend::ImportedModel>(*std::move(imported));
  auto interpreter = Interpreter::Create(&model.imported->module, model.imported->weights, threads);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  model.interpreter = *std::move(interpreter);
  auto golden = frontend::Checkpoint::OpenFile(folder + "/golden.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status();
  model.golden = *std::move(golden);
}

std::vector<int32_t> Ids(const Model& model, const char* name) {
  const frontend::StoredTensor* stored = model.golden->Find(name);
  std::vector<int32_t> ids;
  for (size_t i = 0; stored != nullptr && i < stored->bytes / 8; ++i) {
    int64_t id;
    std::memcpy(&id, stored->data + i * 8, 8);
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::vector<float> Floats(const Model& model, const char* name) {
  const frontend::StoredTensor* stored = model.golden->Find(name);
  std::vector<float> values(stored == nullptr ? 0 : stored->bytes / 4);
  if (stored != nullptr) std::memcpy(values.data(), stored->data, stored->bytes);
  return values;
}

// Logits [T, vocabulary] of the whole text.
std::vector<float> Logits(const Model& model, const std::vector<int32_t>& ids) {
  StepArguments arguments;
  arguments.tokens = ids;
  auto results = model.interpreter->Run(arguments, nullptr);
  EXPECT_TRUE(results.ok()) << results.status();
  return results.ok() ? *results->at(0).floats : std::vector<float>();
}

double LargestError(const float* found, const float* expected, size_t count) {
  double error = 0, largest = 0;
  for (size_t i = 0; i < count; ++i) {
    error = std::max(error, std::abs(double{found[i]} - double{expected[i]}));
    largest = std::max(largest, std::abs(double{expected[i]}));
    if (std::isnan(found[i])) return INFINITY;
  }
  return error / largest;
}

class EagerModelTest : public testing::TestWithParam<std::string> {};

TEST_P(EagerModelTest, LogitsEqualTransformers) {
  Model model;
  ASSERT_NO_FATAL_FAILURE(Load(GetParam(), 2, model));
  const std::vector<float> expected = Floats(model, "logits");
  std::vector<int32_t> ids = Ids(model, "input_ids");
  const size_t vocab = model.imported->info.vocab_size;
  ASSERT_FALSE(expected.empty());
  ids.resize(expected.size() / vocab);
  const std::vector<float> found = Logits(model, ids);
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_LE(LargestError(found.data(), expected.data(), expected.size()), kLogitBound);
}

// The test asks at each golden position for the largest logit; no position needs the ones after it.
TEST_P(EagerModelTest, GreedyIdsEqualTransformers) {
  Model model;
  ASSERT_NO_FATAL_FAILURE(Load(GetParam(), 2, model));
  std::vector<int32_t> ids = Ids(model, "input_ids"), greedy = Ids(model, "greedy_ids");
  const size_t vocab = model.imported->info.vocab_size;
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
  const std::vector<float> logits = Logits(model, ids);
  ASSERT_EQ(logits.size(), ids.size() * vocab);
  for (size_t i = first; i < ids.size(); ++i) {
    const auto row = logits.begin() + (i - 1) * vocab;
    ASSERT_EQ(std::max_element(row, row + vocab) - row, ids[i]) << "position " << i;
  }
}

TEST_P(EagerModelTest, SeveralSequencesEqualEachAlone) {
  Model model;
  ASSERT_NO_FATAL_FAILURE(Load(GetParam(), 2, model));
  const std::vector<int32_t> ids = Ids(model, "input_ids");
  const size_t vocab = model.imported->info.vocab_size;
  ASSERT_GE(ids.size(), 10u);
  const std::vector<std::vector<int32_t>> texts = {
      {ids.begin(), ids.begin() + 5}, {ids[3]}, {ids.begin() + 2, ids.begin() + 10}, {ids[1], ids[0]}};
  for (size_t count = 2; count <= texts.size(); ++count) {
    StepArguments arguments;
    arguments.seq_bounds = {0};
    std::vector<float> expected;
    for (size_t s = 0; s < count; ++s) {
      arguments.tokens.insert(arguments.tokens.end(), texts[s].begin(), texts[s].end());
      arguments.seq_bounds.push_back(static_cast<int32_t>(arguments.tokens.size()));
      const std::vector<float> alone = Logits(model, texts[s]);
      expected.insert(expected.end(), alone.begin(), alone.end());
    }
    if (static_cast<int64_t>(arguments.tokens.size()) > model.imported->info.context_length) break;
    auto results = model.interpreter->Run(arguments, nullptr);
    ASSERT_TRUE(results.ok()) << results.status();
    ASSERT_EQ(results->at(0).shape,
              (std::vector<int64_t>{static_cast<int64_t>(arguments.tokens.size()),
                                    static_cast<int64_t>(vocab)}));
    EXPECT_LE(LargestError(results->at(0).floats->data(), expected.data(), expected.size()), 2e-6)
        << count << " sequences";
  }
}

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = std::filesystem::path(info.param).filename().string();
  std::replace_if(name.begin(), name.end(), [](char c) { return !isalnum(c); }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, EagerModelTest, testing::ValuesIn(ModelFolders()), TestName);

}  // namespace
}  // namespace ninfer::eager
