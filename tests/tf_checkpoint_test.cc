// TensorFlow's checkpoints, and the folder in which OpenAI published GPT-2: what is read, and the
// words with which damage is refused.
#include "frontend/tf_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "frontend/openai_gpt2.h"
#include "tests/checkpoint_testing.h"
#include "tests/support/model_folder.h"
#include "tests/test_data.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::TemporaryFolder;
using ::ninfer::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TfCheckpoint, ASampleOfTensorFlowServingIsRead) {
  NINFER_TEST_DATA_OR_SKIP(folder,
                           "goldens/tf-checkpoint/saved_model_half_plus_three/00000123/variables");
  const std::string path = JoinPath(folder, "variables.index");
  const auto index = ParseTfIndex(path, *ReadFile(path));
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->shards, 1);
  ASSERT_EQ(index->entries.size(), 3u);
  const auto shard = ReadFile(TfShardName(JoinPath(folder, "variables"), 0, 1));
  ASSERT_TRUE(shard.ok()) << shard.status();
  // "Half plus three": a is 0.5, b and c are 3.
  const std::pair<const char*, float> expected[] = {{"a", 0.5f}, {"b", 3.0f}, {"c", 3.0f}};
  for (int i = 0; i < 3; ++i) {
    const auto tensor = TfTensor(index->entries[i], "shard", *shard);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(tensor->name, expected[i].first);
    EXPECT_EQ(tensor->dtype, DType::kF32);
    EXPECT_TRUE(tensor->shape.empty());
    EXPECT_TRUE(Verify("tensor", tensor->checksum).ok());
    float value = 0;
    std::memcpy(&value, tensor->data, sizeof(value));
    EXPECT_EQ(value, expected[i].second);
  }
}

TEST(OpenAiGpt2, TheFolderGivesTheModelThatSafetensorsGives) {
  const std::string text = ModelText(CheckpointFolder("openai"));
  std::string expected = ModelText(CheckpointFolder("safetensors"));
  EXPECT_EQ(text, expected);
}

// The tensors of an index with one shard.
std::string TextOf(const std::string& index_bytes, const std::string& shard) {
  const auto index = ParseTfIndex("x.index", index_bytes);
  if (!index.ok()) return std::string(index.status().message());
  std::vector<StoredTensor> tensors;
  for (const TfEntry& entry : index->entries) {
    auto tensor = TfTensor(entry, "x.data", shard);
    if (!tensor.ok()) return std::string(tensor.status().message());
    tensors.push_back(*std::move(tensor));
  }
  return TensorsText(tensors);
}

TEST(TfCheckpoint, DamageIsRefusedOrChangesNothing) {
  const std::string index = *ReadFile(CheckpointFolder("openai/model.ckpt.index"));
  const std::string shard = *ReadFile(CheckpointFolder("openai/model.ckpt.data-00000-of-00001"));
  const std::string expected = TextOf(index, shard);
  int refused = 0;
  const auto check = [&](const std::string& found, const std::string& damage) {
    if (found == expected) return;
    ++refused;
    EXPECT_TRUE(IsOneLine(found)) << damage << ": " << found;
  };
  ForEachDamage(index, [&](const std::string& damaged, const std::string& damage) {
    check(TextOf(damaged, shard), "index: " + damage);
  });
  // All but what says nothing: the footer's padding.
  EXPECT_GT(refused, static_cast<int>(2 * (index.size() - 48)));
  refused = 0;
  ForEachDamage(shard, [&](const std::string& damaged, const std::string& damage) {
    check(TextOf(index, damaged), "data: " + damage);
  });
  EXPECT_EQ(refused, static_cast<int>(2 * shard.size()));
}

TEST(OpenAiGpt2, NamesBecomeThoseOfTransformers) {
  const std::pair<const char*, const char*> cases[] = {
      {"model/wte", "transformer.wte.weight"},
      {"model/ln_f/g", "transformer.ln_f.weight"},
      {"model/h0/ln_1/b", "transformer.h.0.ln_1.bias"},
      {"model/h11/attn/c_attn/w", "transformer.h.11.attn.c_attn.weight"},
      {"global_step", "global_step"},
  };
  for (const auto& [from, to] : cases) {
    StoredTensor tensor;
    tensor.name = from;
    RenameOpenAiGpt2(tensor);
    EXPECT_EQ(tensor.name, to);
  }
  StoredTensor tensor;
  tensor.name = "model/h0/mlp/c_fc/w";
  tensor.shape = {1, 8, 32};
  RenameOpenAiGpt2(tensor);
  EXPECT_THAT(tensor.shape, ElementsAre(8, 32));
}

// A copy of the folder with one file replaced.
std::string WithFile(const std::string& name, absl::string_view text) {
  TemporaryFolder folder;
  std::filesystem::copy(CheckpointFolder("openai"), folder.path(),
                        std::filesystem::copy_options::recursive);
  WriteText(folder.File(name), text);
  const std::string found = ModelText(folder.path());
  const size_t at = found.find(folder.path() + "/");
  return at == 0 ? found.substr(folder.path().size() + 1) : found;
}

TEST(OpenAiGpt2, HparamsAreRefusedByKeyAndValue) {
  EXPECT_EQ(WithFile("hparams.json", R"({"n_vocab":11,"n_ctx":4,"n_embd":"4","n_head":2})"),
            "hparams.json: n_embd: expected an integer, found a string");
  EXPECT_THAT(
      WithFile("hparams.json", R"({"n_vocab":12,"n_ctx":4,"n_embd":4,"n_head":2,"n_layer":2})"),
      HasSubstr("tensor \"transformer.wte.weight\": expected shape [12,4], found [11,4]"));
}

TEST(OpenAiGpt2, ACheckpointOutsideTheFolderIsRefused) {
  EXPECT_EQ(WithFile("checkpoint", "model_checkpoint_path: \"../other/model.ckpt\"\n"),
            "checkpoint: model_checkpoint_path: expected a name in this folder, found "
            "\"../other/model.ckpt\"");
}

TEST(TfCheckpoint, AMissingShardIsNamed) {
  TemporaryFolder folder;
  std::filesystem::copy(CheckpointFolder("openai"), folder.path(),
                        std::filesystem::copy_options::recursive);
  const std::string shard = folder.File("model.ckpt.data-00000-of-00001");
  ASSERT_TRUE(std::filesystem::remove(shard));
  EXPECT_EQ(ModelText(folder.path()), folder.File("model.ckpt.index") + ": expected shard \"" +
                                          shard + "\", found no such file");
}

}  // namespace
}  // namespace ninfer::frontend
