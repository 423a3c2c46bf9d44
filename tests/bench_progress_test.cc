// What a run of the benchmark tells while it goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "bench/progress.h"

namespace ninfer::bench {
namespace {

using ::testing::ElementsAre;

TEST(ProgressTest, EveryRowIsShownBeforeAndToldBehindItsMeasurement) {
  std::vector<std::string> said;
  Progress progress(
      4,
      [&](absl::string_view row, double done) { said.push_back(absl::StrCat(row, " at ", done)); },
      [&](absl::string_view line) { said.emplace_back(line); });
  progress.Begin("a");
  progress.End("1 tok/s");
  progress.Skip(1);
  progress.Begin("b");
  progress.End("2 tok/s");
  EXPECT_THAT(said, ElementsAre("a at 0", "1 of 4: a: 1 tok/s", "b at 0.5", "3 of 4: b: 2 tok/s"));
}

TEST(ProgressTest, NeedsNobodyWhoListens) {
  Progress progress(1, nullptr, nullptr);
  progress.Begin("a");
  progress.End("b");
}

}  // namespace
}  // namespace ninfer::bench
