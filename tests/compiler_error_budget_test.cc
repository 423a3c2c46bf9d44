// What --error-budget chooses: the order of upgrades against every choice there is, and whole
// models whose divergence is measured again, on other texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "compiler/error_budget.h"
#include "formats/formats.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"
#include "tests/support/random.h"

namespace ninfer::compiler {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(ErrorBudget, IsAShareOrAPercentage) {
  EXPECT_DOUBLE_EQ(*ParseErrorBudget("0.5%"), 0.005);
  EXPECT_DOUBLE_EQ(*ParseErrorBudget("0.02"), 0.02);
  for (const char* wrong : {"", "%", "0", "-1%", "nan", "inf", "0.5 %%", "half"}) {
    EXPECT_THAT(ParseErrorBudget(wrong).status().message(),
                HasSubstr("--error-budget: expected a share above 0"))
        << wrong;
  }
}

// The second type of the first weight saves less a byte than the third: it is passed over.
TEST(UpgradeOrder, TakesWhatSavesMostABytePassingOverTypesBesideBetterOnes) {
  const std::vector<Upgrade> order =
      UpgradeOrder({{{1, 9}, {2, 8}, {4, 0}}, {{1, 4}, {3, 2}}, {{1, 5}, {2, 0.5}, {10, 0}}});
  std::vector<std::pair<size_t, size_t>> found;
  for (const Upgrade& upgrade : order) found.emplace_back(upgrade.weight, upgrade.type);
  EXPECT_THAT(found, ::testing::ElementsAre(std::pair(2, 1), std::pair(0, 2), std::pair(1, 1),
                                            std::pair(2, 2)));
}

TEST(UpgradeOrder, EveryBeginningIsTheLeastDivergenceForItsBytes) {
  Random random(7);
  std::vector<std::vector<TypeCost>> weights(6);
  for (std::vector<TypeCost>& types : weights) {
    double bytes = 1, divergence = 64;
    for (int type = 0; type < 3; ++type) {
      types.push_back({bytes, divergence});
      bytes += 1 + static_cast<double>(random.Below(8));
      divergence /= 1 + static_cast<double>(random.Below(30));
    }
  }
  std::vector<TypeCost> all;  // of every choice: 3 to the 6th
  for (int code = 0; code < 729; ++code) {
    TypeCost sum{0, 0};
    for (int w = 0, rest = code; w < 6; ++w, rest /= 3) {
      sum.bytes += weights[w][rest % 3].bytes;
      sum.divergence += weights[w][rest % 3].divergence;
    }
    all.push_back(sum);
  }
  std::vector<size_t> choice(6);
  for (const Upgrade& upgrade : UpgradeOrder(weights)) {
    choice[upgrade.weight] = upgrade.type;
    TypeCost sum{0, 0};
    for (int w = 0; w < 6; ++w) {
      sum.bytes += weights[w][choice[w]].bytes;
      sum.divergence += weights[w][choice[w]].divergence;
    }
    for (const TypeCost& other : all) {
      if (other.bytes > sum.bytes) continue;
      EXPECT_GE(other.divergence, sum.divergence - 1e-9);
    }
  }
}

class ErrorBudgetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteModel(folder_.path(), testing::TinyLlama({.hidden = 64, .context = 200}));
  }
  absl::StatusOr<Compiled> CompileWithin(const std::string& budget, Json more = Json::object()) {
    Json json = {{"model", folder_.path()},
                 {"error_budget", budget},
                 {"quality", "sampled"},
                 {"activations", "f32"},
                 {"threads", 2}};
    json.update(more);
    lines_.clear();
    Callbacks callbacks;
    callbacks.log = [this](const std::string& line) { lines_.push_back(line); };
    return CompileWith(json, callbacks);
  }
  testing::TemporaryFolder folder_;
  std::vector<std::string> lines_;
};

TEST_F(ErrorBudgetTest, MoreOfItMakesASmallerPlanWithinIt) {
  uint64_t last = UINT64_MAX;
  for (const char* budget : {"0.01%", "0.2%", "100%"}) {
    const auto compiled = CompileWithin(budget);
    ASSERT_TRUE(compiled.ok()) << budget << ": " << compiled.status();
    EXPECT_LT(compiled->plan.weight_bytes, last) << budget;
    last = compiled->plan.weight_bytes;
    // Measured on other texts than those that chose.
    EXPECT_LT(compiled->plan.evidence.quality->kl_divergence,
              1.5 * std::log1p(*ParseErrorBudget(budget)))
        << budget;
    EXPECT_THAT(lines_, Contains(HasSubstr("<- chosen"))) << budget;
  }
  EXPECT_THAT(lines_, Contains(HasSubstr("9 in nu4, 0 in int8, 0 in bf16, 0 in f32  <- chosen")));
}

TEST_F(ErrorBudgetTest, LeavesWhatTheUserChoseByName) {
  const auto compiled = CompileWithin("100%", {{"weights_for", {"lm_head=f16"}}});
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  int heads = 0;
  for (const plan::Weight& weight : compiled->plan.weights) {
    if (weight.name != "lm_head.weight") continue;
    EXPECT_EQ(weight.format, formats::InfoOf(formats::Format::kPanelF16).name);
    ++heads;
  }
  EXPECT_EQ(heads, 1);
  EXPECT_THAT(lines_, Contains(HasSubstr("8 in nu4, 0 in int8, 0 in bf16, 0 in f32  <- chosen")));
}

TEST_F(ErrorBudgetTest, TooSmallOrBesideATypeForAllIsRefused) {
  EXPECT_THAT(CompileWithin("1e-9", {{"activations", "bf16"}}).status().message(),
              HasSubstr("what activations in bf16 and a cache in bf16 lose, found 1e-9"));
  EXPECT_EQ(CompileWithin("1%", {{"weights", "int8"}}).status().message(),
            "--error-budget: expected --weights=auto, which it chooses, found int8");
  EXPECT_EQ(
      CompileWith({{"model", folder_.path()}, {"error_budget_for", "speed"}}).status().message(),
      "--error-budget-for: expected --error-budget, found none");
}

// Three rules for one merged weight, each of which holds for its tensor.
TEST_F(ErrorBudgetTest, RulesMayNameEachTensorOfAMergedWeight) {
  const auto compiled = CompileWith(
      {{"model", folder_.path()},
       {"weights", "int4"},
       {"weights_for",
        {"*.0.self_attn.q_proj=int8", "*.0.self_attn.k_proj=int8", "*.0.self_attn.v_proj=int8"}},
       {"threads", 2}});
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  int merged = 0;
  for (const plan::Weight& weight : compiled->plan.weights) {
    if (weight.name != "model.layers.0.self_attn.q_proj.weight/k_proj.weight/v_proj.weight")
      continue;
    EXPECT_EQ(weight.format, formats::InfoOf(formats::Format::kPanelInt8G32).name);
    ++merged;
  }
  EXPECT_EQ(merged, 1);
}

}  // namespace
}  // namespace ninfer::compiler
