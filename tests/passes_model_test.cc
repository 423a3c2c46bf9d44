// Whole models through every pass: after each, eager gives the logits of the imported graph, whole
// and cut into steps; with every optional pass off, with each off, with all off, in f32 and bf16.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "frontend/frontend.h"
#include "ir/text.h"
#include "passes/runner.h"
#include "tests/passes_testing.h"
#include "tests/support/model_folder.h"
#include "tests/test_data.h"

namespace ninfer::passes {
namespace {

constexpr double kBoundF32 = 1e-4;
constexpr double kBoundBF16 = 0.1;

struct Model {
  std::string name;
  ir::Module module{""};
  testing::Weights weights;
  testing::Texts texts;
  testing::Logits reference;
};

Model Import(const std::string& folder, const std::string& name) {
  Model model;
  model.name = name;
  auto imported = frontend::ImportModel(folder, {});
  EXPECT_TRUE(imported.ok()) << imported.status();
  if (!imported.ok()) return model;
  model.module = std::move(imported->module);
  model.weights = imported->weights;
  const int most = static_cast<int>(model.module.symbols()[model.module.FindSymbol("T")].max);
  const std::vector<int> lengths =
      most >= 108 ? std::vector<int>{70, 5, 33} : std::vector<int>{most / 2, 1, most / 3};
  model.texts = testing::RandomTexts(lengths, testing::VocabOf(model.module));
  const auto reference = testing::RunWhole(model.module, model.weights, model.texts);
  EXPECT_TRUE(reference.ok()) << name << ": " << reference.status();
  if (reference.ok()) model.reference = *reference;
  return model;
}

// Tiny models that this test writes, one of each kind of architecture and option.
std::vector<Model> TinyModels() {
  using testing::TinyOptions;
  const std::vector<std::pair<std::string, testing::TestModel>> made = {
      {"llama", testing::TinyLlama()},
      {"llama, tied, one KV head", testing::TinyLlama({.kv_heads = 1, .tied = true})},
      {"llama, biases", testing::TinyLlama({.bias = true})},
      {"llama, no groups, bf16", testing::TinyLlama({.kv_heads = 4, .dtype = "BF16"})},
      {"gpt2", testing::TinyGpt2()},
      {"gpt2, tied, f16", testing::TinyGpt2({.tied = true, .dtype = "F16"})},
  };
  std::vector<Model> models;
  for (const auto& [name, contents] : made) {
    testing::TemporaryFolder folder;
    testing::WriteModel(folder.path(), contents);
    models.push_back(Import(folder.path(), name));
  }
  return models;
}

std::vector<std::string> NamesOf(bool optional_only) {
  std::vector<std::string> names;
  for (const PassEntry& entry : PassEntries()) {
    if (entry.level != PassLevel::kModule) continue;
    if (entry.info.optional || !optional_only) names.push_back(entry.info.name);
  }
  return names;
}

PassOptions OptionsFor(const Model& model, DType dtype) {
  PassOptions options;
  options.weights = options.activations = options.kv_cache = dtype;
  options.max_sequences = 4;
  const double bound = dtype == DType::kF32 ? kBoundF32 : kBoundBF16;
  options.compare_module = [&model, bound](const ir::Module& module,
                                           Rounding) -> absl::StatusOr<Comparison> {
    NINFER_ASSIGN_OR_RETURN(const testing::Logits whole,
                            testing::RunWhole(module, model.weights, model.texts));
    return testing::CompareLogits(model.reference, whole, bound);
  };
  return options;
}

// Runs the graph passes with a comparison after each, and the result in steps when it has a cache.
void ExpectAllPassesKeepTheLogits(const Model& model, const PassOptions& options) {
  ir::Module module = model.module.Clone();
  const auto records = RunPasses(module, NamesOf(false), options);
  ASSERT_TRUE(records.ok()) << model.name << ": " << records.status();
  const bool cached = !options.disabled.contains("kv-cache");
  EXPECT_EQ(testing::HasParameter(module, "cached_lens"), cached) << model.name;
  if (!cached) return;
  const auto cut = testing::RunTexts(module, model.weights, model.texts, {3, 40, 1, 16, 1, 1, 64});
  ASSERT_TRUE(cut.ok()) << model.name << ": " << cut.status();
  const double bound = options.activations == DType::kF32 ? kBoundF32 : kBoundBF16;
  const Comparison steps = testing::CompareLogits(model.reference, *cut, bound);
  EXPECT_LE(steps.max_error, steps.bound) << model.name << ", in steps, at " << steps.where;
}

TEST(PassesModel, EveryPassKeepsTheLogits) {
  for (const Model& model : TinyModels()) {
    for (const char* form : {"naive", "efficient", "flash"}) {
      PassOptions options = OptionsFor(model, DType::kF32);
      options.attention = form;
      ExpectAllPassesKeepTheLogits(model, options);
    }
    ExpectAllPassesKeepTheLogits(model, OptionsFor(model, DType::kBF16));
  }
}

TEST(PassesModel, EveryPassKeepsTheLogitsWithEachOptionalPassOff) {
  for (const Model& model : TinyModels()) {
    for (const std::string& name : NamesOf(true)) {
      PassOptions options = OptionsFor(model, DType::kF32);
      options.disabled = {name};
      ExpectAllPassesKeepTheLogits(model, options);
      options = OptionsFor(model, DType::kBF16);
      options.disabled = {name};
      ExpectAllPassesKeepTheLogits(model, options);
    }
  }
}

TEST(PassesModel, EveryPassKeepsTheLogitsWithAllOptionalPassesOff) {
  for (const Model& model : TinyModels()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      PassOptions options = OptionsFor(model, dtype);
      for (const std::string& name : NamesOf(true)) options.disabled.insert(name);
      ExpectAllPassesKeepTheLogits(model, options);
    }
  }
}

// Which of two ways to the kernel program a choice of passes takes, each model must get there.
TEST(PassesModel, EveryChoiceOfOptionalPassesReachesAPlannedProgram) {
  for (const Model& model : TinyModels()) {
    std::vector<absl::flat_hash_set<std::string>> choices = {{}, {}};
    for (const std::string& name : NamesOf(true)) {
      choices[1].insert(name);
      choices.push_back({name});
    }
    for (const auto& disabled : choices) {
      PassOptions options;
      options.max_sequences = 4;
      options.disabled = disabled;
      const auto result = RunPipeline(model.module.Clone(), options);
      ASSERT_TRUE(result.ok()) << model.name << ": " << result.status();
      EXPECT_TRUE(result->lowered);
      EXPECT_GT(result->program.arena_bytes, 0);
      EXPECT_EQ(result->program.kv.empty(), disabled.contains("kv-cache")) << model.name;
    }
  }
}

// --- what the passes leave behind, by name -------------------------------------------------------

int CountOps(const ir::Module& module, ir::Op op) {
  int count = 0;
  for (const auto& node : module.FindFunction("step")->nodes()) count += node->op() == op;
  return count;
}

TEST(PassesModel, AfterFuseEveryNodeThatComputesStandsInARegion) {
  for (const Model& model : TinyModels()) {
    ir::Module module = model.module.Clone();
    ASSERT_TRUE(RunPasses(module, NamesOf(false), PassOptions()).ok()) << model.name;
    for (const auto& node : module.FindFunction("step")->nodes()) {
      if (node->op() == ir::Op::kFused || ir::IsConstant(node->result())) continue;
      if (node->op() == ir::Op::kArgmax) continue;  // a kernel by itself
      EXPECT_EQ(node->info().op_class, ir::OpClass::kView)
          << model.name << ": " << ir::PrintNode(*node, module.symbols());
    }
  }
}

TEST(PassesModel, LayersGetEqualRegions) {
  const std::vector<Model> models = TinyModels();
  const Model& llama = models[0];
  ir::Module module = llama.module.Clone();
  ASSERT_TRUE(RunPasses(module, NamesOf(false), PassOptions()).ok());
  absl::flat_hash_map<std::string, int> bodies;
  for (const auto& node : module.FindFunction("step")->nodes()) {
    if (node->op() == ir::Op::kFused) ++bodies[ir::PrintFunction(*node->body(), module.symbols())];
  }
  // A layer: norm, q k v, rope of q, append, attention, output with residual, norm, gate and up,
  // down with residual. Beside the layers: embedding, angles, the norm of the wanted rows, head.
  // The norms of a layer are equal too.
  EXPECT_EQ(CountOps(module, ir::Op::kFused), 2 * 9 + 4);
  EXPECT_EQ(bodies.size(), 8 + 4u);
}

TEST(PassesModel, KvCacheBoundsTheStepByTheChunkAndTheCacheByTheContext) {
  const std::vector<Model> models = TinyModels();
  ir::Module module = models[0].module.Clone();
  PassOptions options;
  options.max_tokens = 16;
  options.max_sequences = 3;
  options.context_length = 40;
  ASSERT_TRUE(RunPasses(module, {"kv-cache"}, options).ok());
  const auto max_of = [&](const char* name) {
    return module.symbols()[module.FindSymbol(name)].max;
  };
  EXPECT_EQ(max_of("T"), 16);
  EXPECT_EQ(max_of("S"), 3);
  EXPECT_EQ(max_of("C"), 3 * 40);
  EXPECT_EQ(max_of("G"), 1);
  EXPECT_NE(module.FindFunction("step")->FindParameter("kv.1"), nullptr);
  EXPECT_EQ(module.FindFunction("step")->FindParameter("kv.2"), nullptr);
}

TEST(PassesModel, MorePositionsThanANumberHoldsAreRefused) {
  const std::vector<Model> models = TinyModels();
  ir::Module module = models[0].module.Clone();
  PassOptions options;
  options.max_sequences = std::numeric_limits<int64_t>::max();
  options.context_length = 40;
  EXPECT_EQ(RunPasses(module, {"kv-cache"}, options).status().message(),
            "pass 1 kv-cache: expected less than 2^63 cached positions, found 9223372036854775807 "
            "sequences of 40");
}

TEST(PassesModel, ATiedTableIsCastOnce) {
  const std::vector<Model> models = TinyModels();
  ir::Module module = models[1].module.Clone();
  PassOptions options;
  options.weights = DType::kBF16;
  ASSERT_TRUE(RunPasses(module, NamesOf(false), options).ok());
  const ir::Value* table = module.FindWeight("model.embed_tokens.weight");
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(module.FindFunction("step")->CountUses(table), 1);
}

// --- models that others made ---------------------------------------------------------------------

TEST(PassesModel, ModelsOnDiskKeepTheirLogits) {
  std::vector<std::string> folders = {NINFER_SOURCE_DIR "/models/demo-draft",
                                      NINFER_SOURCE_DIR "/models/demo"};
  std::error_code error;
  for (const std::string& parent :
       {std::string(NINFER_SOURCE_DIR "/tests/data/hf-models"), TestDataPath("models")}) {
    for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
      const std::string folder = entry.path().string();
      if (PathExists(folder + "/config.json")) folders.push_back(folder);
    }
  }
  for (const std::string& folder : folders) {
    const Model model = Import(folder, folder);
    if (model.reference.empty()) continue;  // the import has failed the test
    ExpectAllPassesKeepTheLogits(model, OptionsFor(model, DType::kF32));
    PassOptions options = OptionsFor(model, DType::kF32);
    for (const std::string& name : NamesOf(true)) options.disabled.insert(name);
    ExpectAllPassesKeepTheLogits(model, options);
  }
}

}  // namespace
}  // namespace ninfer::passes
