// The executor on a toy plan: equal results for any number of threads, chunks, sequences and pages,
// and refusal of what does not fit.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "absl/strings/match.h"
#include "base/file.h"
#include "plan/validate.h"
#include "runtime/cpu_executor.h"
#include "runtime/session.h"
#include "tests/runtime_example.h"

namespace ninfer::runtime {
namespace {

std::unique_ptr<CpuExecutor> MakeToy(int threads, int64_t pages = 16, TensorDump* dump = nullptr) {
  CpuExecutorOptions options;
  options.threads = threads;
  options.total_pages = pages;
  options.dump = dump;
  auto executor = CpuExecutor::Create(ToyPlan(), options);
  EXPECT_TRUE(executor.ok()) << executor.status();
  return std::move(executor).value();
}

std::vector<int32_t> Text(int length, int seed) {
  std::vector<int32_t> text(length);
  for (int i = 0; i < length; ++i) text[i] = (i * i + 3 * i + seed) % kToyVocab;
  return text;
}

// A text that is being computed, and its pages.
struct Sequence {
  std::vector<int32_t> text;
  std::vector<int32_t> pages;
  int cached = 0;
};

// One step that appends counts[s] tokens to each sequence; returns the logits of each last row.
std::vector<std::vector<float>> Step(CpuExecutor* executor, std::vector<Sequence*> sequences,
                                     std::vector<int> counts) {
  std::vector<int32_t> tokens, positions, bounds = {0}, cached, pages, rows, rope;
  for (size_t s = 0; s < sequences.size(); ++s) {
    Sequence& sequence = *sequences[s];
    cached.push_back(sequence.cached);
    for (int i = 0; i < counts[s]; ++i) {
      tokens.push_back(sequence.text[sequence.cached]);
      positions.push_back(sequence.cached++);
      rope.push_back(sequence.cached);
    }
    bounds.push_back(static_cast<int32_t>(tokens.size()));
    rows.push_back(bounds.back() - 1);
    std::vector<int32_t> row = sequence.pages;
    row.resize(kToyPages, -1);  // never looked at
    pages.insert(pages.end(), row.begin(), row.end());
  }
  std::vector<float> logits(rows.size() * kToyVocab);
  const absl::Status status =
      executor->Step({tokens, positions, bounds, cached, pages, rows, rope}, logits.data());
  EXPECT_TRUE(status.ok()) << status;
  std::vector<std::vector<float>> result;
  for (size_t r = 0; r < rows.size(); ++r) {
    result.emplace_back(logits.begin() + r * kToyVocab, logits.begin() + (r + 1) * kToyVocab);
  }
  return result;
}

TEST(CpuExecutor, TheToyPlanIsValid) {
  EXPECT_TRUE(plan::Validate(ToyPlan()->plan, "toy").ok())
      << plan::Validate(ToyPlan()->plan, "toy");
}

TEST(CpuExecutor, LimitsComeFromThePlan) {
  const auto executor = MakeToy(1);
  const ExecutorLimits& limits = executor->limits();
  EXPECT_EQ(limits.max_tokens, kToyTokens);
  EXPECT_EQ(limits.max_sequences, kToySequences);
  EXPECT_EQ(limits.max_rows, kToyRows);
  EXPECT_EQ(limits.pages_per_sequence, kToyPages);
  ASSERT_EQ(limits.kv_groups.size(), 1);
  EXPECT_EQ(limits.kv_groups[0].window, 0);
  EXPECT_EQ(limits.kv_groups[0].total_pages, 16);
  EXPECT_EQ(limits.kv_groups[0].pages_held, kToyPages);
  EXPECT_EQ(limits.context_length, kToyContext);
  EXPECT_EQ(MakeToy(2)->description(), "compiled toy, 2 threads");
}

TEST(CpuExecutor, AnyThreadsAndChunksGiveTheSameLogits) {
  for (int threads : {1, 2, 3, 7}) {
    const auto executor = MakeToy(threads);
    for (int chunk : {1, 2, 3, 16, 24}) {
      Sequence sequence{Text(150, 1), {5, 2, 9}, 0};
      std::vector<float> last;
      while (sequence.cached < 150) {
        last = Step(executor.get(), {&sequence}, {std::min(chunk, 150 - sequence.cached)})[0];
      }
      EXPECT_EQ(last, ToyLogits(sequence.text)) << threads << " threads, chunks of " << chunk;
    }
  }
}

TEST(CpuExecutor, SequencesOfUnequalLengthsOnShuffledPagesDoNotDisturbEachOther) {
  for (int threads : {1, 2}) {
    const auto executor = MakeToy(threads);
    Sequence a{Text(70, 1), {7, 0}, 0}, b{Text(3, 2), {15}, 0}, c{Text(134, 3), {3, 11, 4}, 0};
    Step(executor.get(), {&c}, {24});
    Step(executor.get(), {&c, &a}, {4, 20});
    while (c.cached < 120) Step(executor.get(), {&c}, {12});
    while (a.cached < 69) Step(executor.get(), {&a}, {1});
    Step(executor.get(), {&b, &c}, {2, 9});
    const auto logits = Step(executor.get(), {&a, &b, &c}, {1, 1, 1});
    EXPECT_EQ(logits[0], ToyLogits(a.text));
    EXPECT_EQ(logits[1], ToyLogits(b.text));
    EXPECT_EQ(logits[2], ToyLogits(c.text));
  }
}

TEST(CpuExecutor, LaunchesAreTimedInTheirOrderWhileThatIsAskedFor) {
  for (int threads : {1, 3}) {
    const auto executor = MakeToy(threads);
    const size_t launches = executor->plan().plan.entries[0].launches.size();
    Sequence sequence{Text(6, 1), {0}, 0};
    LaunchTimes times;
    executor->TimeLaunches(&times);
    const auto logits = Step(executor.get(), {&sequence}, {5});
    EXPECT_EQ(logits[0], ToyLogits({sequence.text.begin(), sequence.text.begin() + 5}));
    ASSERT_EQ(times.threads.size(), threads);
    for (const std::vector<LaunchTimes::Span>& spans : times.threads) {
      ASSERT_EQ(spans.size(), launches);
      int64_t before = 1;  // a clock that had not been asked would say 0
      for (const LaunchTimes::Span& span : spans) {
        EXPECT_LE(before, span.begin);
        EXPECT_LE(span.begin, span.end);
        before = span.end;
      }
    }
    const int64_t end = times.threads[0].back().end;
    executor->TimeLaunches(nullptr);
    Step(executor.get(), {&sequence}, {1});
    EXPECT_EQ(times.threads[0].back().end, end);
  }
}

TEST(CpuExecutor, ABarrierOfPrefillStandsWhereASequenceHasSeveralRows) {
  const auto executor = MakeToy(2);
  ASSERT_EQ(executor->plan().plan.entries[0].launches[2].barrier, plan::Barrier::kPrefill);
  LaunchTimes times;
  executor->TimeLaunches(&times);
  Sequence a{Text(150, 1), {0, 1, 2}, 0}, b{Text(150, 2), {3, 4, 5}, 0};
  const auto expect_met = [&times](const char* step) {
    const int64_t end = std::max(times.threads[0][1].end, times.threads[1][1].end);
    for (int thread : {0, 1}) EXPECT_LE(end, times.threads[thread][2].begin) << step;
  };
  for (int i = 0; i < 10; ++i) {
    Step(executor.get(), {&a}, {2});
    expect_met("few rows");
    Step(executor.get(), {&a, &b}, {1, 11});
    expect_met("many rows");
  }
}

TEST(CpuExecutor, AllRowsThatAreWantedComeInOrder) {
  const auto executor = MakeToy(2);
  const std::vector<int32_t> text = Text(10, 4);
  std::vector<int32_t> positions(10), rope(10, 10), rows = {0, 3, 4, 9}, pages(kToyPages, 0);
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int32_t> bounds = {0, 10}, cached = {0};
  std::vector<float> logits(4 * kToyVocab);
  ASSERT_TRUE(
      executor->Step({text, positions, bounds, cached, pages, rows, rope}, logits.data()).ok());
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::vector<float> row(logits.begin() + r * kToyVocab,
                                 logits.begin() + (r + 1) * kToyVocab);
    EXPECT_EQ(row, ToyLogits({text.begin(), text.begin() + rows[r] + 1}));
  }
}

TEST(CpuExecutor, ASessionRunsOnIt) {
  const auto executor = MakeToy(2);
  Session session(executor.get(), nullptr);
  GenerateOptions options;
  options.max_tokens = 40;
  options.ignore_eos = true;
  options.all_logits = true;
  const auto result = session.Generate({1, 2, 3}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  std::vector<int32_t> text = {1, 2, 3};
  for (int32_t id : result->ids) {
    const std::vector<float> logits = ToyLogits(text);
    EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
    text.push_back(id);
  }
  EXPECT_EQ(result->logits.size(), 43 * kToyVocab);
}

TEST(CpuExecutor, BytesPerTokenCountWeightsOnceAndOneRowOfATable) {
  const auto executor = MakeToy(1);
  EXPECT_EQ(executor->BytesPerToken(0), 5 * 4 + 20);
  EXPECT_EQ(executor->BytesPerToken(32), 5 * 4 + 20 + 32 * 4);
  EXPECT_GE(executor->scratch_bytes(), 4096);
}

TEST(CpuExecutor, ATakenPageIsCleared) {
  const auto executor = MakeToy(1);
  Sequence sequence{Text(3, 1), {2}, 0};
  Step(executor.get(), {&sequence}, {3});
  executor->ClearPage(0, 2);
  executor->ClearPage(0, 2);
  executor->ClearPage(0, -1);
  executor->ClearPage(0, 16);
  executor->ClearPage(1, 2);
  executor->ClearPage(-1, 2);
  Sequence again{{0, 0, 0, 1}, {2}, 3};  // claims three cached positions, which are zero now
  const std::vector<float> logits = Step(executor.get(), {&again}, {1})[0];
  EXPECT_EQ(logits, ToyLogits({1}));
}

TEST(CpuExecutor, BuffersAreDumpedAsTheyWereWritten) {
  auto dump = TensorDump::Create("^(hidden|sums)$");
  ASSERT_TRUE(dump.ok());
  const auto executor = MakeToy(2, 16, dump->get());
  Sequence sequence{Text(8, 1), {2}, 0};
  Step(executor.get(), {&sequence}, {6});
  Step(executor.get(), {&sequence}, {2});
  const std::string path = JoinPath(GetEnv("TEST_TMPDIR", "."), "dump.safetensors");
  ASSERT_TRUE((*dump)->Write(path).ok());
  const std::string bytes = ReadFile(path).value();
  EXPECT_TRUE(
      absl::StrContains(bytes, R"("hidden":{"dtype":"F32","shape":[8,5],"data_offsets":[0,160]})"))
      << bytes.substr(8, 200);
  EXPECT_TRUE(
      absl::StrContains(bytes, R"("sums":{"dtype":"F32","shape":[8],"data_offsets":[160,192]})"));
}

absl::Status CreateWith(const std::function<void(plan::Plan&)>& spoil) {
  auto loaded = ToyPlan();
  spoil(loaded->plan);
  return CpuExecutor::Create(loaded, {.threads = 1}).status();
}

TEST(CpuExecutor, APlanThatItCannotRunIsRefused) {
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.entries[0].name = "vision"; }).message(),
            "plan: expected an entry \"step\", found none");
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.entries[0].arguments[0] = "pixels"; }).message(),
            "plan: argument pixels: expected a known one");
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.symbols[0].name = std::string("Q"); }).message(),
            "plan: symbol Q: expected one of T, S, R, G, C");
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.buffers[2].type = "bf16[R,5]"; }).message(),
            "plan: output: expected f32[rows,5], found bf16[R,5]");
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.buffers[2].bytes = 64; }).message(),
            "plan: output: expected 8 rows of 5, found 64 bytes of rows of 32");
  EXPECT_EQ(
      CreateWith([](plan::Plan& p) { p.entries[0].argmax = 2; }).message(),
      "plan: argmax: expected a shared i32[R] of 8 rows, found f32[R,5] of 1024 bytes, ld 32");
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.metadata.has_kv_cache = false; }).message(),
            "plan: expected no cache, found one of 1 layers");
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.symbols[0].max = int64_t{1} << 30; }).message(),
            "plan: symbols: expected at most 268435456 values in a step's arguments");
  EXPECT_EQ(CreateWith([](plan::Plan& p) { p.images.clear(); }).message(),
            "plan: the plan has no code");
  EXPECT_EQ(
      CreateWith([](plan::Plan& p) { p.images[0].required_features = {"avx9000"}; }).message(),
      "plan: code for toy needs avx9000, which this CPU lacks");
}

TEST(CpuExecutor, ACacheThatDoesNotFitIsRefused) {
  CpuExecutorOptions options;
  options.total_pages = int64_t{1} << 50;
  EXPECT_EQ(CpuExecutor::Create(ToyPlan(), options).status().message(),
            "cache: expected at most 16777216 pages, found 1125899906842624");
  // As many bytes as 64 bits just do not hold.
  const auto plan = ToyPlan();
  plan->plan.kv_layers[0].page_bytes = int64_t{1} << 40;
  options.total_pages = int64_t{1} << 24;
  EXPECT_EQ(CpuExecutor::Create(plan, options).status().message(),
            "cache: expected at most 70368744177664 bytes, found 16777216 pages of 1099511627776");
}

}  // namespace
}  // namespace ninfer::runtime
