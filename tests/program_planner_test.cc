// Lowering, layout, schedule and plan-buffers as a chain: what they promise, on tiny models and on
// random graphs, in whole and stopped after any rewrite.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "frontend/frontend.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "program/text.h"
#include "program/verifier.h"
#include "tests/program_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::program {
namespace {

using passes::PassOptions;

Program ProgramOf(const testing::TestModel& model, const PassOptions& options = {}) {
  const testing::TemporaryFolder folder;
  testing::WriteModel(folder.path(), model);
  auto imported = frontend::ImportModel(folder.path(), {});
  EXPECT_TRUE(imported.ok()) << imported.status();
  auto result = passes::RunPipeline(std::move(imported->module), options);
  EXPECT_TRUE(result.ok()) << result.status();
  return std::move(result->program);
}

int Barriers(const Program& program, Barrier barrier) {
  int count = 0;
  for (const Launch& launch : program.launches) count += launch.barrier == barrier ? 1 : 0;
  return count;
}

// --- lowering ---

TEST(Lower, LayersShareTheirKernels) {
  const Program two = ProgramOf(testing::TinyLlama({.layers = 2}));
  const Program five = ProgramOf(testing::TinyLlama({.layers = 5}));
  EXPECT_EQ(two.kernels.size(), five.kernels.size());
  EXPECT_GT(five.launches.size(), two.launches.size());
  for (size_t i = 0; i < two.kernels.size(); ++i)
    EXPECT_EQ(two.kernels[i].name, five.kernels[i].name);
}

TEST(Lower, SizesInsideRegionsAreBoundedToo) {
  const auto module = ir::Parse(R"(module "m" stage fused
dim T in [1, 64]
func @step(%x: f32[T,4]) {
  %y = fused(%a = %x) {family = "rowwise"} {
    %0 = reshape %a : f32[T,4,1]
    %1 = repeat %0 {axis = 2, times = 1099511627776} : f32[T,4,1099511627776]
    %2 = slice %1 {axis = 2, begin = 0, end = 1} : f32[T,4,1]
    return %2
  } : f32[T,4,1]
  return %y
})",
                                "m.ir");
  ASSERT_TRUE(module.ok()) << module.status();
  EXPECT_EQ(passes::Lower(*module, {}).status().message(),
            "lower: `repeat`: expected a result of at most 70368744177664 bytes, found "
            "f32[T,4,1099511627776]");
}

TEST(Lower, KernelNamesSayFamilyTypesAndSizes) {
  PassOptions options;
  options.weights = options.activations = options.kv_cache = DType::kBF16;
  const Program program = ProgramOf(testing::TinyLlama({.tied = true}), options);
  std::vector<std::string> names;
  for (const Kernel& kernel : program.kernels) names.push_back(kernel.name);
  const std::vector<std::string> expected = {
      "embedding_bf16_f32__37x24",
      "mul_cos_sin_i32_f32__3",
      "rmsnorm_f32_bf16__24",
      "linear_bf16_bf16__48x24",
      "rope_f32_bf16__4x6",
      "kv_append_rope_f32_bf16__2x6",
      "attention_flash_bf16__4x2x6",
      "linear_bf16_bf16_add__24x24",
      "linear_bf16_bf16_silu_mul__40x24",
      "linear_bf16_bf16_add__24x40",
      "gatherrows_rmsnorm_f32_bf16__24",
      "linear_bf16_bf16_argmax__37x24",
      "argmax_f32__2",
  };
  std::vector<std::string> sorted_names = names, sorted_expected = expected;
  std::sort(sorted_names.begin(), sorted_names.end());
  std::sort(sorted_expected.begin(), sorted_expected.end());
  EXPECT_EQ(sorted_names, sorted_expected);
}

TEST(Lower, ATiedTableIsStoredOnceAsPanels) {
  const Program tied = ProgramOf(testing::TinyLlama({.tied = true}));
  int tables = 0;
  for (const PackedWeight& weight : tied.weights) {
    if (weight.shape.n != 37) continue;
    ++tables;
    EXPECT_EQ(weight.format, formats::Format::kPanelF32);
  }
  EXPECT_EQ(tables, 1);
  const Program untied = ProgramOf(testing::TinyLlama({.tied = false}));
  tables = 0;
  for (const PackedWeight& weight : untied.weights) tables += weight.shape.n == 37 ? 1 : 0;
  EXPECT_EQ(tables, 2);
}

// --- layout ---

TEST(Layout, PanelsLieInTheOrderOfTheirLaunches) {
  const Program program = ProgramOf(testing::TinyLlama());
  int64_t last = -1;
  for (const Launch& launch : program.launches) {
    const Kernel& kernel = program.kernels[launch.kernel];
    if (kernel.family != Family::kLinear) continue;
    for (size_t i = 0; i < launch.operands.size(); ++i) {
      if (launch.operands[i].kind != OperandKind::kWeight) continue;
      const PackedWeight& weight = program.weights[launch.operands[i].index];
      if (!formats::InfoOf(weight.format).is_panel) continue;
      EXPECT_GT(weight.offset, last) << weight.name;
      last = weight.offset;
    }
  }
}

