// Import of models that the tests write: the graph's structure, names, tied heads, every tensor
// claimed, ids and templates. That the graph computes what Hugging Face does is tested where graphs
// are evaluated.
#include "frontend/frontend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/frontend_test_util.h"
#include "tests/support/model_folder.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::RandomTensor;
using ::ninfer::testing::SafetensorsBytes;
using ::ninfer::testing::TemporaryFolder;
using ::ninfer::testing::TestModel;
using ::ninfer::testing::TestTensor;
using ::ninfer::testing::TinyGpt2;
using ::ninfer::testing::TinyLlama;
using ::ninfer::testing::TinyOptions;
using ::ninfer::testing::WriteModel;
using ::ninfer::testing::WriteShardedModel;
using ::ninfer::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The error of importing this model, with the folder's path taken out.
std::string ErrorOf(const TestModel& model, const ImportOptions& options = {}) {
  TemporaryFolder folder;
  WriteModel(folder.path(), model);
  const auto imported = ImportModel(folder.path(), options);
  if (imported.ok()) return "no error";
  const std::string message(imported.status().message());
  EXPECT_TRUE(absl::StartsWith(message, folder.path())) << message;
  EXPECT_THAT(message, ::testing::Not(HasSubstr("\n")));
  return message.substr(std::min(message.size(), folder.path().size() + 1));
}

TEST(Import, LlamaIsAFunctionOfTokensPositionsAndBounds) {
  const ImportedModel model = Import(TinyLlama());
  EXPECT_EQ(model.module.name(), "llama");
  EXPECT_EQ(model.info.architecture, "llama");
  EXPECT_THAT(StepText(model), HasSubstr("func @step(%tokens: i32[T], %positions: i32[T], "
                                         "%seq_bounds: i32[S+1])"));
  EXPECT_EQ(ir::TypeToString(model.module.FindFunction("step")->results()[0]->type(),
                             model.module.symbols()),
            "f32[T,37]");
  EXPECT_EQ(CountOps(model, ir::Op::kRope), 4);
  EXPECT_EQ(CountOps(model, ir::Op::kCos), 1);  // once for the step, not once a layer
  EXPECT_EQ(CountOps(model, ir::Op::kCausalMask), 2);
  EXPECT_EQ(CountOps(model, ir::Op::kRepeat), 4);
  EXPECT_EQ(CountOps(model, ir::Op::kRmsNorm), 5);
}

