// A folder's plan that runs before it is finished, over a library that answers as the tests need.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "runtime/compilation.h"
#include "runtime/cpu_executor.h"
#include "runtime/session.h"

namespace ninfer::runtime {
namespace {

using testing::ElementsAre;

class CompilationTest : public testing::Test {
 protected:
  CompilationTest() : library_(*CompilerLibrary::OpenFile(FAKE_COMPILER)) {
    callbacks_.log = [this](absl::string_view line) { lines_.emplace_back(line); };
  }

  absl::StatusOr<std::unique_ptr<Compilation>> Start(const std::string& model,
                                                     Compilation::Keep keep = nullptr) {
    return Compilation::Start(library_.get(), "{\"model\":\"" + model + "\"}", callbacks_, keep);
  }

  std::unique_ptr<CompilerLibrary> library_;
  CompilerCallbacks callbacks_;
  std::vector<std::string> lines_;
};

TEST_F(CompilationTest, WhatIsLinkedRunsWhileThePlanIsFinished) {
  std::promise<void> has_run;
  std::shared_future<void> ran = has_run.get_future().share();
  bool kept = false;
  auto compilation = Start("toy", [&](const plan::LoadedPlan& plan) {
    ran.wait();
    kept = plan.plan.metadata.vocab_size > 0;
    return absl::OkStatus();
  });
  ASSERT_TRUE(compilation.ok()) << compilation.status();
  auto linked = std::make_shared<const plan::LoadedPlan>((*compilation)->TakeLinked());
  auto executor = CpuExecutor::Create(linked, {.threads = 1});
  ASSERT_TRUE(executor.ok()) << executor.status();
  EXPECT_TRUE(Session(executor->get(), nullptr).Generate({1, 2}, {}).ok());
  has_run.set_value();
  const auto finished = (*compilation)->Finish();
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_TRUE(kept);
  EXPECT_EQ((*finished)->weights, linked->weights);
  compilation->reset();
  // The weights are the plan's, though the compilation is gone.
  EXPECT_TRUE(Session(executor->get(), nullptr).Generate({1, 2}, {}).ok());
}

TEST_F(CompilationTest, WhatIsSaidBehindLinkingWaitsForTheText) {
  auto compilation = Start("toy");
  ASSERT_TRUE(compilation.ok()) << compilation.status();
  EXPECT_THAT(lines_, ElementsAre("at work"));
  EXPECT_TRUE((*compilation)->Finish().ok());
  EXPECT_THAT(lines_, ElementsAre("at work", "evidence"));
}

TEST_F(CompilationTest, CodeThatDoesNotDoWhatItsGraphSaysIsAnErrorAndNotKept) {
  bool kept = false;
  auto compilation = Start("wrong", [&](const plan::LoadedPlan&) {
    kept = true;
    return absl::OkStatus();
  });
  ASSERT_TRUE(compilation.ok()) << compilation.status();
  EXPECT_EQ((*compilation)->Finish().status().message(), "the plan does not agree with its graph");
  EXPECT_FALSE(kept);
}

TEST_F(CompilationTest, WhatEndsBeforeLinkingIsRefusedAtOnce) {
  EXPECT_EQ(Start("bad").status().message(), "bad/config.json: expected {, found [");
  callbacks_.cancelled = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(Start("toy").status()));
}

TEST_F(CompilationTest, WhatIsNotFinishedIsLeft) {
  bool kept = false;
  {
    auto compilation = Start("slow", [&](const plan::LoadedPlan&) {
      kept = true;
      return absl::OkStatus();
    });
    ASSERT_TRUE(compilation.ok()) << compilation.status();
  }
  EXPECT_FALSE(kept);
}

TEST_F(CompilationTest, WhatIsCancelledBehindLinkingIsNotKeptAndSaysSo) {
  std::atomic<bool> cancelled{false};
  callbacks_.cancelled = [&] { return cancelled.load(); };
  auto compilation = Start("slow");
  ASSERT_TRUE(compilation.ok()) << compilation.status();
  cancelled = true;
  EXPECT_TRUE(absl::IsCancelled((*compilation)->Finish().status()));
  EXPECT_THAT(lines_, ElementsAre("at work", "the plan was not kept: cancelled"));
}

TEST_F(CompilationTest, APlanThatCannotBeKeptIsALine) {
  auto compilation =
      Start("toy", [](const plan::LoadedPlan&) { return absl::InternalError("no room"); });
  ASSERT_TRUE(compilation.ok()) << compilation.status();
  EXPECT_TRUE((*compilation)->Finish().ok());
  EXPECT_THAT(lines_, ElementsAre("at work", "evidence", "the plan was not kept: no room"));
}

}  // namespace
}  // namespace ninfer::runtime
