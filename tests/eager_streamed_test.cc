// Weights that are converted while an op reads them: the same bits as from copies that are held, in
// memory that does not grow with the model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "eager/eager.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "tests/support/memory_weights.h"
#include "tests/support/random_graph.h"

namespace ninfer::eager {
namespace {

using ::testing::HasSubstr;

ir::Module ParseModule(const std::string& text) {
  auto module = ir::Parse(text, "test.ir");
  EXPECT_TRUE(module.ok()) << module.status();
  const absl::Status status = ir::Verify(*module);
  EXPECT_TRUE(status.ok()) << status;
  return *std::move(module);
}

StepArguments Tokens(std::vector<int32_t> tokens) {
  StepArguments arguments;
  arguments.tokens = std::move(tokens);
  return arguments;
}

// A tied table, a norm, linears that are stored either way, joined, cut and cast, in and out of a
// region; @w3 in an op that takes the whole of it, @e as a result.
constexpr char kModel[] = R"(module "m" stage fused
dim T in [1, 32]
weight @e : bf16[450,64]
weight @n : bf16[64]
weight @w1 : f16[64,200]
weight @w2 : f32[96,64]
weight @w3 : bf16[64,296]
func @step(%tokens: i32[T]) {
  %x = embedding %tokens, @e : f32[T,64]
  %h = rms_norm %x, @n {eps = 1e-05} : f32[T,64]
  %t = transpose @w1 {perm = [1, 0]} : f16[200,64]
  %t32 = cast %t : f32[200,64]
  %j = concat %t32, @w2 {axis = 0} : f32[296,64]
  %a = linear %h, %j : f32[T,296]
  %w3t = transpose @w3 {perm = [1, 0]} : bf16[296,64]
  %b = linear %h, %w3t : f32[T,296]
  %c = add %a, %b : f32[T,296]
  %d = linear %c, @w3 : f32[T,64]
  %w = cast @w3 : f32[64,296]
  %p = mul %w, %w : f32[64,296]
  %q = linear %c, %p : f32[T,64]
  %s = add %d, %q : f32[T,64]
  %r = fused(%u = %s, %v = @e) {family = "linear"} {
    %y = linear %u, %v : f32[T,450]
    %z = tanh %y : f32[T,450]
    return %z
  } : f32[T,450]
  return %r, @e
})";

TEST(StreamedWeights, GiveTheBitsThatHeldOnesGive) {
  const ir::Module module = ParseModule(kModel);
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 5, 0.3f);
  for (const int threads : {1, 3}) {
    auto held = Interpreter::Create(&module, weights, threads);
    auto streamed = Interpreter::Create(&module, weights, threads, WeightCopies::kStreamed);
    ASSERT_TRUE(held.ok() && streamed.ok()) << held.status() << streamed.status();
    for (const auto& tokens : {std::vector<int32_t>{449}, {0, 17, 17, 448, 3, 9, 30, 200, 1}}) {
      auto expected = (*held)->Run(Tokens(tokens), nullptr);
      auto found = (*streamed)->Run(Tokens(tokens), nullptr);
      ASSERT_TRUE(expected.ok() && found.ok()) << expected.status() << found.status();
      ASSERT_EQ(found->size(), 2u);
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(found->at(i).shape, expected->at(i).shape);
        EXPECT_EQ(*found->at(i).floats, *expected->at(i).floats) << "result " << i;
      }
    }
  }
}

TEST(StreamedWeights, OfRandomGraphsGiveTheBitsThatHeldOnesGive) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const RandomGraph graph = MakeRandomGraph(seed);
    auto held = Interpreter::Create(&graph.module, graph.weights, 2);
    auto streamed = Interpreter::Create(&graph.module, graph.weights, 2, WeightCopies::kStreamed);
    ASSERT_TRUE(held.ok() && streamed.ok()) << held.status() << streamed.status();
    const StepArguments arguments = Tokens({0, 1, static_cast<int32_t>(graph.vocab - 1)});
    auto expected = (*held)->Run(arguments, nullptr);
    auto found = (*streamed)->Run(arguments, nullptr);
    ASSERT_TRUE(expected.ok() && found.ok()) << expected.status() << found.status();
    ASSERT_EQ(*found->at(0).floats, *expected->at(0).floats) << ir::Print(graph.module);
  }
}

