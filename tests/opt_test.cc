// ninfer-opt, by the program itself: passes on texts of both levels, texts that are executed, and
// the pages that are made from tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "ir/ops_markdown.h"
#include "passes/runner.h"
#include "tests/run_program.h"

namespace ninfer::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// All texts of one compilation, before and after every pass.
class OptTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    WriteModel(folder_->path(), TinyLlama());
    const ProgramRun run =
        RunProgram("ninfer-compile", {folder_->path(), "-q", "--weights=f32", "--activations=f32",
                                      "-o", Path("plan.bin"), "--dump-ir=" + Path("dump")});
    ASSERT_EQ(run.status, 0) << run.err;
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string Path(const std::string& name) { return folder_->File(name); }
  static std::string Dumped(const std::string& name) { return Path("dump/" + name + ".ir"); }
  static ProgramRun Opt(const std::vector<std::string>& flags) {
    return RunProgram("ninfer-opt", flags);
  }
  static ProgramRun Execute(const std::string& text, std::vector<std::string> flags = {}) {
    flags.insert(flags.end(),
                 {text, "--run", "--weights=" + folder_->path(), "--prompt-ids=1,2,3"});
    ProgramRun run = Opt(flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return run;
  }
  static void ExpectRefused(const std::vector<std::string>& flags, const std::string& message) {
    const ProgramRun run = Opt(flags);
    EXPECT_EQ(run.status, 2);
    EXPECT_EQ(run.out, "");
    EXPECT_TRUE(run.OneLine()) << run.err;
    EXPECT_THAT(run.err, HasSubstr("ninfer-opt: " + message));
  }

  static TemporaryFolder* folder_;
};

TemporaryFolder* OptTest::folder_ = nullptr;

TEST_F(OptTest, TextsOfBothLevelsPrintAsTheyStand) {
  for (const char* name :
       {"001-canonicalise.before", "010-fuse.after", "011-lower.after", "014-plan-buffers.after"}) {
    const ProgramRun run = Opt({Dumped(name)});
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(run.out, ReadFile(Dumped(name)).value_or("")) << name;
  }
}

TEST_F(OptTest, PassesGiveTheTextThatTheCompilerDumped) {
  const ProgramRun graph =
      Opt({Dumped("004-kv-cache.before"), "--passes=kv-cache,last-rows", "--passes=merge-linears"});
  EXPECT_EQ(graph.out, ReadFile(Dumped("006-merge-linears.after")).value_or("")) << graph.err;
  // Across the levels, from a graph and from a program.
  const std::string last = ReadFile(Dumped("014-plan-buffers.after")).value_or("");
  EXPECT_EQ(
      Opt({Dumped("010-fuse.before"), "--passes=fuse,lower,layout,schedule,plan-buffers"}).out,
      last);
  EXPECT_EQ(Opt({Dumped("013-schedule.before"), "--passes=schedule,plan-buffers"}).out, last);
}

TEST_F(OptTest, EveryStageComputesTheSameLogits) {
  const ProgramRun imported = Execute(Dumped("001-canonicalise.before"));
  EXPECT_THAT(imported.out,
              ContainsRegex("^logits f32\\[3,37\\] digest [0-9a-f]*\nrow 0: [0-9]* \\("));
  // Digits differ in the last place at most: compare the best ids of each row.
  const auto best = [](const std::string& out) {
    std::vector<std::string> ids;
    for (size_t at = out.find("row "); at != out.npos; at = out.find("row ", at + 1)) {
      ids.push_back(out.substr(at, out.find('(', at) - at));
    }
    return ids;
  };
  ASSERT_EQ(best(imported.out).size(), 3u);
  for (const char* name : {"004-kv-cache.after", "007-attention.after", "010-fuse.after",
                           "011-lower.after", "013-schedule.after", "014-plan-buffers.after"}) {
    EXPECT_EQ(best(Execute(Dumped(name)).out), best(imported.out)) << name;
  }
  EXPECT_EQ(Execute(Dumped("001-canonicalise.before"), {"--passes=kv-cache"}).out,
            Execute(Dumped("004-kv-cache.after")).out);
}

TEST_F(OptTest, LogitsAreWrittenAsNpy) {
  Execute(Dumped("014-plan-buffers.after"), {"--logits=" + Path("logits.npy")});
  const std::string npy = ReadFile(Path("logits.npy")).value_or("");
  EXPECT_THAT(npy, HasSubstr("'descr': '<f4', 'fortran_order': False, 'shape': (3, 37)"));
  ASSERT_GT(npy.size(), 3 * 37 * sizeof(float));
  EXPECT_EQ((npy.size() - 3 * 37 * sizeof(float)) % 64, 0u);
}

