// Import of model folders of other hands: trained models and the cases with Hugging Face's answers,
// imported, or refused by the key and value that we do not do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "tests/frontend_test_util.h"
#include "tests/test_data.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// config.json and, in its place, config.old-style.json.
void ExpectBothStylesImportAlike(const std::string& folder) {
  const ImportedModel model = Import(folder);
  const std::string old_style = JoinPath(folder, "config.old-style.json");
  if (!FileExists(old_style)) return;
  TemporaryFolder copy;
  std::filesystem::copy(folder, copy.path(), std::filesystem::copy_options::recursive);
  std::filesystem::remove(copy.File("config.json"));
  std::filesystem::copy(old_style, copy.File("config.json"));
  const ImportedModel older = Import(copy.path());
  EXPECT_EQ(ir::Print(older.module), ir::Print(model.module));
  EXPECT_EQ(older.info.context_length, model.info.context_length);
  EXPECT_EQ(older.info.rope_crossing, model.info.rope_crossing);
}

TEST(Folders, EveryBundledCaseImportsInBothStylesOfConfigurationAlike) {
  int cases = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(NINFER_SOURCE_DIR "/tests/data/hf-models")) {
    if (!FileExists(JoinPath(entry.path().string(), "config.json"))) continue;
    SCOPED_TRACE(entry.path().string());
    ExpectBothStylesImportAlike(entry.path().string());
    ++cases;
  }
  EXPECT_GE(cases, 74);
}

// refused.json of a case: changes of its config.json, and what is said to each.
TEST(Folders, WhatABundledFamilyDoesNotDoIsRefusedByKeyAndValue) {
  int cases = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(NINFER_SOURCE_DIR "/tests/data/hf-models")) {
    const std::string folder = entry.path().string();
    const auto refused = ReadFile(JoinPath(folder, "refused.json"));
    if (!refused.ok()) continue;
    for (const nlohmann::json& row : nlohmann::json::parse(*refused)) {
      SCOPED_TRACE(absl::StrCat(folder, ": ", row["set"].dump()));
      auto config = nlohmann::json::parse(*ReadFile(JoinPath(folder, "config.json")));
      config.update(row["set"]);
      const auto model = ImportRandomModel("test", config.dump(), DType::kF32, 1, {});
      EXPECT_EQ(std::string(model.status().message()),
                absl::StrCat("config.json: ", row["error"].get<std::string>()));
      ++cases;
    }
  }
  EXPECT_GE(cases, 5);
}

TEST(Folders, TheBundledModelsImport) {
  for (absl::string_view name : {"demo", "demo-draft"}) {
    SCOPED_TRACE(std::string(name));
    const ImportedModel model = Import(absl::StrCat(NINFER_SOURCE_DIR, "/models/", name));
    EXPECT_EQ(model.info.name, name);
    EXPECT_THAT(model.info.eos_ids, ElementsAre(0, 2));
  }
}

TEST(Folders, TrainedModelsImport) {
  NINFER_TEST_DATA_OR_SKIP(root, "models");
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().string());
    Import(entry.path().string());
    ++cases;
  }
  EXPECT_GE(cases, 4);
}

TEST(Folders, ATiedHeadStoredUnderTheHeadsNameAlone) {
  NINFER_TEST_DATA_OR_SKIP(folder, "models/tinystories-656k-hf");
  EXPECT_EQ(ResultHead(Import(folder))->name(), "lm_head.weight");
}

TEST(Folders, EveryOtherCaseImportsInBothStylesOfConfigurationAlike) {
  NINFER_TEST_DATA_OR_SKIP(root, "hf-models");
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const std::string folder = entry.path().string();
    if (!FileExists(JoinPath(folder, "config.json"))) continue;
    SCOPED_TRACE(folder);
    ExpectBothStylesImportAlike(folder);
  }
}

using Prefixes = std::vector<std::pair<std::string, std::string>>;

// Of a folder, whose tensors' names begin otherwise.
absl::StatusOr<ImportedModel> ImportRenamed(const std::string& folder, const Prefixes& prefixes) {
  TemporaryFolder copy;
  std::filesystem::copy(folder, copy.path());
  const std::string file = *ReadFile(JoinPath(folder, "model.safetensors"));
  uint64_t size;
  std::memcpy(&size, file.data(), sizeof(size));
  const auto own = nlohmann::json::parse(file.substr(8, size));
  nlohmann::json header;
  for (const auto& [name, tensor] : own.items()) {
    std::string renamed = name;
    for (const auto& [from, to] : prefixes) {
      if (absl::StartsWith(name, from)) renamed = to + name.substr(from.size());
    }
    header[renamed] = tensor;
  }
  testing::WriteText(copy.File("model.safetensors"),
                     testing::RawSafetensors(header.dump(), file.substr(8 + size)));
  return ImportModel(copy.path(), {});
}

// Of models that see, in the names of transformers 4 and in those of transformers 5 in memory.
TEST(Folders, TheTextOfModelsThatSeeImportsUnderBothNamesOfItsTensors) {
  const Prefixes newer = {{"language_model.model.", "model.language_model."},
                          {"language_model.lm_head", "lm_head"},
                          {"vision_tower.", "model.vision_tower."},
                          {"multi_modal_projector.", "model.multi_modal_projector."}};
  Prefixes older = newer;
  for (auto& [from, to] : older) std::swap(from, to);
  for (const char* name : {"gemma3-sees", "mistral3", "mistral3-tied"}) {
    SCOPED_TRACE(name);
    const std::string folder = absl::StrCat(NINFER_SOURCE_DIR "/tests/data/hf-models/", name);
    const ImportedModel model = Import(folder);
    EXPECT_TRUE(model.info.pictures_left_out);
    EXPECT_FALSE(model.vision.has_value());
    const std::string text = ir::Print(model.module);
    const bool is_newer = absl::StrContains(text, "model.language_model.");
    EXPECT_EQ(is_newer, absl::string_view(name) == "mistral3-tied");
    const Prefixes& other = is_newer ? older : newer;
    const auto renamed = ImportRenamed(folder, other);
    ASSERT_TRUE(renamed.ok()) << renamed.status();
    EXPECT_EQ(ir::Print(renamed->module), absl::StrReplaceAll(text, other));
  }
}

TEST(Folders, OfAModelThatSeesNothingButTowerAndProjectorIsLeftAside) {
  const auto model = ImportRenamed(NINFER_SOURCE_DIR "/tests/data/hf-models/mistral3",
                                   {{"vision_tower.ln_pre.", "vision_tower_2.ln_pre."}});
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("model.safetensors: tensor \"vision_tower_2.ln_pre.weight\": expected only "
                        "the tensors of Mistral3ForConditionalGeneration"));
}

TEST(Folders, StoredBuffersAndBareNamesImport) {
  EXPECT_THAT(StepText(Import(NINFER_SOURCE_DIR "/tests/data/hf-models/gpt2-bare-names")),
              HasSubstr("@h.0.ln_1.weight"));
  EXPECT_THAT(Import(NINFER_SOURCE_DIR "/tests/data/hf-models/llama-eos-list").info.eos_ids,
              ElementsAre(2, 21));
}

}  // namespace
}  // namespace ninfer::frontend