// --- schedule ---

// The ids of the largest logits need all threads' columns.
constexpr int64_t kBarriersOfArgmax = 1;

TEST(Schedule, AStepOfFewRowsHasFiveBarriersALayerAndOneMoreInPrefill) {
  for (const int64_t layers : {2, 5}) {
    const Program llama = ProgramOf(testing::TinyLlama({.layers = layers}));
    EXPECT_EQ(Barriers(llama, Barrier::kAlways), 5 * layers + kBarriersOfArgmax);
    // Rows are dealt to be rotated where there are many.
    EXPECT_EQ(Barriers(llama, Barrier::kManyOrPrefill), layers);
    const Program gpt2 = ProgramOf(testing::TinyGpt2({.layers = layers}));
    EXPECT_EQ(Barriers(gpt2, Barrier::kAlways), 5 * layers + kBarriersOfArgmax);
    EXPECT_EQ(Barriers(gpt2, Barrier::kPrefill), layers);
  }
}

TEST(Schedule, UnfusedLaunchesNeedNoMoreBarriersInAStepOfFewRows) {
  PassOptions options;
  options.disabled = {"fuse"};
  const Program program = ProgramOf(testing::TinyLlama({.layers = 3}), options);
  EXPECT_EQ(Barriers(program, Barrier::kAlways), 5 * 3 + kBarriersOfArgmax);
  EXPECT_EQ(Barriers(program, Barrier::kPrefill), 3);
}

TEST(Schedule, SeparateQueryKeyAndValueRunBetweenTheSameBarriers) {
  PassOptions options;
  options.disabled = {"merge-linears", "fuse"};
  const Program program = ProgramOf(testing::TinyLlama({.layers = 3}), options);
  EXPECT_EQ(Barriers(program, Barrier::kAlways), 5 * 3 + kBarriersOfArgmax);
  EXPECT_EQ(Barriers(program, Barrier::kPrefill), 3);
}

// Pages are the step's own there, and lie in the arena.
TEST(Schedule, AttentionWithoutACacheAlwaysWaitsForItsPages) {
  PassOptions options;
  options.disabled = {"kv-cache"};
  const Program program = ProgramOf(testing::TinyLlama({.layers = 2}), options);
  EXPECT_EQ(Barriers(program, Barrier::kPrefill), 0);
  for (const Launch& launch : program.launches) {
    if (program.kernels[launch.kernel].family != Family::kAttention) continue;
    EXPECT_EQ(launch.barrier, Barrier::kAlways);
  }
}

TEST(Schedule, OnlyRowwiseLaunchesAreReplicatedAndNeverTheOutput) {
  const Program program = ProgramOf(testing::TinyLlama());
  int replicated = 0;
  for (const Launch& launch : program.launches) {
    if (!launch.replicated) continue;
    ++replicated;
    EXPECT_EQ(program.kernels[launch.kernel].family, Family::kRowwise);
  }
  EXPECT_GT(replicated, 4);
  EXPECT_FALSE(program.buffers[program.output].replicated);
}

TEST(Schedule, ACostlyRowIsDealt) {
  PassOptions options;
  options.disabled = {"fuse"};
  // silu of 4096 columns costs more than a barrier; the norm of 24 does not.
  const Program program = ProgramOf(testing::TinyLlama({.layers = 1, .inner = 4096}), options);
  for (const Launch& launch : program.launches) {
    const std::string& name = program.kernels[launch.kernel].name;
    if (name == "silu_f32_f32__4096") {
      EXPECT_FALSE(launch.replicated);
    }
    if (name == "rmsnorm_f32_f32__24") {
      EXPECT_TRUE(launch.replicated);
    }
  }
}

// --- buffers ---

TEST(PlanBuffers, ReachesTheLowerBoundOnTinyModels) {
  for (const char* form : {"flash", "naive"}) {
    for (const bool cache : {true, false}) {
      PassOptions options;
      options.attention = form;
      if (!cache) options.disabled = {"kv-cache"};
      for (const auto& model :
           {testing::TinyLlama({.layers = 4}), testing::TinyGpt2({.layers = 4})}) {
        const Program program = ProgramOf(model, options);
        EXPECT_EQ(program.arena_bytes + program.replica_bytes, program.arena_lower_bound);
      }
    }
  }
}

TEST(PlanBuffers, TheArenaDoesNotGrowWithTheLayers) {
  const Program two = ProgramOf(testing::TinyLlama({.layers = 3}));
  const Program nine = ProgramOf(testing::TinyLlama({.layers = 9}));
  EXPECT_EQ(two.arena_bytes, nine.arena_bytes);
  EXPECT_EQ(two.replica_bytes, nine.replica_bytes);
}

