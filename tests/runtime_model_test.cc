// Opening models by path: plan files, and what is said of everything else. Folders are opened by
// tests/run_test.py, which has a compiler.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "base/file.h"
#include "plan/writer.h"
#include "runtime/compiler_library.h"
#include "runtime/model.h"
#include "runtime/session.h"
#include "tests/runtime_example.h"

namespace ninfer::runtime {
namespace {

std::string WriteToy(const std::function<void(plan::Plan&)>& change = [](plan::Plan&) {}) {
  const std::string path = JoinPath(GetEnv("TEST_TMPDIR", "."), "toy.plan");
  auto loaded = ToyPlan();
  change(loaded->plan);
  EXPECT_TRUE(plan::WritePlan(loaded->plan, loaded->weights, path).ok());
  return path;
}

std::string MessageOf(const ModelOptions& options) {
  return std::string(OpenModel(options).status().message());
}

TEST(Model, APlanFileRuns) {
  ModelOptions options;
  options.path = WriteToy();
  options.threads = 2;
  auto model = OpenModel(options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->tokenizer(), nullptr);
  EXPECT_NE((*model)->pool(), nullptr);
  EXPECT_GT((*model)->load_seconds(), 0);
  Session session((*model)->executor(), nullptr);
  EXPECT_TRUE(session.Generate({1}, {}).ok());
  EXPECT_EQ((*model)->WriteDump("x").message(), "--dump-to: expected --dump-tensors, found none");
}

TEST(Model, WhatIsNotThereIsNamed) {
  EXPECT_EQ(MessageOf({.path = "/nowhere"}),
            "/nowhere: expected a plan or a model folder, found nothing");
}

// The build puts the plan beside the programs; a tree without it is told where it should be.
TEST(Model, WithoutAPathTheBundledPlanIsMeant) {
  const std::string path = JoinPath(ProgramFolder(), "../share/ninfer/default-plan.bin");
  if (FileExists(path)) {
    auto model = OpenModel({});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->executor()->metadata().model_name, "demo");
  } else {
    EXPECT_TRUE(absl::StrContains(MessageOf({}), path));
  }
}

TEST(Model, EagerNeedsAFolder) {
  const std::string path = WriteToy();
  EXPECT_EQ(MessageOf({.path = path, .eager = true}),
            path + ": --engine=eager: expected a model folder, found a plan");
}

TEST(Model, ADamagedTokenizerIsRefused) {
  const std::string path = WriteToy([](plan::Plan& p) { p.tokenizer = "garbage"; });
  EXPECT_TRUE(absl::StartsWith(MessageOf({.path = path}), path + ": "));
}

TEST(Model, CodeThatThisCpuCannotRunIsRefusedWithoutAProgramToMakeOtherFrom) {
  const std::string path =
      WriteToy([](plan::Plan& p) { p.images[0].required_features = {"avx9000"}; });
  EXPECT_EQ(MessageOf({.path = path}),
            path +
                ": code for toy needs avx9000, which this CPU lacks; the plan has no kernel "
                "program to make other code from");
}

TEST(Model, ABadExpressionForDumpsIsRefused) {
  const std::string path = WriteToy();
  EXPECT_TRUE(absl::StrContains(MessageOf({.path = path, .dump_tensors = "("}),
                                "--dump-tensors: expected a regular expression"));
}

}  // namespace
}  // namespace ninfer::runtime