TEST_F(OptTest, TheResultGoesWhereOutputSays) {
  const ProgramRun run =
      Opt({Dumped("001-canonicalise.before"), "--passes=cse", "-v", "-o", Path("out.ir")});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, ContainsRegex("1  cse "));
  EXPECT_TRUE(FileExists(Path("out.ir")));
}

// A person may edit the text of a planned program: whoever reads it checks it as it stands.
TEST_F(OptTest, APlannedProgramIsCheckedForOrderAndForWhatItsBuffersHold) {
  const std::string text = ReadFile(Dumped("014-plan-buffers.after")).value_or("");
  const auto edited = [&](const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from << " in " << text;
    std::string other = text;
    if (at != std::string::npos) other.replace(at, from.size(), to);
    EXPECT_TRUE(WriteFile(Path("edited.ir"), other).ok());
    return Path("edited.ir");
  };
  ExpectRefused({edited("barrier always", "barrier none")}, Path("edited.ir") + ": ");
  EXPECT_EQ(Opt({Path("edited.ir"), "--no-verify"}).status, 0);
  ExpectRefused({edited(" at 64", " at 0")}, Path("edited.ir") + ": ");
}

TEST_F(OptTest, FlagsOfWhatIsNotAskedForAreRefused) {
  const std::string graph = Dumped("001-canonicalise.before");
  ExpectRefused({graph, "--logits=" + Path("l.npy")},
                "--logits: expected --run, which makes them, found none");
  ExpectRefused({graph, "--stop-after=cse"}, "--stop-after: expected --passes, found none");
  ExpectRefused({graph, "--dump-ir=" + Path("d")}, "--dump-ir: expected --passes, found none");
  ExpectRefused({graph, "--passes=cse,dce", "--stop-after=fuse.1"},
                "--stop-after: expected one of --passes, cse, dce, found fuse");
}

TEST_F(OptTest, BadInputIsOneLine) {
  const std::string graph = Dumped("001-canonicalise.before");
  const std::string program = Dumped("012-layout.after");
  ExpectRefused({}, "expected the path of a text, found none");
  ExpectRefused({Path("none.ir")}, Path("none.ir") + ": cannot open");
  ExpectRefused({graph, "--passes=zap"},
                "--passes: unknown pass \"zap\"; --list-passes lists them");
  ExpectRefused({graph, "--passes=layout"}, "--passes: layout: expected a program, found a graph");
  ExpectRefused({program, "--passes=cse"}, "--passes: cse: expected a graph, found a program");
  ExpectRefused({graph, "--run"}, "weight @");
  ExpectRefused({graph, "--run", "--weights=" + folder_->path(), "--prompt-ids=99"},
                "--prompt-ids: expected ids from 0 to 36, found 99");
  ExpectRefused({graph, "--run", "--weights=" + Path("nothing")},
                Path("nothing") + ": expected a model folder");
  WriteText(Path("bad.ir"), "module \"x\" stage imported\nfunc @step(%a: i32[T]) {\n");
  ExpectRefused({Path("bad.ir")}, Path("bad.ir") + ":2: ");
  WriteText(Path("bad.kp"), "program zap");
  ExpectRefused({Path("bad.kp")}, Path("bad.kp") + ":1: ");
}

TEST_F(OptTest, AGraphThatDoesNotVerifyIsRefusedUnlessAskedNotTo) {
  const std::string text = ReadFile(Dumped("001-canonicalise.before")).value_or("");
  const size_t at = text.find("rms_norm");
  ASSERT_NE(at, text.npos);
  const size_t line = text.rfind('\n', at), type = text.find("f32[T,24]", at);
  ASSERT_NE(type, text.npos);
  WriteText(Path("wrong.ir"), std::string(text).replace(type, 9, "f32[T,23]"));
  const ProgramRun refused = Opt({Path("wrong.ir")});
  EXPECT_EQ(refused.status, 2);
  EXPECT_TRUE(refused.OneLine()) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("rms_norm")) << text.substr(line, 80);
}

TEST_F(OptTest, TheTablesAreListed) {
  EXPECT_THAT(Opt({"--list-ops"}).out, ContainsRegex("paged_attention +"));
  EXPECT_THAT(Opt({"--list-passes"}).out, HasSubstr("canonicalise\nfold\ncse\n"));
  EXPECT_EQ(Opt({"--docs=ops"}).out, ir::OpsMarkdown());
  EXPECT_EQ(Opt({"--docs=passes"}).out, passes::PassesMarkdown());
}

}  // namespace
}  // namespace ninfer::testing
