// Every graph pass on random graphs: eager gives the same logits before and after, whole and in
// steps.
#include <gtest/gtest.h>

#include <map>

#include "ir/builder.h"
#include "passes/runner.h"
#include "tests/passes_testing.h"
#include "tests/support/random.h"
#include "tests/support/random_graph.h"

namespace ninfer::passes {
namespace {

constexpr int kSeeds = 150;
constexpr double kBound = 1e-4;  // f32 sums in another order, through chains that amplify them

struct Subject {
  RandomGraph graph;
  testing::Texts texts;
  testing::Logits reference;
};

// Spells every constant c as (c / 2) * 2, which is exact: work for the fold pass.
void SpellOutConstants(ir::Module& module) {
  ir::Function& step = *module.FindFunction("step");
  for (size_t i = 0; i < step.nodes().size(); ++i) {
    ir::Node* node = step.nodes()[i].get();
    if (node->op() != ir::Op::kConstant) continue;
    ir::Builder builder(&module, &step, node);
    ir::Value* half = builder.Constant(node->attr_float("value") / 2);
    step.ReplaceAllUses(node->result(), builder.Mul(half, builder.Constant(2)));
    step.Erase(node);
    i += 2;
  }
}

Subject MakeSubject(uint64_t seed) {
  Subject subject{MakeRandomGraph(seed), {}, {}};
  if (seed % 2 == 0) SpellOutConstants(subject.graph.module);
  subject.texts = testing::RandomTexts({5, 1, 9}, subject.graph.vocab, seed);
  const auto logits = testing::RunWhole(subject.graph.module, subject.graph.weights, subject.texts);
  EXPECT_TRUE(logits.ok()) << logits.status();
  if (logits.ok()) subject.reference = *logits;
  return subject;
}

absl::StatusOr<Comparison> Compare(const Subject& subject, const ir::Module& module, double bound) {
  NINFER_ASSIGN_OR_RETURN(const testing::Logits whole,
                          testing::RunWhole(module, subject.graph.weights, subject.texts));
  return testing::CompareLogits(subject.reference, whole, bound);
}

PassOptions OptionsFor(const Subject& subject, double bound) {
  PassOptions options;
  options.max_sequences = 4;
  options.max_rows = 7;
  options.compare_module = [&subject, bound](const ir::Module& module, Rounding) {
    return Compare(subject, module, bound);
  };
  return options;
}

std::vector<std::string> GraphPasses() {
  std::vector<std::string> names;
  for (const PassEntry& entry : PassEntries()) {
    if (entry.level == PassLevel::kModule) names.push_back(entry.info.name);
  }
  return names;
}

TEST(PassesFuzz, EachPassByItselfKeepsTheLogitsOfRandomGraphs) {
  for (int seed = 1; seed <= kSeeds; ++seed) {
    const Subject subject = MakeSubject(seed);
    for (const std::string& name : GraphPasses()) {
      ir::Module module = subject.graph.module.Clone();
      std::vector<std::string> names = {name};
      if (name == "fuse") names = {"attention", "fuse"};  // regions stand where no mask is left
      const auto records = RunPasses(module, names, OptionsFor(subject, kBound));
      EXPECT_TRUE(records.ok()) << "seed " << seed << ": " << records.status();
    }
  }
}

TEST(PassesFuzz, AllPassesInOrderKeepTheLogitsWithAnyOfTheOptionalOnesOff) {
  std::map<std::string, int> rewrites;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    const Subject subject = MakeSubject(seed);
    PassOptions options = OptionsFor(subject, kBound);
    Random random(seed);
    for (const char* name : {"cse", "kv-cache", "merge-linears", "fuse"}) {
      if (random.OneIn(3)) options.disabled.insert(name);
    }
    ir::Module module = subject.graph.module.Clone();
    const auto records = RunPasses(module, GraphPasses(), options);
    ASSERT_TRUE(records.ok()) << "seed " << seed << ": " << records.status();
    for (const PassRecord& record : *records) rewrites[record.name] += record.rewrites;
    if (!testing::HasParameter(module, "cached_lens")) continue;
    const auto cut =
        testing::RunTexts(module, subject.graph.weights, subject.texts, {1, 3, 1, 2, 2});
    ASSERT_TRUE(cut.ok()) << "seed " << seed << ": " << cut.status();
    const Comparison steps = testing::CompareLogits(subject.reference, *cut, kBound);
    EXPECT_LE(steps.max_error, steps.bound) << "seed " << seed << ", in steps, at " << steps.where;
  }
  // The generator makes something for every pass to do.
  for (const std::string& name : GraphPasses()) EXPECT_GT(rewrites[name], 10) << name;
}

TEST(PassesFuzz, HalfPrecisionStaysNearForRandomGraphs) {
  for (int seed = 1; seed <= kSeeds / 2; ++seed) {
    const Subject subject = MakeSubject(seed);
    PassOptions options = OptionsFor(subject, 0.5);
    options.weights = options.activations = options.kv_cache = DType::kBF16;
    ir::Module module = subject.graph.module.Clone();
    const auto records = RunPasses(module, GraphPasses(), options);
    EXPECT_TRUE(records.ok()) << "seed " << seed << ": " << records.status();
  }
}

// Any prefix of a pass's rewrites is right, so that --stop-after can cut anywhere.
TEST(PassesFuzz, AnyNumberOfRewritesKeepsTheLogits) {
  for (int seed = 1; seed <= 16; ++seed) {
    const double bound = seed % 2 == 0 ? kBound : 0.5;
    const DType dtype = seed % 2 == 0 ? DType::kF32 : DType::kBF16;
    const Subject subject = MakeSubject(seed);
    const std::vector<std::string> names = GraphPasses();
    ir::Module before = subject.graph.module.Clone();
    for (const std::string& name : names) {
      ir::Module all = before.Clone();
      PassOptions options = OptionsFor(subject, bound);
      options.weights = options.activations = options.kv_cache = dtype;
      const auto records = RunPasses(all, {name}, options);
      ASSERT_TRUE(records.ok()) << "seed " << seed << ": " << records.status();
      for (int n = 1; n < (*records)[0].rewrites; n += 1 + (*records)[0].rewrites / 4) {
        ir::Module part = before.Clone();
        options.stop_after = absl::StrCat(name, ".", n);
        const auto stopped = RunPasses(part, {name}, options);
        ASSERT_TRUE(stopped.ok()) << "seed " << seed << ": " << stopped.status();
        EXPECT_EQ((*stopped)[0].rewrites, n) << name;
      }
      before = std::move(all);
    }
  }
}

}  // namespace
}  // namespace ninfer::passes
