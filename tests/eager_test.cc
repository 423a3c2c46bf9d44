// The interpreter around its ops: threads, memory, the step's arguments, and random graphs.
#include "eager/eager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "eager/thread_pool.h"
#include "eager/workspace.h"
#include "ir/text.h"
#include "tests/support/memory_weights.h"
#include "tests/support/parse_module.h"
#include "tests/support/random_graph.h"

namespace ninfer::eager {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ThreadPool, EveryIndexIsVisitedOnceByPiecesOfTheGrainOrMore) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t count : {0, 1, 2, 5, 100}) {
      for (const int64_t grain : {1, 3, 1000}) {
        std::vector<std::atomic<int>> visits(count);
        pool.For(count, grain, [&](int64_t begin, int64_t end) {
          EXPECT_GE(end - begin, std::min(count, grain) / 2);
          for (int64_t i = begin; i < end; ++i) ++visits[i];
        });
        for (const auto& visit : visits) ASSERT_EQ(visit.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, ManyShortRangesWithPausesBetween) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 2000; ++i) {
    pool.For(3, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    if (i % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(sum.load(), 6000);
}

TEST(Workspace, BuffersAreUsedAgainAndBytesAliveAreCounted) {
  Workspace workspace;
  const float* first = nullptr;
  {
    const Tensor a = workspace.Floats({10, 100});
    first = a.floats->data();
    const Tensor b = workspace.Ints({7});
    EXPECT_EQ(workspace.peak_bytes(), 4000 + 28);
  }
  EXPECT_EQ(workspace.Floats({990}).floats->data(), first);
  workspace.ResetPeak();
  EXPECT_EQ(workspace.peak_bytes(), 0);
  Tensor outlives;
  {
    Workspace other;
    outlives = other.Floats({3});
  }
  EXPECT_EQ(outlives.floats->size(), 3u);
}

constexpr char kChain[] = R"(module "m" stage imported
dim T in [1, 16]
dim S in [1, 4]
dim R in [1, 8]
weight @e : f32[9,100]
func @step(%tokens: i32[T], %positions: i32[T], %seq_bounds: i32[S+1], %rows: i32[R]) {
  %0 = embedding %tokens, @e : f32[T,100]
  %1 = neg %0 : f32[T,100]
  %2 = neg %1 : f32[T,100]
  %3 = reshape %2 : f32[T,10,10]
  %4 = neg %3 : f32[T,10,10]
  %5 = reshape %4 : f32[T,100]
  %6 = gather_rows %5, %rows : f32[R,100]
  return %6
})";

TEST(Interpreter, TensorsAreFreedAfterTheirLastUse) {
  const ir::Module module = ParseModule(kChain);
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 4, 0.5f);
  auto interpreter = Interpreter::Create(&module, weights, 1);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  StepArguments arguments;
  arguments.tokens = {1, 2, 3, 4};
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE((*interpreter)->Run(arguments, nullptr).ok());
    EXPECT_EQ((*interpreter)->peak_scratch_bytes(), 2 * 4 * 100 * 4) << "two of them at a time";
  }
}

TEST(Interpreter, AbsentArgumentsAreDerivedAndWrongOnesNamed) {
  const ir::Module module = ParseModule(kChain);
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 4, 0.5f);
  auto interpreter = Interpreter::Create(&module, weights, 1);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  const auto run = [&](const StepArguments& arguments) {
    return (*interpreter)->Run(arguments, nullptr);
  };
  StepArguments good;
  good.tokens = {1, 2, 3};
  auto results = run(good);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_THAT(results->at(0).shape, ElementsAre(3, 100)) << "all rows";
  good.rows = {2, 0};
  results = run(good);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_THAT(results->at(0).shape, ElementsAre(2, 100));
  const auto message = [&](void (*spoil)(StepArguments&)) {
    StepArguments arguments = good;
    spoil(arguments);
    return std::string(run(arguments).status().message());
  };
  EXPECT_EQ(message([](StepArguments& a) { a.tokens.clear(); }),
            "tokens: expected at least one, found none");
  EXPECT_EQ(message([](StepArguments& a) { a.tokens.assign(17, 1); }), "T = 17: expected 1 to 16");
  EXPECT_EQ(message([](StepArguments& a) { a.tokens[1] = 9; }),
            "%_ = embedding %tokens, @e : f32[T,100]: id 9: expected 0 to 8");
  EXPECT_EQ(message([](StepArguments& a) {
              a.seq_bounds = {0, 2, 1, 3};
            }),
            "seq_bounds: expected numbers that ascend from 0 to 3");
  EXPECT_EQ(message([](StepArguments& a) {
              a.seq_bounds = {0, 2};
            }),
            "seq_bounds: expected numbers that ascend from 0 to 3");
  EXPECT_EQ(message([](StepArguments& a) { a.seq_bounds = {3}; }),
            "seq_bounds: expected numbers that ascend from 0 to 3");
  EXPECT_EQ(message([](StepArguments& a) { a.seq_bounds = {0, 0, 1, 2, 3, 3}; }),
            "S = 5: expected 1 to 4");
  EXPECT_EQ(message([](StepArguments& a) {
              a.positions = {0, 1};
            }),
            "positions: expected 3 numbers, found 2");
  EXPECT_EQ(message([](StepArguments& a) {
              a.cached_lens = {0, 0};
            }),
            "cached_lens: expected 1 numbers, found 2");
  EXPECT_EQ(message([](StepArguments& a) { a.rows = {3}; }), "rows: expected 0 to 2, found 3");
}

