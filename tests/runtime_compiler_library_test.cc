// The wrapper of the compiler's C interface, over a library that answers as the tests need.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "base/file.h"
#include "plan/writer.h"
#include "runtime/compiler_library.h"
#include "runtime/cpu_executor.h"
#include "runtime/session.h"
#include "tests/fake_executor.h"
#include "tests/runtime_example.h"

namespace ninfer::runtime {
namespace {

std::unique_ptr<CompilerLibrary> OpenFake() {
  auto library = CompilerLibrary::OpenFile(FAKE_COMPILER);
  EXPECT_TRUE(library.ok()) << library.status();
  return *std::move(library);
}

TEST(CompilerLibrary, ACompiledPlanRunsWhereItIs) {
  const auto library = OpenFake();
  EXPECT_EQ(library->version(), "fake");
  std::string log;
  double done = 0;
  CompilerCallbacks callbacks;
  callbacks.log = [&](absl::string_view line) { log += std::string(line); };
  callbacks.progress = [&](absl::string_view, double part) { done = part; };
  auto loaded = library->Compile(R"({"model":"toy"})", callbacks);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(log, "at workevidence");
  EXPECT_EQ(done, 0.5);
  auto executor = CpuExecutor::Create(std::make_shared<const plan::LoadedPlan>(*std::move(loaded)),
                                      {.threads = 1});
  ASSERT_TRUE(executor.ok()) << executor.status();
  Session session(executor->get(), nullptr);
  EXPECT_TRUE(session.Generate({1, 2}, {}).ok());
}

TEST(CompilerLibrary, ItsRefusalsAreTheUsersToRead) {
  const auto library = OpenFake();
  const absl::Status status = library->Compile(R"({"model":"bad"})", {}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "bad/config.json: expected {, found [");
  EXPECT_EQ(library->OpenEager(R"({"model":"bad"})", {}).status().message(), status.message());
}

TEST(CompilerLibrary, ANameOfTheHubBecomesAFolder) {
  const auto library = OpenFake();
  const auto folder = library->FetchModel(R"({"model":"hf:org/name"})", {});
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(*folder, "fetched/hf:org/name");
  EXPECT_EQ(library->FetchModel(R"({"model":"bad"})", {}).status().message(),
            "bad/config.json: expected {, found [");
}

TEST(CompilerLibrary, BeingCancelledIsNoMistake) {
  CompilerCallbacks callbacks;
  callbacks.cancelled = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(OpenFake()->Compile("{}", callbacks).status()));
}

TEST(CompilerLibrary, SectionsThatAreDamagedAreRefused) {
  EXPECT_EQ(OpenFake()->Compile(R"({"model":"garbage"})", {}).status().message(),
            "compiled plan: not a plan: expected 64 bytes at least, found 7");
}

TEST(CompilerLibrary, CodeCanBeMadeAnew) {
  auto plan = ToyPlan()->plan;
  plan.images.clear();
  const auto made = OpenFake()->GenerateCode(plan, "{}", {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->images.size(), 1);
  EXPECT_EQ(SerializeSections(*made), SerializeSections(ToyPlan()->plan));
}

TEST(CompilerLibrary, TheEagerEngineIsAnExecutor) {
  const auto library = OpenFake();
  auto engine = library->OpenEager("{}", {});
  ASSERT_TRUE(engine.ok()) << engine.status();
  FakeExecutor direct;
  EXPECT_EQ((*engine)->limits().max_tokens, direct.limits().max_tokens);
  ASSERT_EQ((*engine)->limits().kv_groups.size(), 1);
  EXPECT_EQ((*engine)->limits().kv_groups[0].total_pages, direct.limits().kv_groups[0].total_pages);
  EXPECT_EQ((*engine)->limits().kv_groups[0].pages_held, direct.limits().kv_groups[0].pages_held);
  EXPECT_EQ((*engine)->CacheBytes(5), 15);
  EXPECT_EQ((*engine)->metadata().vocab_size, 50);
  EXPECT_EQ((*engine)->BytesPerToken(5), 1005);
  EXPECT_EQ((*engine)->scratch_bytes(), 77);
  EXPECT_EQ((*engine)->tokenizer(), "");
  GenerateOptions options;
  options.max_tokens = 90;
  Session a(engine->get(), nullptr), b(&direct, nullptr);
  const auto through = a.Generate({1, 2, 3}, options);
  ASSERT_TRUE(through.ok()) << through.status();
  EXPECT_EQ(through->ids, b.Generate({1, 2, 3}, options)->ids);
  EXPECT_EQ((*engine)->WriteDump("x").message(), "x: nothing to write");
}

TEST(CompilerLibrary, TheEagerEngineRefusesABadStepItself) {
  const auto library = OpenFake();
  auto engine = library->OpenEager("{}", {});
  ASSERT_TRUE(engine.ok());
  EXPECT_EQ((*engine)->Step({}, nullptr).message(), "step: tokens: expected 1 to 16, found 0");
}

TEST(CompilerLibrary, AnotherInterfaceOrNoLibraryIsRefused) {
  EXPECT_EQ(CompilerLibrary::OpenFile(FAKE_OLD_COMPILER).status().message(),
            absl::StrCat(FAKE_OLD_COMPILER, ": expected compiler interface 5, found 999"));
  EXPECT_TRUE(absl::StartsWith(CompilerLibrary::OpenFile("/nowhere.so").status().message(),
                               "/nowhere.so: cannot open the compiler: "));
  EXPECT_TRUE(absl::StartsWith(CompilerLibrary::OpenFile("libm.so.6").status().message(),
                               "libm.so.6: expected the function ninfer_compiler_interface"));
}

}  // namespace
}  // namespace ninfer::runtime
