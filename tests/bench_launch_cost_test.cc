// Bytes and operations of launches, against counts made by hand.
#include <gtest/gtest.h>

#include "bench/launch_cost.h"

namespace ninfer::bench {
namespace {

using plan::OperandKind;

constexpr auto kBuffer = OperandKind::kBuffer;
constexpr auto kWeight = OperandKind::kWeight;
constexpr auto kKv = OperandKind::kKv;

// Width 64, 4 query heads and 2 KV heads of 16 in f32 and bf16; a head of 96 columns.
plan::Plan MakePlan() {
  plan::Plan plan;
  plan.kernels = {{"embedding", "rowwise"}, {"append", "kv_append"}, {"attention", "attention"},
                  {"linear", "linear"},     {"gate_up", "linear"},   {"experts", "grouped_linear"},
                  {"head", "linear"}};
  plan.weights = {{"table", "plain_f32", 100, 64, 1, 0, 100 * 64 * 4},
                  {"o", "panel_bf16", 64, 64, 1, 0, 64 * 64 * 2},
                  {"bias", "plain_f32", 1, 64, 1, 0, 64 * 4},
                  {"gate_up", "panel_int8_g32", 32, 64, 2, 0, 5000},
                  {"experts", "panel_bf16", 32, 64, 8, 0, 8 * 4096, 2},
                  {"head", "panel_f32", 96, 64, 1, 0, 96 * 64 * 4}};
  plan.buffers = {{"hidden", "f32[T,64]", 64, false, 0, 1 << 20, 0, 3},
                  {"queries", "bf16[T,4,16]", 64, false, 0, 1 << 20, 1, 2},
                  {"mixed", "f32[T,64]", 64, false, 0, 1 << 20, 2, 3},
                  {"scores", "f32[T,4,512]", 2048, false, 0, 1 << 20, 2, 2},
                  {"joined", "f32[T,32]", 32, false, 0, 1 << 20, 4, 5},
                  {"chosen", "f32[T,2,32]", 64, false, 0, 1 << 20, 5, 6},
                  {"last", "f32[R,64]", 64, false, 0, 1 << 20, 5, 6},
                  {"logits", "f32[R,96]", 96, false, 0, 1 << 20, 6, 6}};
  plan.kv_layers = {{DType::kBF16, 2, 16, 64, 64 * 2 * 2 * 16 * 2, 0}};
  plan::Entry entry;
  entry.name = "step";
  entry.output = 7;
  const std::vector<std::vector<plan::Operand>> operands = {
      {{OperandKind::kArgument, 0}, {kWeight, 0}, {kBuffer, 0}},
      {{kBuffer, 1}, {kKv, 0}},
      {{kBuffer, 1}, {kKv, 0}, {kBuffer, 2}, {kBuffer, 3}},
      {{kBuffer, 2}, {kWeight, 1}, {kWeight, 2}, {kBuffer, 0}},
      {{kBuffer, 0}, {kWeight, 3}, {kBuffer, 4}},
      {{kBuffer, 4}, {kWeight, 4}, {kBuffer, 5}},
      {{kBuffer, 6}, {kWeight, 5}, {kBuffer, 7}}};
  for (size_t i = 0; i < operands.size(); ++i) {
    entry.launches.emplace_back();
    entry.launches.back().kernel = static_cast<uint32_t>(i);
    entry.launches.back().operands = operands[i];
  }
  plan.entries = {entry};
  return plan;
}

constexpr double kPosition = 2 * 2 * 16 * 2;  // bytes of one position's keys and values

std::vector<LaunchCost> Costs(const plan::Plan& plan, const StepShape& shape) {
  const absl::StatusOr<std::vector<LaunchCost>> costs = CountLaunches(plan, shape);
  EXPECT_TRUE(costs.ok()) << costs.status();
  return costs.ok() ? *costs : std::vector<LaunchCost>(7);
}

TEST(LaunchCostTest, ADecodingOfThreeTexts) {
  const std::vector<LaunchCost> costs = Costs(MakePlan(), {3, 1, 100});
  ASSERT_EQ(costs.size(), 7);
  // Three rows of the table, and of what is written.
  EXPECT_EQ(costs[0].bytes, 3 * 64 * 4 + 3 * 64 * 4);
  EXPECT_EQ(costs[0].operations, 0);
  EXPECT_EQ(costs[1].bytes, 3 * 64 * 2 + 3 * kPosition);
  // Of 101 positions each; the scores are its own affair.
  EXPECT_EQ(costs[2].bytes, 3 * 64 * 2 + 3 * 101 * kPosition + 3 * 64 * 4);
  EXPECT_EQ(costs[2].operations, 2 * 2 * 3 * 101 * 4 * 16);
  // A bias is read, and multiplied with nothing.
  EXPECT_EQ(costs[3].bytes, 3 * 64 * 4 + 64 * 64 * 2 + 64 * 4 + 3 * 64 * 4);
  EXPECT_EQ(costs[3].operations, 2 * 3 * 64 * 64);
  EXPECT_EQ(costs[4].bytes, 3 * 64 * 4 + 5000 + 3 * 32 * 4);
  EXPECT_EQ(costs[4].operations, 2 * 3 * (2 * 32) * 64);
  // Two of eight experts.
  EXPECT_EQ(costs[5].bytes, 3 * 32 * 4 + 2 * 4096 + 3 * 64 * 4);
  EXPECT_EQ(costs[5].operations, 2 * 3 * (2 * 32) * 64);
  EXPECT_EQ(costs[6].operations, 2 * 3 * 96 * 64);
}

TEST(LaunchCostTest, APromptPaysTheHeadForItsLastRow) {
  const std::vector<LaunchCost> costs = Costs(MakePlan(), {1, 10, 5});
  EXPECT_EQ(costs[2].operations, 2 * 2 * (6 + 7 + 8 + 9 + 10 + 11 + 12 + 13 + 14 + 15) * 4 * 16);
  EXPECT_EQ(costs[2].bytes, 10 * 64 * 2 + 15 * kPosition + 10 * 64 * 4);
  EXPECT_EQ(costs[3].operations, 2 * 10 * 64 * 64);
  EXPECT_EQ(costs[6].operations, 2 * 1 * 96 * 64);
  EXPECT_EQ(costs[6].bytes, 64 * 4 + 96 * 64 * 4 + 96 * 4);
}

TEST(LaunchCostTest, AWindowIsAllThatIsReadAndMultiplied) {
  plan::Plan plan = MakePlan();
  plan.kv_layers[0].window = 8;
  const std::vector<LaunchCost> costs = Costs(plan, {2, 1, 100});
  EXPECT_EQ(costs[2].operations, 2 * 2 * 2 * 8 * 4 * 16);
  EXPECT_EQ(costs[2].bytes, 2 * 64 * 2 + 2 * 8 * kPosition + 2 * 64 * 4);
}

TEST(LaunchCostTest, APlanWithoutAStepIsRefused) {
  EXPECT_EQ(CountLaunches(plan::Plan(), {}).status().message(),
            "plan: expected an entry \"step\", found none");
}

}  // namespace
}  // namespace ninfer::bench