TEST(PlanBuffers, TheResidualIsAddedInPlace) {
  const Program program = ProgramOf(testing::TinyLlama({.layers = 3}));
  int in_place = 0;
  for (const Launch& launch : program.launches) {
    const Kernel& kernel = program.kernels[launch.kernel];
    if (kernel.family != Family::kLinear || launch.operands.size() != 4) continue;
    const Buffer& from = program.buffers[launch.operands[2].index];
    const Buffer& to = program.buffers[launch.operands[3].index];
    in_place += !from.replicated && from.offset == to.offset ? 1 : 0;
  }
  EXPECT_EQ(in_place, 5);  // all but the first, whose residual is the replicated embedding
}

TEST(PlanBuffers, NeverLiesBelowTheBoundNorAboveTheSum) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto random = testing::MakeRandomProgram(seed);
    if (random == nullptr) continue;
    const Program& program = random->result.program;
    int64_t sum = 0;
    for (const Buffer& buffer : program.buffers) sum += (buffer.bytes + 63) / 64 * 64;
    const int64_t peak = program.arena_bytes + program.replica_bytes;
    EXPECT_GE(peak, program.arena_lower_bound) << seed;
    EXPECT_LE(peak, sum) << seed;
    EXPECT_LE(peak, program.arena_lower_bound * 5 / 4) << seed;
  }
}

// --- every pass: stopped anywhere, run twice, and by value ---

PassOptions AtMost(int rewrites, int* left) {
  *left = rewrites;
  PassOptions options;
  options.may_rewrite = [left] { return (*left)-- > 0; };
  return options;
}

TEST(ProgramPasses, StoppedAfterAnyRewriteLeaveAGoodProgram) {
  auto pipeline = testing::MakeRandomProgram(4);
  ASSERT_NE(pipeline, nullptr);
  const auto lowered = passes::Lower(pipeline->result.module, {});
  ASSERT_TRUE(lowered.ok()) << lowered.status();
  int left = 0;
  for (int layout = 0; layout < 60; layout += 7) {
    for (int schedule = 0; schedule < 60; schedule += 5) {
      for (int plan = 1; plan < 60; plan += 6) {
        Program program = Clone(*lowered);
        ASSERT_TRUE(passes::LayOutWeights(program, AtMost(layout, &left)).ok());
        ASSERT_TRUE(Verify(program).ok()) << Verify(program);
        ASSERT_TRUE(passes::Schedule(program, AtMost(schedule, &left)).ok());
        ASSERT_TRUE(Verify(program).ok()) << Verify(program);
        ASSERT_TRUE(CheckOrder(program).ok()) << CheckOrder(program);
        ASSERT_TRUE(passes::PlanBuffers(program, AtMost(plan, &left)).ok());
        ASSERT_TRUE(Verify(program).ok()) << Verify(program);
        ASSERT_TRUE(CheckOrder(program).ok()) << CheckOrder(program);
        ASSERT_TRUE(CheckBuffers(program).ok()) << CheckBuffers(program);
      }
    }
  }
}

TEST(ProgramPasses, ToldNoFromTheStartChangeNothing) {
  auto pipeline = testing::MakeRandomProgram(4);
  ASSERT_NE(pipeline, nullptr);
  Program program = std::move(*passes::Lower(pipeline->result.module, {}));
  const std::string before = Print(program);
  int left = 0;
  EXPECT_EQ(*passes::LayOutWeights(program, AtMost(0, &left)), 0);
  EXPECT_EQ(*passes::Schedule(program, AtMost(0, &left)), 0);
  EXPECT_EQ(*passes::PlanBuffers(program, AtMost(0, &left)), 0);
  EXPECT_EQ(Print(program), before);
}

TEST(ProgramPasses, RunTwiceTheSecondTimeChangesNothing) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const auto random = testing::MakeRandomProgram(seed);
    if (random == nullptr) continue;
    Program program = std::move(*passes::Lower(random->result.module, {}));
    for (const auto pass : {&passes::LayOutWeights, &passes::Schedule, &passes::PlanBuffers}) {
      EXPECT_GT(*pass(program, {}), 0);
      const std::string once = Print(program);
      EXPECT_EQ(*pass(program, {}), 0);
      EXPECT_EQ(Print(program), once);
    }
  }
}

TEST(ProgramPasses, ProgramsOfRandomGraphsComputeWhatTheGraphDoes) {
  int compared = 0;
  for (uint64_t seed = 0; seed < 160; ++seed) {
    const auto random = testing::MakeRandomProgram(seed);
    if (random == nullptr) continue;
    for (const std::vector<int>& lengths : {std::vector<int>{2, 4}, std::vector<int>{13, 1, 20}}) {
      const eager::StepArguments texts = testing::WholeTexts(lengths, random->vocab);
      const auto expected = testing::RunGraph(random->result.module, random->weights, texts);
      ASSERT_TRUE(expected.ok()) << seed << expected.status();
      for (const int threads : {1, 3}) {
        const auto found =
            testing::RunProgram(random->result.program, *random->weights, threads, texts);
        ASSERT_TRUE(found.ok()) << seed << ": " << found.status();
        ASSERT_LE(testing::Difference(*expected, *found), 1e-6) << "seed " << seed;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 200);
}

}  // namespace
}  // namespace ninfer::program
