// The executor of CUDA cards, on the host shim in place of the driver: steps of several texts on
// shuffled pages, in buckets and beyond them, against the CPU's.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/status.h"
#include "runtime/sampling/sampling.h"
#include "tests/compiler_testing.h"
#include "tests/cuda_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

struct Engines {
  std::unique_ptr<runtime::Executor> cpu, card;
};

absl::StatusOr<Engines> MakeEngines(const Json& changes = Json::object()) {
  cuda::UseHostShim();
  testing::TemporaryFolder folder;
  testing::TinyOptions tiny;
  tiny.context = 320;
  testing::WriteModel(folder.path(), testing::TinyLlama(tiny));
  Json options = ExactOptions(folder.path());
  options["targets"] = {"native", "cuda:sm_90"};
  options["max_sequences"] = 4;
  options.update(changes);
  NINFER_ASSIGN_OR_RETURN(auto plan, CompileInPlace(options));
  Engines engines;
  NINFER_ASSIGN_OR_RETURN(engines.cpu, Execute(plan, 2, 24));
  NINFER_ASSIGN_OR_RETURN(engines.card, cuda::ExecuteOnShim(plan, 24));
  return engines;
}

// The step itself finds the ids of its largest logits.
void ExpectIdsOf(runtime::Executor& executor, const runtime::StepInput& input,
                 const std::vector<float>& logits) {
  const size_t vocab = executor.metadata().vocab_size;
  std::vector<int32_t> ids(input.rows.size());
  ASSERT_EQ(executor.StepGreedy(input, ids.data()), absl::OkStatus());
  for (size_t row = 0; row < ids.size(); ++row) {
    const auto own = absl::MakeConstSpan(logits).subspan(row * vocab, vocab);
    EXPECT_EQ(ids[row], runtime::FirstLargest(own)) << "row " << row;
  }
}

// A step of texts, each from its cached length on; text s has the pages 5 - s, 9 - s, ...
struct Piece {
  int text, begin, end;
};
void ExpectSameLogits(const Engines& engines, const std::vector<Piece>& pieces) {
  const runtime::ExecutorLimits& limits = engines.cpu->limits();
  const int64_t vocab = engines.cpu->metadata().vocab_size;
  std::vector<int32_t> tokens, positions, bounds = {0}, cached, table, rows;
  for (const Piece& piece : pieces) {
    for (int i = piece.begin; i < piece.end; ++i) {
      tokens.push_back(static_cast<int32_t>((i * 7 + piece.text * 31) % vocab));
      positions.push_back(i);
    }
    bounds.push_back(static_cast<int32_t>(tokens.size()));
    cached.push_back(piece.begin);
    rows.push_back(static_cast<int32_t>(tokens.size()) - 1);
    for (int64_t i = 0; i < limits.pages_per_sequence; ++i) {
      table.push_back(static_cast<int32_t>(3 - piece.text + 4 * i));
    }
  }
  const std::vector<int32_t> lengths(tokens.size(), pieces[0].end);
  const runtime::StepInput input{tokens, positions, bounds, cached, table, rows, lengths};
  std::vector<float> expected(rows.size() * vocab), found(expected);
  ASSERT_EQ(engines.cpu->Step(input, expected.data()), absl::OkStatus());
  ASSERT_EQ(engines.card->Step(input, found.data()), absl::OkStatus());
  float largest = 0, error = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    ASSERT_TRUE(std::isfinite(found[i])) << i;
    error = std::max(error, std::fabs(expected[i] - found[i]));
  }
  EXPECT_LE(error, 2e-5 * largest);
  ExpectIdsOf(*engines.cpu, input, expected);
  ExpectIdsOf(*engines.card, input, found);
}

void RunTexts(const Engines& engines) {
  for (int page = 0; page < 24; ++page) engines.cpu->ClearPage(0, page);
  ExpectSameLogits(engines, {{0, 0, 71}, {1, 0, 3}, {2, 0, 1}});   // too many to record
  ExpectSameLogits(engines, {{1, 3, 4}});                          // buckets of 1,
  ExpectSameLogits(engines, {{0, 71, 72}, {1, 4, 5}, {2, 1, 2}});  // 3 in one of 4,
  ExpectSameLogits(engines, {{2, 2, 3}, {3, 0, 2}, {0, 72, 73}});  // 4, others in it,
  ExpectSameLogits(engines, {{3, 2, 9}, {1, 5, 7}});               // 9 past the few
  ExpectSameLogits(engines, {{1, 7, 8}});                          // and again 1
}

TEST(CudaDriver, StepsOfSeveralTextsAreTheCpus) {
  const auto engines = MakeEngines();
  ASSERT_TRUE(engines.ok()) << engines.status();
  RunTexts(*engines);
}

TEST(CudaDriver, WeightsOfIntegersAreReadInTheCardsTiles) {
  const auto engines = MakeEngines({{"weights", "int4"}});
  ASSERT_TRUE(engines.ok()) << engines.status();
  RunTexts(*engines);
}

TEST(CudaDriver, AStepOutsideTheLimitsIsRefused) {
  const auto engines = MakeEngines();
  ASSERT_TRUE(engines.ok()) << engines.status();
  const std::vector<int32_t> token = {0}, far = {1000}, bounds = {0, 1}, row = {0};
  const std::vector<int32_t> table(engines->card->limits().pages_per_sequence, 0);
  std::vector<float> logits(engines->card->metadata().vocab_size);
  EXPECT_FALSE(
      engines->card->Step({token, far, bounds, far, table, row, token}, logits.data()).ok());
}

TEST(CudaDriver, TheNewestCodeOfTheGenerationIsChosenAndPtxWhereThereIsNone) {
  plan::Plan plan;
  EXPECT_EQ(cuda::ChooseImage(plan, 90), nullptr);
  plan.cards.emplace().images = {{"sm_80", 80, false, "a"},
                                 {"sm_86", 86, false, "b"},
                                 {"sm_90", 90, false, "c"},
                                 {"sm_90", 90, true, "d"}};
  const auto chosen = [&plan](int capability) -> std::string {
    const plan::CardImage* image = cuda::ChooseImage(plan, capability);
    return image == nullptr ? "" : image->bytes;
  };
  EXPECT_EQ(chosen(75), "");
  EXPECT_EQ(chosen(80), "a");
  EXPECT_EQ(chosen(89), "b");
  EXPECT_EQ(chosen(90), "c");
  EXPECT_EQ(chosen(120), "d");
  cuda::Card card;
  card.name = "old";
  card.capability = 75;
  EXPECT_EQ(cuda::MissingImage(plan, card),
            "cuda:0 (old): expected code for sm_75, found sm_80, sm_86, sm_90, PTX for sm_90");
}

}  // namespace
}  // namespace ninfer::compiler