TEST(Interpreter, ModulesThatCannotRunAreRefused) {
  auto weights = std::make_shared<MemoryWeights>();
  ir::Module empty("nothing");
  EXPECT_EQ(Interpreter::Create(&empty, weights, 1).status().message(),
            "module \"nothing\": expected a function @step");
  const ir::Module module = ParseModule(kChain);
  EXPECT_THAT(Interpreter::Create(&module, weights, 1).status().message(), HasSubstr("e"));
  ir::Module strange("strange");
  ir::Function* step = strange.AddFunction("step");
  step->results() = {step->AddParameter("colour", {DType::kI32, {ir::Dim::Static(1)}})};
  auto interpreter = Interpreter::Create(&strange, weights, 1);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  StepArguments arguments;
  arguments.tokens = {1};
  EXPECT_EQ((*interpreter)->Run(arguments, nullptr).status().message(),
            "%colour: expected an argument of a step, such as tokens");
}

TEST(RunFunction, OperandsThatDoNotFitAreNamed) {
  const ir::Module module = ParseModule(R"(module "m" stage imported
dim T in [1, 16]
func @step(%x: f32[T,4], %y: f32[T,4]) {
  %0 = add %x, %y : f32[T,4]
  return %0
})");
  const ir::Function& step = *module.functions()[0];
  const Tensor two = Tensor::Floats({2, 4}, std::vector<float>(8));
  const Tensor three = Tensor::Floats({3, 4}, std::vector<float>(12));
  EXPECT_TRUE(RunFunction(step, module.symbols(), {two, two}).ok());
  EXPECT_EQ(RunFunction(step, module.symbols(), {two, three}).status().message(),
            "%y: expected f32[T,4], found [3,4]");
  EXPECT_EQ(RunFunction(step, module.symbols(), {two}).status().message(),
            "@step: expected 2 parameters, found 1");
  EXPECT_EQ(
      RunFunction(step, module.symbols(), {two, Tensor::Ints({2, 4}, std::vector<int32_t>(8))})
          .status()
          .message(),
      "%y: expected f32, found i32");
}

// Every kind of graph that the generator makes runs, gives numbers, and gives the same by one
// thread, by three, and for texts apart and together.
TEST(Interpreter, RandomGraphsGiveTheSameForTextsApartAndTogether) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const RandomGraph graph = MakeRandomGraph(seed);
    auto one = Interpreter::Create(&graph.module, graph.weights, 1);
    auto three = Interpreter::Create(&graph.module, graph.weights, 3);
    ASSERT_TRUE(one.ok() && three.ok()) << one.status() << "\n" << ir::Print(graph.module);
    StepArguments together;
    together.seq_bounds = {0};
    std::vector<float> apart;
    for (const int length : {3, 1, 9}) {
      StepArguments alone;
      for (int i = 0; i < length; ++i) {
        alone.tokens.push_back(static_cast<int32_t>((seed + i * 7 + length) % graph.vocab));
      }
      together.tokens.insert(together.tokens.end(), alone.tokens.begin(), alone.tokens.end());
      together.seq_bounds.push_back(static_cast<int32_t>(together.tokens.size()));
      auto y = (*one)->Run(alone, nullptr);
      ASSERT_TRUE(y.ok()) << y.status() << "\n" << ir::Print(graph.module);
      apart.insert(apart.end(), y->at(0).floats->begin(), y->at(0).floats->end());
    }
    auto y = (*three)->Run(together, nullptr);
    ASSERT_TRUE(y.ok()) << y.status() << "\n" << ir::Print(graph.module);
    ASSERT_EQ(y->at(0).floats->size(), apart.size());
    float largest = 0;
    for (const float x : apart) largest = std::max(largest, std::abs(x));
    for (size_t i = 0; i < apart.size(); ++i) {
      ASSERT_NEAR(y->at(0).floats->at(i), apart[i], 1e-5 * largest) << ir::Print(graph.module);
    }
  }
}

}  // namespace
}  // namespace ninfer::eager
