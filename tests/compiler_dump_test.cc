// What a plan writes under --dump-tensors, against what eager writes under the same name: the
// residual stream of every layer, and the probabilities of attention where they are kept.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "frontend/safetensors.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Dumped {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using Dump = std::map<std::string, Dumped>;

Dump ReadDump(const std::string& path) {
  Dump dump;
  const auto file = frontend::Checkpoint::OpenFile(path);
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return dump;
  for (const frontend::StoredTensor& tensor : (*file)->tensors()) {
    Dumped& out = dump[tensor.name];
    out.shape = tensor.shape;
    out.values.resize(tensor.bytes / sizeof(float));
    std::memcpy(out.values.data(), tensor.data, tensor.bytes);
  }
  return dump;
}

class CompilerDumpTest : public ::testing::Test {
 protected:
  // Two texts on shuffled pages, in four steps.
  static void RunSteps(runtime::Executor& executor) {
    if (!executor.limits().has_kv_cache) {  // whole texts, two of them in one step
      Sequence a{{1, 2, 3, 4, 5, 6, 7}, {}}, b{{9, 8, 7}, {}};
      const absl::Status status = RunStep(executor, {&a, &b}, {7, 3});
      ASSERT_TRUE(status.ok()) << status;
      return;
    }
    Sequence a, b;
    for (int i = 0; i < 70; ++i) a.ids.push_back(i * 7 % 37);
    for (int i = 0; i < 5; ++i) b.ids.push_back(i * 5 % 37);
    a.pages = {{2, 0}};
    b.pages = {{1, 3}};
    for (const int32_t page : {0, 1, 2, 3}) executor.ClearPage(0, page);
    for (const auto& [i, j] : std::vector<std::pair<int, int>>{{9, 3}, {59, 1}, {1, 1}, {1, 0}}) {
      const absl::Status status = RunStep(executor, {&a, &b}, {i, j});
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  Dump OfEager(const std::string& regex, Json json = Json::object()) {
    json["model"] = folder_.path();
    if (!json.contains("kv_pages")) json["kv_pages"] = 4;
    json["dump_tensors"] = regex;
    const auto executor = EagerExecutor::Create(*ParseOptions(json.dump(), Caller::kEager), {});
    EXPECT_TRUE(executor.ok()) << executor.status();
    if (!executor.ok()) return {};
    RunSteps(**executor);
    const absl::Status written = (*executor)->WriteDump(folder_.File("eager.safetensors"));
    EXPECT_TRUE(written.ok()) << written;
    return ReadDump(folder_.File("eager.safetensors"));
  }
  absl::StatusOr<std::unique_ptr<runtime::CpuExecutor>> Plan(const Json& json,
                                                             runtime::TensorDump* dump) {
    auto plan = CompileInPlace(json);
    if (!plan.ok()) return plan.status();
    runtime::CpuExecutorOptions options;
    options.threads = 2;
    options.total_pages = 4;
    options.dump = dump;
    return runtime::CpuExecutor::Create(*std::move(plan), options);
  }
  Dump OfPlan(const std::string& regex, const Json& json) {
    const auto dump = runtime::TensorDump::Create(regex);
    const auto executor = Plan(json, dump->get());
    EXPECT_TRUE(executor.ok()) << executor.status();
    if (!executor.ok()) return {};
    RunSteps(**executor);
    const absl::Status written = (*dump)->Write(folder_.File("plan.safetensors"));
    EXPECT_TRUE(written.ok()) << written;
    return ReadDump(folder_.File("plan.safetensors"));
  }
  Json Naive(const char* disabled = nullptr) {
    Json json = ExactOptions(folder_.path());
    json["attention"] = "naive";
    if (disabled != nullptr) json["disable_passes"] = {disabled};
    return json;
  }
  void WriteFolder(bool gpt2 = false, const std::string& dtype = "F32") {
    testing::TinyOptions tiny;
    tiny.context = 200;
    tiny.dtype = dtype;
    testing::WriteModel(folder_.path(), gpt2 ? testing::TinyGpt2(tiny) : testing::TinyLlama(tiny));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(CompilerDumpTest, APlansRowsAndProbabilitiesAreThoseOfEager) {
  for (const bool gpt2 : {false, true}) {
    WriteFolder(gpt2);
    const std::string regex = "^(hidden\\.[0-9]+|attention\\.[0-9]+|logits)$";
    const Dump expected = OfEager(regex);
    EXPECT_TRUE(expected.count("hidden.1")) << expected.size();
    ASSERT_TRUE(expected.count("attention.1@3"));
    EXPECT_THAT(expected.at("attention.1@3").shape, ElementsAre(4, 2, 74));
    for (const char* disabled : {static_cast<const char*>(nullptr), "fuse"}) {
      const Dump found = OfPlan(regex, Naive(disabled));
      EXPECT_EQ(found.size(), expected.size());
      for (const auto& [name, tensor] : expected) {
        ASSERT_TRUE(found.count(name)) << name;
        EXPECT_EQ(found.at(name).shape, tensor.shape) << name;
        EXPECT_LE(LargestError(found.at(name).values, tensor.values), 1e-5) << name;
      }
    }
  }
}

TEST_F(CompilerDumpTest, TheyAreWithoutACacheToo) {
  WriteFolder();
  const std::string regex = "^(hidden\\.[0-9]+|attention\\.[0-9]+)$";
  const Dump expected = OfEager(regex, {{"disable_passes", {"kv-cache"}}, {"kv_pages", 0}});
  const Dump found = OfPlan(regex, Naive("kv-cache"));
  ASSERT_TRUE(expected.count("attention.1"));
  EXPECT_THAT(expected.at("attention.1").shape, ElementsAre(4, 10, 10));
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(found.count(name)) << name;
    EXPECT_EQ(found.at(name).shape, tensor.shape) << name;
    EXPECT_LE(LargestError(found.at(name).values, tensor.values), 1e-5) << name;
  }
}

TEST_F(CompilerDumpTest, AskingEagerForTheStoredTypeKeepsItsProbabilities) {
  for (const char* stored : {"F32", "BF16"}) {
    WriteFolder(false, stored);
    EXPECT_EQ(OfEager("^attention\\.0$").size(), 4u) << stored;  // one a step
    EXPECT_EQ(OfEager("^attention\\.0$", {{"weights", "f32"}}).size(), 4u) << stored;
  }
  EXPECT_EQ(OfEager("^attention\\.0$", {{"weights", "bf16"}}).size(), 4u) << "stored so";
}

TEST_F(CompilerDumpTest, WhatMatchesNothingIsRefusedBeforeAnyStep) {
  WriteFolder();
  Json json = {{"model", folder_.path()}, {"dump_tensors", "^scores"}};
  const auto eager = EagerExecutor::Create(*ParseOptions(json.dump(), Caller::kEager), {});
  EXPECT_EQ(eager.status().message(),
            "--dump-tensors: expected the name of a tensor that is kept, found \"^scores\", which "
            "none has");
  const auto dump = runtime::TensorDump::Create("^attention\\.[0-9]+$");
  const auto flash = Plan(ExactOptions(folder_.path()), dump->get());
  EXPECT_THAT(std::string(flash.status().message()), HasSubstr("which none has"));
}

}  // namespace
}  // namespace ninfer::compiler