// Eight layers of equal weights, and a table that linears read as well.
ir::Module DeepModule() {
  std::string text = "module \"m\" stage imported\ndim T in [1, 32]\nweight @e : bf16[4096,128]\n";
  for (int i = 0; i < 8; ++i) absl::StrAppend(&text, "weight @w", i, " : bf16[128,128]\n");
  absl::StrAppend(&text, "func @step(%tokens: i32[T]) {\n",
                  "  %x0 = embedding %tokens, @e : f32[T,128]\n");
  for (int i = 0; i < 8; ++i) {
    absl::StrAppend(&text, "  %x", i + 1, " = linear %x", i, ", @w", i, " : f32[T,128]\n");
  }
  absl::StrAppend(&text, "  %y = linear %x8, @e : f32[T,4096]\n  return %y\n}\n");
  return ParseModule(text);
}

TEST(StreamedWeights, TakeNoMoreMemoryAtATimeThanTheLargestOfThem) {
  const ir::Module module = DeepModule();
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 5, 0.1f);
  const int64_t largest = 4096 * 128 * 4, all = largest + 8 * 128 * 128 * 4;
  auto held = Interpreter::Create(&module, weights, 2);
  auto streamed = Interpreter::Create(&module, weights, 2, WeightCopies::kStreamed);
  ASSERT_TRUE(held.ok() && streamed.ok()) << held.status() << streamed.status();
  EXPECT_GE((*held)->peak_weight_bytes(), all);
  EXPECT_EQ((*streamed)->peak_weight_bytes(), 0) << "before the first step";
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE((*streamed)->Run(Tokens({4095, 2, 3}), nullptr).ok());
    EXPECT_GT((*streamed)->peak_weight_bytes(), 0);
    EXPECT_LE((*streamed)->peak_weight_bytes(), largest);
  }
}

// Tiles do not grow with the number of rows.
TEST(StreamedWeights, OfATableTakeTheMemoryOfTiles) {
  int64_t peaks[2];
  for (int i = 0; i < 2; ++i) {
    const int64_t rows = i == 0 ? 16384 : 65536;
    const ir::Module module = ParseModule(absl::StrCat(
        "module \"m\" stage imported\ndim T in [1, 32]\nweight @e : bf16[", rows, ",64]\n",
        "func @step(%tokens: i32[T]) {\n  %x = embedding %tokens, @e : f32[T,64]\n",
        "  %y = linear %x, @e : f32[T,", rows, "]\n  return %y\n}\n"));
    auto weights = std::make_shared<MemoryWeights>();
    weights->AddRandom(module, 5, 0.1f);
    auto streamed = Interpreter::Create(&module, weights, 1, WeightCopies::kStreamed);
    ASSERT_TRUE(streamed.ok()) << streamed.status();
    ASSERT_TRUE((*streamed)->Run(Tokens({1, 2}), nullptr).ok());
    peaks[i] = (*streamed)->peak_weight_bytes();
  }
  EXPECT_EQ(peaks[0], peaks[1]);
}

TEST(StreamedWeights, ThatAreMissingOrOfAnotherTypeAreRefusedBeforeTheFirstStep) {
  const ir::Module module = ParseModule(kModel);
  for (const char* name : {"e", "w1", "w2", "w3"}) {
    auto weights = std::make_shared<MemoryWeights>();
    weights->Add(name, DType::kF32, {2, 2}, std::vector<float>(4));
    weights->AddRandom(module, 5, 0.3f);
    const auto streamed = Interpreter::Create(&module, weights, 2, WeightCopies::kStreamed);
    EXPECT_THAT(streamed.status().message(), HasSubstr(absl::StrCat("@", name, ": expected ")));
    EXPECT_THAT(streamed.status().message(), HasSubstr("found f32[2,2]"));
  }
}

TEST(StreamedWeights, NameAnIdOutsideTheTable) {
  const ir::Module module = DeepModule();
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 5, 0.1f);
  auto streamed = Interpreter::Create(&module, weights, 2, WeightCopies::kStreamed);
  ASSERT_TRUE(streamed.ok()) << streamed.status();
  EXPECT_THAT((*streamed)->Run(Tokens({4096}), nullptr).status().message(),
              HasSubstr("id 4096: expected 0 to 4095"));
}

}  // namespace
}  // namespace ninfer::eager