TEST(Import, WeightsKeepTheCheckpointsNamesAndTypes) {
  const ImportedModel model = Import(TinyLlama({.dtype = "BF16"}));
  const ir::Value* weight = model.module.FindWeight("model.layers.1.self_attn.k_proj.weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(ir::TypeToString(weight->type(), model.module.symbols()), "bf16[12,24]");
  EXPECT_EQ(model.info.stored_dtype, DType::kBF16);
}

TEST(Import, ValuesSayWhereTheyComeFrom) {
  const std::string text = StepText(Import(TinyLlama()));
  EXPECT_THAT(text, HasSubstr("// model.layers.1.self_attn.q_proj\n"));
  EXPECT_THAT(text, HasSubstr("// model.layers.0.mlp\n"));
  EXPECT_THAT(text, HasSubstr("// lm_head\n"));
  EXPECT_THAT(text, HasSubstr("%hidden.2 = add"));
  EXPECT_THAT(text, HasSubstr("%attention.1 = softmax"));
  EXPECT_THAT(StepText(Import(TinyGpt2({.prefix = ""}))), HasSubstr("// h.1.attn.c_attn\n"));
}

TEST(Import, MultiHeadGroupedAndMultiQueryAttention) {
  EXPECT_EQ(CountOps(Import(TinyLlama({.kv_heads = 4})), ir::Op::kRepeat), 0);
  EXPECT_EQ(CountOps(Import(TinyLlama({.kv_heads = 1})), ir::Op::kRepeat), 4);
  TestModel model = TinyLlama({.kv_heads = 4});
  model.config.erase("num_key_value_heads");
  EXPECT_EQ(ErrorOf(model), "no error");
  model.config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(ErrorOf(model), "no error");
}

TEST(Import, AnExplicitHeadDimNeedNotDivideTheHiddenSize) {
  const ImportedModel model =
      Import(TinyLlama({.hidden = 26, .heads = 3, .kv_heads = 1, .head_dim = 10}));
  EXPECT_THAT(StepText(model), HasSubstr("f32[T,3,10]"));
}

TEST(Import, BiasesComeWhereTheConfigurationSaysSo) {
  const ImportedModel model = Import(TinyLlama({.bias = true}));
  for (absl::string_view name :
       {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"}) {
    EXPECT_NE(model.module.FindWeight(absl::StrCat("model.layers.0.", name, ".bias")), nullptr);
  }
  TestModel without = TinyLlama({.bias = true});
  without.config["mlp_bias"] = false;
  EXPECT_EQ(ErrorOf(without),
            "model.safetensors: tensor \"model.layers.0.mlp.gate_proj.bias\": expected only the "
            "tensors of "
            "LlamaForCausalLM with the options of config.json, found one more of shape [40]");
}

TEST(Import, Gpt2TransposesItsStoredMatricesAndAddsLearnedPositions) {
  const ImportedModel model = Import(TinyGpt2({.tied = true}));
  EXPECT_EQ(model.info.architecture, "gpt2");
  const std::string text = StepText(model);
  EXPECT_THAT(text, HasSubstr("embedding %positions, @transformer.wpe.weight : f32[T,24]"));
  EXPECT_THAT(
      text,
      HasSubstr("transpose @transformer.h.0.attn.c_attn.weight {perm = [1, 0]} : f32[72,24]"));
  EXPECT_EQ(CountOps(model, ir::Op::kGeluTanh), 2);
  EXPECT_EQ(CountOps(model, ir::Op::kRope), 0);
  EXPECT_EQ(CountOps(model, ir::Op::kSlice), 6);
}

TEST(Import, Gpt2InnerSizeIsFourTimesTheHiddenSizeWhenNull) {
  TestModel model = TinyGpt2({.inner = 96});
  model.config["n_inner"] = nullptr;
  EXPECT_EQ(ErrorOf(model), "no error");
  model.config.erase("n_inner");
  EXPECT_EQ(ErrorOf(model), "no error");
}

TEST(Import, NamesWithAndWithoutTheFamilysPrefix) {
  EXPECT_NE(Import(TinyLlama({.prefix = ""})).module.FindWeight("layers.0.mlp.up_proj.weight"),
            nullptr);
  EXPECT_NE(Import(TinyGpt2({.prefix = ""})).module.FindWeight("h.0.mlp.c_fc.weight"), nullptr);
}

TEST(Import, AShardedCheckpointGivesTheSameGraph) {
  TemporaryFolder folder;
  WriteShardedModel(folder.path(), TinyLlama(), 3);
  EXPECT_EQ(ir::Print(Import(folder.path()).module), ir::Print(Import(TinyLlama()).module));
}

// --- tied heads

TEST(TiedHead, TheEmbeddingServesWhereNoHeadIsStored) {
  const ImportedModel model = Import(TinyLlama({.tied = true}));
  EXPECT_EQ(ResultHead(model)->name(), "model.embed_tokens.weight");
  EXPECT_EQ(model.module.FindWeight("lm_head.weight"), nullptr);
}

TEST(TiedHead, TheHeadServesWhereNoEmbeddingIsStored) {
  TestModel model = TinyLlama({.tied = true});
  model.Find("model.embed_tokens.weight")->name = "lm_head.weight";
  const ImportedModel imported = Import(model);
  EXPECT_EQ(ResultHead(imported)->name(), "lm_head.weight");
  EXPECT_THAT(StepText(imported), HasSubstr("embedding %tokens, @lm_head.weight"));
}

TEST(TiedHead, AStoredHeadThatEqualsTheEmbeddingIsOneWeight) {
  TestModel model = TinyLlama({.tied = true});
  TestTensor head = *model.Find("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  model.tensors.push_back(head);
  const ImportedModel imported = Import(model);
  EXPECT_EQ(ResultHead(imported)->name(), "model.embed_tokens.weight");
  EXPECT_EQ(imported.info.parameters, Import(TinyLlama({.tied = true})).info.parameters);
}

TEST(TiedHead, AStoredHeadThatDiffersIsUsedEvenWhereTheConfigurationSaysTied) {
  TestModel model = TinyLlama({.tied = false});
  model.config["tie_word_embeddings"] = true;
  EXPECT_EQ(ResultHead(Import(model))->name(), "lm_head.weight");
}

TEST(TiedHead, AnUntiedHeadMustBeStored) {
  TestModel model = TinyLlama({.tied = true});
  model.config["tie_word_embeddings"] = false;
  EXPECT_EQ(ErrorOf(model),
            "model.safetensors: tensor \"lm_head.weight\": expected shape [37,24], found no "
            "such tensor");
}

TEST(TiedHead, DefaultsAreTheFamilys) {
  TestModel llama = TinyLlama({.tied = false});
  llama.config.erase("tie_word_embeddings");
  EXPECT_EQ(ResultHead(Import(llama))->name(), "lm_head.weight");
  TestModel gpt2 = TinyGpt2({.tied = true});
  gpt2.config.erase("tie_word_embeddings");
  EXPECT_EQ(ResultHead(Import(gpt2))->name(), "transformer.wte.weight");
}

// --- every tensor is claimed

TEST(Claims, AMissingTensorIsNamedWithItsShape) {
  TestModel model = TinyLlama();
  model.Remove("model.layers.1.mlp.up_proj.weight");
  EXPECT_EQ(ErrorOf(model),
            "model.safetensors: tensor \"model.layers.1.mlp.up_proj.weight\": expected shape "
            "[40,24], found no such tensor");
}

TEST(Claims, AnOptionThatWeDoNotDoIsNamedBeforeATensorThatItChanged) {
  TestModel model = TinyLlama();
  model.Remove("model.layers.1.mlp.up_proj.weight");
  model.config["quantization_config"] = {{"bits", 4}};
  EXPECT_EQ(ErrorOf(model),
            "config.json: quantization_config: expected no such option for LlamaForCausalLM, found "
            "{\"bits\":4}");
}

TEST(Claims, AMissingTensorOfShardsIsSaidOfTheIndex) {
  TemporaryFolder folder;
  TestModel model = TinyLlama();
  model.Remove("model.norm.weight");
  WriteShardedModel(folder.path(), model, 2);
  EXPECT_EQ(ImportModel(folder.path(), {}).status().message(),
            folder.File("model.safetensors.index.json") +
                ": tensor \"model.norm.weight\": expected shape [24], found no such tensor");
}

TEST(Claims, AnUnknownTensorIsNamed) {
  TestModel model = TinyGpt2();
  model.tensors.push_back(RandomTensor("transformer.h.2.ln_1.weight", {24}));
  EXPECT_EQ(
      ErrorOf(model),
      "model.safetensors: tensor \"transformer.h.2.ln_1.weight\": expected only the tensors of "
      "GPT2LMHeadModel with the options of config.json, found one more of shape [24]");
}

TEST(Claims, BuffersThatOlderVersionsStoredAreIgnored) {
  TestModel llama = TinyLlama();
  llama.tensors.push_back(RandomTensor("model.layers.0.self_attn.rotary_emb.inv_freq", {3}));
  EXPECT_EQ(ErrorOf(llama), "no error");
  TestModel gpt2 = TinyGpt2();
  gpt2.tensors.push_back(RandomTensor("transformer.h.0.attn.bias", {1, 1, 64, 64}));
  gpt2.tensors.push_back({"transformer.h.0.attn.masked_bias", "BOOL", {}, "x"});
  EXPECT_EQ(ErrorOf(gpt2), "no error");
}

TEST(Claims, OnlyWholeNamesAreIgnorable) {
  TestModel model = TinyGpt2();
  model.tensors.push_back(RandomTensor("transformer.h.0.crossattn.bias", {4}));
  EXPECT_THAT(ErrorOf(model),
              HasSubstr("tensor \"transformer.h.0.crossattn.bias\": expected only"));
}

TEST(Claims, AWrongShapeSaysBoth) {
  TestModel model = TinyLlama();
  *model.Find("model.layers.0.self_attn.k_proj.weight") =
      RandomTensor("model.layers.0.self_attn.k_proj.weight", {24, 24});
  EXPECT_EQ(ErrorOf(model),
            "model.safetensors: tensor \"model.layers.0.self_attn.k_proj.weight\": expected "
            "shape [12,24], found [24,24]");
}

TEST(Claims, ADtypeThatIsNoWeightIsRefused) {
  TestModel model = TinyLlama();
  *model.Find("model.norm.weight") = {"model.norm.weight", "I8", {24}, std::string(24, '\0')};
  EXPECT_EQ(ErrorOf(model),
            "model.safetensors: tensor \"model.norm.weight\": expected dtype f32, f16 or bf16, "
            "found i8");
}

TEST(Claims, UnalignedTensorsAreReadAsIfAligned) {
  TemporaryFolder folder;
  const TestModel model = TinyLlama();
  const std::string padded = SafetensorsBytes(model.tensors);
  // One more space in the header moves every tensor off its alignment.
  uint64_t length = 0;
  std::memcpy(&length, padded.data(), 8);
  const std::string header = padded.substr(8, length) + " ";
  WriteText(folder.File("config.json"), model.config.dump());
  WriteText(folder.File("model.safetensors"),
            ninfer::testing::RawSafetensors(header, padded.substr(8 + length)));
  const ImportedModel imported = Import(folder.path());
  const auto view = imported.weights->Find("model.norm.weight");
  ASSERT_TRUE(view.ok());
  for (const TestTensor& tensor : model.tensors) {
    if (tensor.name == "model.norm.weight") {
      EXPECT_EQ(std::memcmp(view->data, tensor.bytes.data(), tensor.bytes.size()), 0);
    }
  }
}

TEST(Claims, FindingAnUnknownWeightIsAnError) {
  TemporaryFolder folder;
  WriteModel(folder.path(), TinyLlama());
  const ImportedModel model = Import(folder.path());
  EXPECT_EQ(model.weights->Find("w").status().message(),
            folder.File("model.safetensors") + ": expected tensor \"w\", found no such tensor");
}

TEST(Info, DynamicFrequenciesReachBeyondTheTrainedPositions) {
  const nlohmann::json rope = {{"rope_type", "dynamic"}, {"factor", 2.0}, {"rope_theta", 10000.0}};
  for (const char* type : {"gpt_neox", "falcon"}) {
    nlohmann::json config = {{"model_type", type},
                             {"vocab_size", 37},
                             {"hidden_size", 32},
                             {"intermediate_size", 64},
                             {"num_hidden_layers", 1},
                             {"num_attention_heads", 2},
                             {"max_position_embeddings", 48},
                             {"rope_parameters", rope}};
    config["architectures"] = {type == std::string("falcon") ? "FalconForCausalLM"
                                                             : "GPTNeoXForCausalLM"};
    const auto model = ImportRandomModel(type, config.dump(), DType::kF32, 1, {});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(model->info.context_length, 96) << type;
  }
}

// --- what generation needs

TEST(Info, IdsComeFromTheGenerationConfigurationFirst) {
  TemporaryFolder folder;
  TestModel model = TinyLlama();
  model.config["pad_token_id"] = 5;
  WriteModel(folder.path(), model);
  EXPECT_THAT(Import(folder.path()).info.eos_ids, ElementsAre(2));
  WriteText(folder.File("generation_config.json"),
            R"({"eos_token_id": [7, 8], "bos_token_id": 3, "do_sample": true, "temperature": 0.7,
                "top_p": 0.9, "top_k": null, "default_prompt": "It was"})");
  const ModelInfo info = Import(folder.path()).info;
  EXPECT_THAT(info.eos_ids, ElementsAre(7, 8));
  EXPECT_EQ(info.bos_id, 3);
  EXPECT_EQ(info.pad_id, 5);
  EXPECT_EQ(info.do_sample, true);
  EXPECT_EQ(info.temperature, 0.7);
  EXPECT_EQ(info.top_p, 0.9);
  EXPECT_FALSE(info.top_k.has_value());
  EXPECT_EQ(info.default_prompt, "It was");
}

TEST(Info, WhatGenerateWouldDoAndNothingHereDoesIsNamed) {
  TemporaryFolder folder;
  WriteModel(folder.path(), TinyLlama());
  const auto info = [&](const char* text) {
    WriteText(folder.File("generation_config.json"), text);
    return Import(folder.path()).info;
  };
  const ModelInfo sampled =
      info(R"({"repetition_penalty": 1.1, "min_p": 0.05, "max_new_tokens": 40})");
  EXPECT_EQ(sampled.repetition_penalty, 1.1);
  EXPECT_EQ(sampled.min_p, 0.05);
  EXPECT_EQ(sampled.max_new_tokens, 40);
  EXPECT_THAT(sampled.not_generated_with, IsEmpty());
  EXPECT_THAT(info(R"({"num_beams": 4, "no_repeat_ngram_size": 3, "suppress_tokens": [1, 2]})")
                  .not_generated_with,
              ElementsAre("num_beams = 4", "no_repeat_ngram_size = 3", "suppress_tokens = [1,2]"));
  EXPECT_THAT(info(R"({"num_beams": 1, "no_repeat_ngram_size": 0, "suppress_tokens": null,
                       "bad_words_ids": [], "typical_p": 1.0, "max_length": 40})")
                  .not_generated_with,
              IsEmpty());
}

TEST(Info, IdsThatAreAbsentAreTheFamilysAndNullMeansNone) {
  TestModel model = TinyLlama();
  model.config.erase("eos_token_id");
  model.config["bos_token_id"] = nullptr;
  const ModelInfo info = Import(model).info;
  EXPECT_THAT(info.eos_ids, ElementsAre(2));
  EXPECT_FALSE(info.bos_id.has_value());
}

TEST(Info, IdsOutsideTheVocabularyAreLeftOut) {
  TestModel model = TinyGpt2();
  model.config["eos_token_id"] = {2, 50256, -1};
  model.config.erase("bos_token_id");
  const ModelInfo info = Import(model).info;
  EXPECT_THAT(info.eos_ids, ElementsAre(2));
  EXPECT_FALSE(info.bos_id.has_value());
}

TEST(Info, NameAndSizes) {
  TemporaryFolder folder;
  WriteModel(folder.path(), TinyLlama({.tied = true}));
  const ModelInfo info = Import(folder.path() + "/").info;
  EXPECT_EQ(info.name, std::filesystem::path(folder.path()).filename().string());
  EXPECT_EQ(info.vocab_size, 37);
  EXPECT_EQ(info.context_length, 64);
}

TEST(Info, TheMostFrequentDtypeCountsElements) {
  TestModel model = TinyLlama({.dtype = "BF16"});
  *model.Find("model.norm.weight") = RandomTensor("model.norm.weight", {24}, "F32");
  EXPECT_EQ(Import(model).info.stored_dtype, DType::kBF16);
}

// --- the context asked for

TEST(Context, BoundsTheStepAndIsTheModelsOwnByDefault) {
  EXPECT_EQ(Import(TinyLlama()).module.symbols()[0].max, 64);
  const ImportedModel model = Import(TinyLlama(), {.context_length = 16});
  EXPECT_EQ(model.module.symbols()[0].max, 16);
  EXPECT_EQ(model.info.context_length, 16);
}

TEST(Context, RotaryPositionsMayGoBeyondTheModelsOwnAndLearnedOnesMayNot) {
  EXPECT_EQ(Import(TinyLlama(), {.context_length = 4096}).info.context_length, 4096);
  EXPECT_EQ(Import(TinyGpt2(), {.context_length = 20}).info.context_length, 20);
  EXPECT_EQ(
      ErrorOf(TinyGpt2(), {.context_length = 65}),
      "config.json: n_positions: expected at least the context length asked for, 65, found 64");
  EXPECT_EQ(ImportModel("x", {.context_length = -1}).status().message(),
            "context length: expected 1 to 16777216, found -1");
}

// --- folders that are none

TEST(Folder, MustBeThereAndHoldAConfiguration) {
  TemporaryFolder folder;
  EXPECT_EQ(ImportModel(folder.File("none"), {}).status().message(),
            folder.File("none") + ": expected a model folder, found nothing");
  WriteText(folder.File("file"), "x");
  EXPECT_EQ(ImportModel(folder.File("file"), {}).status().message(),
            folder.File("file") + ": expected a model folder, found a file");
  EXPECT_EQ(ImportModel(folder.path(), {}).status().message(),
            folder.path() + ": expected a model folder, found no config.json in it");
  WriteText(folder.File("config.json"), "{");
  EXPECT_EQ(ImportModel(folder.path(), {}).status().message(),
            folder.File("config.json") + ": expected JSON, found a syntax error in line 1");
}

TEST(Folder, AMalformedGenerationConfigurationIsNamed) {
  TemporaryFolder folder;
  WriteModel(folder.path(), TinyLlama());
  WriteText(folder.File("generation_config.json"), R"({"temperature": "hot"})");
  EXPECT_EQ(
      ImportModel(folder.path(), {}).status().message(),
      folder.File("generation_config.json") + ": temperature: expected a number, found a string");
  WriteText(folder.File("generation_config.json"), R"({"default_prompt": 3})");
  EXPECT_EQ(ImportModel(folder.path(), {}).status().message(),
            folder.File("generation_config.json") +
                ": default_prompt: expected a string, found a number");
}

}  // namespace
}  // namespace ninfer::frontend
