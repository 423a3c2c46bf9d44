// The operations of a step, against counts made by hand.
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "bench/count.h"
#include "frontend/frontend.h"
#include "frontend/presets.h"
#include "tests/test_data.h"

namespace ninfer::bench {
namespace {

// Width 8, 2 query heads and 1 KV head of 4, vocabulary 32; a bias that is itself a product of
// weights costs a step nothing.
constexpr char kTiny[] = R"(module "tiny" stage imported
dim T in [1, 16]
dim S in [1, 4]
weight @embed : f32[32,8]
weight @q : f32[8,8]
weight @k : f32[4,8]
weight @v : f32[4,8]
weight @norm : f32[8]
weight @a : f32[1,8]

func @step(%tokens: i32[T], %positions: i32[T], %seq_bounds: i32[S+1]) {
  %x = embedding %tokens, @embed : f32[T,8]
  %c = linear @a, @q : f32[1,8]
  %0 = linear %x, @q : f32[T,8]
  %1 = linear %x, @k : f32[T,4]
  %2 = linear %x, @v : f32[T,4]
  %3 = reshape %0 : f32[T,2,4]
  %4 = reshape %1 : f32[T,1,4]
  %5 = reshape %2 : f32[T,1,4]
  %6 = transpose %3 {perm = [1, 0, 2]} : f32[2,T,4]
  %7 = transpose %4 {perm = [1, 0, 2]} : f32[1,T,4]
  %8 = transpose %5 {perm = [1, 0, 2]} : f32[1,T,4]
  %9 = repeat %7 {axis = 0, times = 2} : f32[2,T,4]
  %10 = repeat %8 {axis = 0, times = 2} : f32[2,T,4]
  %11 = matmul %6, %9 {transpose_b = true} : f32[2,T,T]
  %12 = causal_mask %11, %positions, %seq_bounds, %seq_bounds : f32[2,T,T]
  %13 = softmax %12 : f32[2,T,T]
  %14 = matmul %13, %10 : f32[2,T,4]
  %15 = transpose %14 {perm = [1, 0, 2]} : f32[T,2,4]
  %16 = reshape %15 : f32[T,8]
  %17 = add %16, %c : f32[T,8]
  %18 = add %x, %17 : f32[T,8]
  %19 = rms_norm %18, @norm {eps = 1e-05} : f32[T,8]
  %20 = linear %19, @embed : f32[T,32]
  return %20
}
)";

TEST(CountTest, TellsRowsPairsAndHeadApart) {
  const absl::StatusOr<StepCost> cost = CountStep(std::string(kTiny));
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_EQ(cost->per_row, 2 * 8 * 8 + 2 * (2 * 8 * 4));
  ASSERT_EQ(cost->pairs.size(), 1);
  EXPECT_EQ(cost->pairs[0].window, 0);
  EXPECT_EQ(cost->pairs[0].operations, 2 * (2 * 2 * 4));
  EXPECT_EQ(cost->head, 2 * 8 * 32);
}

TEST(CountTest, FindsTheAttentionsShape) {
  const absl::StatusOr<StepCost> cost = CountStep(std::string(kTiny));
  ASSERT_TRUE(cost.ok()) << cost.status();
  ASSERT_TRUE(cost->attention.has_value());
  EXPECT_EQ(cost->attention->heads, 2);
  EXPECT_EQ(cost->attention->kv_heads, 1);
  EXPECT_EQ(cost->attention->head_dim, 4);
}

TEST(CountTest, PrefillIsCausalAndComputesTheHeadOnce) {
  StepCost cost;
  cost.per_row = 1000;
  cost.pairs = {{0, 10}};
  cost.head = 7;
  EXPECT_EQ(cost.Prefill(3, 0), 3 * 1000 + (1 + 2 + 3) * 10 + 7);
  EXPECT_EQ(cost.Prefill(3, 5), 3 * 1000 + (6 + 7 + 8) * 10 + 7);
}

TEST(CountTest, ARowSeesItsWindowAndNoMore) {
  for (int64_t window : {0, 1, 3, 8}) {
    for (int64_t depth : {0, 2, 9}) {
      for (int64_t rows : {1, 2, 7}) {
        double pairs = 0;
        for (int64_t position = depth; position < depth + rows; ++position) {
          pairs += static_cast<double>(window == 0 ? position + 1 : std::min(position + 1, window));
        }
        EXPECT_EQ(PairsSeen(rows, depth, window), pairs) << window << " " << depth << " " << rows;
      }
    }
  }
}

TEST(CountTest, BothProductsOfAttentionHaveTheWindowOfTheirMask) {
  const std::string masked = absl::StrReplaceAll(
      kTiny, {{"%12 = causal_mask %11, %positions, %seq_bounds, %seq_bounds :",
               "%s = mul %11, %11 : f32[2,T,T]\n"
               "  %12 = causal_mask %s, %positions, %seq_bounds, %seq_bounds {window = 3} :"}});
  const absl::StatusOr<StepCost> cost = CountStep(masked);
  ASSERT_TRUE(cost.ok()) << cost.status();
  ASSERT_EQ(cost->pairs.size(), 1);
  EXPECT_EQ(cost->pairs[0].window, 3);
  EXPECT_EQ(cost->pairs[0].operations, 2 * (2 * 2 * 4));
  // Four rows see 1 + 2 + 3 + 3 positions; all pairs would be 10.
  EXPECT_EQ(cost->Prefill(4, 0), 4 * cost->per_row + 9 * 32 + cost->head);
  EXPECT_EQ(cost->Decode(2, 9), 2 * (cost->per_row + 3 * 32 + cost->head));
}

TEST(CountTest, CountsTheChosenExperts) {
  const absl::StatusOr<StepCost> cost = CountStep(std::string(R"(module "tiny" stage imported
dim T in [1, 64]
weight @experts : f32[6,10,8]
weight @router : f32[6,8]

func @step(%tokens: i32[T], %x: f32[T,8]) {
  %0 = linear %x, @router : f32[T,6]
  %1 = top_k %0 {k = 2} : i32[T,2]
  %2 = grouped_linear %x, @experts, %1 : f32[T,2,10]
  return %2
}
)"));
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_EQ(cost->per_row + cost->head, 2 * 6 * 8 + 2 * 2 * 10 * 8);
}

TEST(CountTest, RefusesATextWithoutAStep) {
  const absl::StatusOr<StepCost> cost = CountStep(ir::Module("empty"));
  EXPECT_EQ(cost.status().message(), "graph: expected a function @step, found none");
}

// 12 layers of 12 * 768^2 parameters in linears, two products of 768 for each pair and layer, a
// head of 50257 x 768: GPT-2 124M's figures by hand. Conv1D's transposes are of weights alone and
// cost nothing.
TEST(CountTest, CountsGpt2AsItsPaperWould) {
  const frontend::Preset* preset = frontend::FindPreset("gpt2-124m");
  ASSERT_NE(preset, nullptr);
  absl::StatusOr<frontend::ImportedModel> model =
      frontend::ImportRandomModel("gpt2-124m", preset->config_json, DType::kF32, 0, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const absl::StatusOr<StepCost> cost = CountStep(model->module);
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_EQ(cost->per_row, 2.0 * 12 * 12 * 768 * 768);
  ASSERT_EQ(cost->pairs.size(), 1);
  EXPECT_EQ(cost->pairs[0].operations, 2.0 * 12 * 2 * 768);
  EXPECT_EQ(cost->head, 2.0 * 50257 * 768);
  EXPECT_EQ(cost->attention->kv_heads, 12);
}

}  // namespace
}  // namespace ninfer::bench
