// Random graphs the whole way: each becomes code whose logits are eager's, or is refused by one
// line that names the op and where it stands. Nothing ends in between: no pass leaves a graph that
// the next one cannot take, and what lowering takes code generation takes too.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/compiler_testing.h"
#include "tests/passes_testing.h"
#include "tests/program_testing.h"
#include "tests/tier.h"

namespace ninfer::compiler {
namespace {

// What --disable-pass can leave out: all of it, none, or some.
passes::PassOptions OptionsFor(uint64_t seed) {
  passes::PassOptions options = testing::RandomPassOptions(seed);
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    if (pass.optional && seed % 7 == 2) options.disabled.insert(pass.name);
  }
  if (seed % 5 == 3) options.disabled = {"cse"};
  return options;
}

// The program's code for this CPU, as a plan in memory.
absl::StatusOr<std::shared_ptr<const plan::LoadedPlan>> PlanOf(const program::Program& program,
                                                               const RandomGraph& graph,
                                                               const passes::PassOptions& options) {
  Compiled compiled;
  const auto target = codegen::FindTarget("native");
  if (!target.ok()) return target.status();
  const auto image = codegen::GenerateCode(program, *target, codegen::CodegenOptions());
  if (!image.ok()) return image.status();
  compiled.plan.images.push_back(ImageOf(*image));
  auto weights = plan::Memory::Allocate(program.weight_bytes, "the packed weights");
  if (!weights.ok()) return weights.status();
  compiled.weights = *std::move(weights);
  const absl::Status packed = eager::PackWeights(
      program, *graph.weights, 1, [](int64_t) {}, compiled.weights->data());
  if (!packed.ok()) return packed;
  Source source{{graph.module.Clone(), {}, graph.weights}, "", true};
  source.model.info.vocab_size = graph.vocab;
  source.model.info.context_length = options.context_length;
  FillMetadata(source, options, &compiled.plan);
  FillTables(program, "step", &compiled.plan);
  return InPlace(std::move(compiled));
}

// Logits of every row of two texts, the first whole and the second in steps.
absl::StatusOr<std::vector<float>> LogitsOf(runtime::Executor& executor,
                                            const testing::Texts& texts) {
  std::vector<float> logits;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto found =
        RunText(executor, texts[i], i == 0 || !executor.limits().has_kv_cache ? 0 : 3);
    if (!found.ok()) return found.status();
    logits.insert(logits.end(), found->begin(), found->end());
  }
  return logits;
}

bool NamesOpAndPlace(absl::string_view message) {
  return absl::StrContains(message, "`") &&
         (absl::StrContains(message, "` of model.layers.") || absl::StrContains(message, "` (%"));
}

TEST(RandomGraphs, AgreeWithEagerOrAreRefusedByOpAndPlace) {
  const int seeds = FullTier() ? 301 : 30;
  int compiled = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const RandomGraph graph = MakeRandomGraph(seed);
    const passes::PassOptions options = OptionsFor(seed);
    const auto result = passes::RunPipeline(graph.module.Clone(), options);
    if (!result.ok()) {
      EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << result.status();
      EXPECT_TRUE(absl::StrContains(result.status().message(), " lower: ")) << result.status();
      EXPECT_TRUE(NamesOpAndPlace(result.status().message())) << result.status();
      continue;
    }
    const auto plan = PlanOf(result->program, graph, options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto executor = Execute(*plan);
    ASSERT_TRUE(executor.ok()) << executor.status();
    const testing::Texts texts = testing::RandomTexts({7, 8}, graph.vocab, seed);
    const auto found = LogitsOf(**executor, texts);
    ASSERT_TRUE(found.ok()) << found.status();
    std::vector<float> expected;
    for (const std::vector<int32_t>& text : texts) {
      const auto logits = RunGraph(graph.module, graph.weights, text, 0, 1);
      ASSERT_TRUE(logits.ok()) << logits.status();
      expected.insert(expected.end(), logits->values.begin(), logits->values.end());
    }
    EXPECT_LE(LargestError(*found, expected),
              ErrorBound(graph.module, options, /*settled=*/true).worst);
    ++compiled;
  }
  EXPECT_GT(compiled, seeds / 4);
}

}  // namespace
}  // namespace ninfer::compiler
