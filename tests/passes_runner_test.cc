// The runner: what it refuses, counts, prints, dumps, verifies and stops at.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "ir/builder.h"
#include "ir/text.h"
#include "passes/diff.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"
#include "tests/support/random.h"
#include "tests/support/random_graph.h"

namespace ninfer::passes {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Two constants to fold (two rewrites), two equal tanh, one dead node, attention of one layer.
constexpr char kGraph[] = R"(module "runner" stage imported
dim T in [1, 64]
dim S in [1, 4]
weight @table : f32[11,8]

func @step(%tokens: i32[T], %positions: i32[T], %seq_bounds: i32[S+1]) {
  %x = embedding %tokens, @table : f32[T,8]
  %two = constant {value = 2} : f32[]
  %four = mul %two, %two : f32[]
  %eight = add %four, %four : f32[]
  %a = tanh %x : f32[T,8]
  %b = tanh %x : f32[T,8]
  %c = add %a, %b : f32[T,8]
  %d = mul %c, %eight : f32[T,8]
  %dead = neg %d : f32[T,8]
  %q = reshape %d : f32[T,2,4]
  %h = transpose %q {perm = [1, 0, 2]} : f32[2,T,4]
  %s = matmul %h, %h {transpose_b = true} : f32[2,T,T]
  %m = causal_mask %s, %positions, %seq_bounds, %seq_bounds : f32[2,T,T]
  %p = softmax %m : f32[2,T,T]
  %o = matmul %p, %h : f32[2,T,4]
  %o3 = transpose %o {perm = [1, 0, 2]} : f32[T,2,4]
  %o2 = reshape %o3 : f32[T,8]
  %logits = linear %o2, @table : f32[T,11]
  return %logits
}
)";

ir::Module Graph() {
  absl::StatusOr<ir::Module> module = ir::Parse(kGraph, "graph");
  EXPECT_TRUE(module.ok()) << module.status();
  return *std::move(module);
}

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

std::string MessageWith(const PassOptions& options) {
  ir::Module module = Graph();
  return MessageOf(RunPasses(module, {"fold", "cse"}, options).status());
}

absl::Status RunWithExtra(const ExtraPass& extra, const PassOptions& options = {}) {
  return RunPipelineWith(Graph(), options, {extra}).status();
}

// --- options -------------------------------------------------------------------------------------

TEST(Runner, RefusesToDisableAnUnknownPassAndListsTheOptionalOnes) {
  PassOptions options;
  options.disabled = {"fuze"};
  EXPECT_EQ(MessageWith(options),
            "--disable-pass: unknown pass \"fuze\"; the optional passes are cse, "
            "kv-cache, merge-linears, argmax, fuse");
}

TEST(Runner, RefusesToDisableARequiredPass) {
  PassOptions options;
  options.disabled = {"last-rows"};
  EXPECT_THAT(MessageWith(options),
              StartsWith("--disable-pass: required pass \"last-rows\"; the "));
}

TEST(Runner, RefusesUnknownPassesToPrintOrStopAt) {
  PassOptions options;
  options.print_after = {"x"};
  EXPECT_THAT(MessageWith(options),
              StartsWith("--print-after: unknown pass \"x\"; the passes are "));
  options = {};
  options.print_before = {"y"};
  EXPECT_THAT(MessageWith(options),
              StartsWith("--print-before: unknown pass \"y\"; the passes are "));
  options = {};
  options.stop_after = "z.3";
  EXPECT_THAT(MessageWith(options),
              StartsWith("--stop-after: unknown pass \"z\"; the passes are "));
  options.stop_after = "cse.three";
  EXPECT_EQ(MessageWith(options), "--stop-after: expected PASS or PASS.n, found \"cse.three\"");
}

TEST(Runner, RunsOnlyGraphPassesByName) {
  ir::Module module = Graph();
  EXPECT_THAT(MessageOf(RunPasses(module, {"folt"}, {}).status()),
              StartsWith("--passes: unknown pass \"folt\"; the passes are canonicalise, fold, "));
  EXPECT_EQ(MessageOf(RunPasses(module, {"lower"}, {}).status()),
            "--passes: \"lower\" makes or rewrites a program, expected a pass of graphs");
}

TEST(Runner, PassesRefuseOptionsByName) {
  PassOptions options;
  options.attention = "slow";
  ir::Module module = Graph();
  EXPECT_EQ(MessageOf(RunPasses(module, {"attention"}, options).status()),
            "pass 1 attention: attention: expected naive, efficient or flash, found \"slow\"");
  options = {};
  options.activations = DType::kF16;
  EXPECT_EQ(MessageOf(RunPasses(module, {"precision"}, options).status()),
            "pass 1 precision: activations: expected f32 or bf16, found f16");
}

TEST(Runner, RefusesAGraphThatDoesNotVerify) {
  ir::Module module = Graph();
  module.FindFunction("step")->results().clear();
  EXPECT_EQ(MessageOf(RunPasses(module, {"fold"}, {}).status()),
            "before the first pass: @step: return: expected a result, found none");
}

// --- counting, verifying, dead code --------------------------------------------------------------

TEST(Runner, APassThatChangedTheTextButReportsNothingIsNamed) {
  const ExtraPass silent{"fold", "silent", [](ir::Module& module, const PassOptions&) {
                           module.symbols()[0].max = 63;
                           return 0;
                         }};
  EXPECT_EQ(MessageOf(RunWithExtra(silent)),
            "pass 3 silent: reports 0 rewrites, but its text changed");
}

TEST(Runner, APassThatReportsRewritesButChangedNothingIsNamed) {
  const ExtraPass boast{"fold", "boast", [](ir::Module&, const PassOptions&) { return 7; }};
  EXPECT_EQ(MessageOf(RunWithExtra(boast)),
            "pass 3 boast: reports 7 rewrites, but its text did not change");
}

TEST(Runner, APassThatBreaksARuleIsNamed) {
  const ExtraPass breaker{"cse", "breaker", [](ir::Module& module, const PassOptions&) {
                            ir::Function& step = *module.FindFunction("step");
                            step.MoveBefore(step.nodes().back().get(), step.nodes()[0].get());
                            return 1;
                          }};
  EXPECT_THAT(MessageOf(RunWithExtra(breaker)), StartsWith("pass 4 breaker: @step: "));
}

TEST(Runner, ErrorsOfAPassCarryItsNumberAndName) {
  const ExtraPass failing{"kv-cache", "failing",
                          [](ir::Module&, const PassOptions&) -> absl::StatusOr<int> {
                            return absl::InvalidArgumentError("no");
                          }};
  EXPECT_EQ(MessageOf(RunWithExtra(failing)), "pass 5 failing: no");
}

TEST(Runner, DeadCodeIsGoneBeforeTheFirstPassAndAfterEachOne) {
  ir::Module module = Graph();
  ASSERT_TRUE(RunPasses(module, {}, {}).ok());
  EXPECT_THAT(ir::Print(module), Not(HasSubstr("%dead")));
  const auto records = RunPasses(module, {"fold", "cse"}, {});
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ((*records)[0].rewrites, 2);
  EXPECT_EQ((*records)[1].rewrites, 1);
  EXPECT_EQ((*records)[1].ops_before, (*records)[1].ops_after + 1);
  EXPECT_THAT(ir::Print(module), Not(HasSubstr("value = 2}")));
}

TEST(Runner, ADisabledPassIsSkippedAndRecorded) {
  PassOptions options;
  options.disabled = {"cse"};
  ir::Module module = Graph();
  const auto records = RunPasses(module, {"cse", "fold"}, options);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_TRUE((*records)[0].skipped);
  EXPECT_EQ((*records)[1].number, 2);
  EXPECT_THAT(ir::Print(module), HasSubstr("%b = tanh"));
}

// --- comparison ----------------------------------------------------------------------------------

TEST(Runner, ComparesAfterEveryPassThatChangedSomething) {
  int asked = 0;
  PassOptions options;
  options.compare_module = [&asked](const ir::Module&, Rounding) -> absl::StatusOr<Comparison> {
    ++asked;
    return Comparison{1e-7, 1e-4, "row 0"};
  };
  ir::Module module = Graph();
  const auto records = RunPasses(module, {"fold", "fold", "cse"}, options);
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE((*records)[0].comparison.has_value());
  EXPECT_FALSE((*records)[1].comparison.has_value());
}

TEST(Runner, AComparisonThatCannotBeMadeOrIsNoNumberStopsThePass) {
  PassOptions options;
  options.compare_module = [](const ir::Module&, Rounding) -> absl::StatusOr<Comparison> {
    return absl::InvalidArgumentError("eager: no such op");
  };
  EXPECT_EQ(MessageWith(options), "pass 1 fold: rewrite 1: eager: no such op");
  options.compare_module = [](const ir::Module&, Rounding) -> absl::StatusOr<Comparison> {
    return Comparison{NAN, 1e-4, "row 2, logit 3"};
  };
  EXPECT_EQ(MessageWith(options),
            "pass 1 fold: rewrite 1: max error nan exceeds bound 0.0001 at row 2, logit 3");
}

// --- stopping ------------------------------------------------------------------------------------

TEST(Runner, StopsAfterAPass) {
  PassOptions options;
  options.stop_after = "cse";
  const auto result = RunPipeline(Graph(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->lowered);
  ASSERT_EQ(result->records.size(), 3u);
  EXPECT_EQ(result->records.back().name, "cse");
}

TEST(Runner, StopsAfterTheNthRewriteOfAPass) {
  PassOptions options;
  options.stop_after = "fold.1";
  const auto result = RunPipeline(Graph(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->records.back().rewrites, 1);
  const std::string text = ir::Print(result->module);
  EXPECT_THAT(text, HasSubstr("constant {value = 4}"));
  EXPECT_THAT(text, HasSubstr("%eight = add"));
}

TEST(Runner, StopsInsideAPassWithoutVerifyingTheGraphBetweenTwoStages) {
  PassOptions options;
  options.stop_after = "attention.1";  // the stage has moved, the mask still stands
  const auto result = RunPipeline(Graph(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(ir::Print(result->module), HasSubstr("causal_mask"));
}

TEST(Runner, StopsBetweenProgramPasses) {
  PassOptions options;
  options.stop_after = "lower";
  const auto result = RunPipeline(Graph(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->lowered);
  EXPECT_EQ(result->program.arena_bytes, 0);
}

// --- texts ---------------------------------------------------------------------------------------

std::string Folder(const std::string& name) {
  const std::string folder = JoinPath(GetEnv("TEST_TMPDIR", NINFER_BINARY_DIR "/tmp"), name);
  std::filesystem::remove_all(folder);
  return folder;
}

std::string Read(const std::string& folder, const std::string& name) {
  const auto text = ReadFile(JoinPath(folder, name));
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

TEST(Runner, DumpsTheTextBeforeAndAfterEveryPassOfBothLevels) {
  PassOptions options;
  options.dump_dir = Folder("dump/inner");
  options.disabled = {"merge-linears"};
  ASSERT_TRUE(RunPipeline(Graph(), options).ok());
  const std::string folder = options.dump_dir;
  EXPECT_THAT(Read(folder, "002-fold.before.ir"), HasSubstr("%four = mul"));
  EXPECT_THAT(Read(folder, "002-fold.after.ir"), Not(HasSubstr("%four = mul")));
  EXPECT_EQ(Read(folder, "002-fold.after.ir"), Read(folder, "003-cse.before.ir"));
  EXPECT_THAT(Read(folder, "011-lower.before.ir"), StartsWith("module \"runner\" stage fused"));
  EXPECT_THAT(Read(folder, "011-lower.after.ir"), StartsWith("program \"runner\""));
  EXPECT_THAT(Read(folder, "014-plan-buffers.after.ir"), StartsWith("program \"runner\""));
  const std::vector<std::string> lines = absl::StrSplit(Read(folder, "index.txt"), '\n');
  ASSERT_EQ(lines.size(), 15u);
  EXPECT_EQ(lines[0], "001 canonicalise (unchanged)");
  EXPECT_EQ(lines[1], "002 fold 2 rewrites");
  EXPECT_EQ(lines[2], "003 cse 1 rewrite");
  EXPECT_EQ(lines[5], "006 merge-linears (disabled)");
  EXPECT_THAT(lines[10], StartsWith("011 lower "));
  EXPECT_FALSE(FileExists(JoinPath(folder, "006-merge-linears.before.ir")));
}

TEST(Runner, AFailedPassLeavesItsDump) {
  PassOptions options;
  options.dump_dir = Folder("dump-failed");
  options.compare_module = [](const ir::Module&, Rounding) -> absl::StatusOr<Comparison> {
    return Comparison{1, 1e-4, "row 0"};
  };
  EXPECT_FALSE(RunPipeline(Graph(), options).ok());
  EXPECT_THAT(Read(options.dump_dir, "002-fold.after.ir"), Not(HasSubstr("%four = mul")));
  EXPECT_THAT(Read(options.dump_dir, "index.txt"), EndsWith("002 fold 2 rewrites\n"));
}

TEST(Runner, AFolderThatCannotBeMadeIsNamed) {
  PassOptions options;
  options.dump_dir = "/proc/none/dump";
  EXPECT_THAT(MessageWith(options), StartsWith("/proc/none/dump: "));
}

TEST(Runner, PrintsBeforeAndAfterThePassesAskedFor) {
  std::vector<std::string> printed;
  PassOptions options;
  options.print = [&printed](const std::string& text) { printed.push_back(text); };
  options.print_before = {"cse"};
  options.print_after = {"fold"};
  ir::Module module = Graph();
  ASSERT_TRUE(RunPasses(module, {"fold", "cse"}, options).ok());
  ASSERT_EQ(printed.size(), 2u);
  EXPECT_THAT(printed[0], StartsWith("// after pass 1 fold\nmodule \"runner\""));
  EXPECT_THAT(printed[1], StartsWith("// before pass 2 cse\nmodule \"runner\""));
  options.print_before = {};
  options.print_after = {"all"};
  ASSERT_TRUE(RunPasses(module, {"fold", "cse", "cse"}, options).ok());
  EXPECT_EQ(printed.size(), 5u);
}

TEST(Runner, PrintsADiffOfWhatChanged) {
  std::string printed;
  PassOptions options;
  options.print = [&printed](const std::string& text) { printed += text; };
  options.print_changed_diff = true;
  ir::Module module = Graph();
  ASSERT_TRUE(RunPasses(module, {"cse", "cse"}, options).ok());
  EXPECT_THAT(printed, StartsWith("--- before pass 1 cse\n+++ after pass 1 cse\n@@ -"));
  EXPECT_THAT(printed, HasSubstr("\n-  %b = tanh %x : f32[T,8]\n"));
  EXPECT_THAT(printed,
              HasSubstr("\n-  %c = add %a, %b : f32[T,8]\n+  %c = add %a, %a : f32[T,8]\n"));
  EXPECT_THAT(printed, Not(HasSubstr("pass 2")));
}

TEST(Runner, ADiffLeavesTheNumbersOfWhatWasNotChanged) {
  constexpr char kText[] = R"(module "runner" stage optimised
dim T in [1, 8]

func @step(%x: f32[T,8]) {
  %0 = tanh %x : f32[T,8]
  %1 = tanh %x : f32[T,8]
  %2 = exp %0 : f32[T,8]
  %3 = add %1, %2 : f32[T,8]
  return %3
}
)";
  std::string printed;
  PassOptions options;
  options.print = [&printed](const std::string& text) { printed += text; };
  options.print_changed_diff = true;
  ir::Module module = *ir::Parse(kText, "kText");
  ASSERT_TRUE(RunPasses(module, {"cse"}, options).ok());
  EXPECT_THAT(printed, EndsWith(R"(
   %0 = tanh %x : f32[T,8]
-  %1 = tanh %x : f32[T,8]
   %2 = exp %0 : f32[T,8]
-  %3 = add %1, %2 : f32[T,8]
+  %3 = add %0, %2 : f32[T,8]
   return %3
 }
)"));
  EXPECT_THAT(ir::Print(module), HasSubstr("  %2 = add %0, %1 : f32[T,8]\n"));
}

TEST(Runner, TheTableShowsEveryPassWithItsFigures) {
  PassOptions options;
  options.disabled = {"cse"};
  options.compare_module = [](const ir::Module&, Rounding) -> absl::StatusOr<Comparison> {
    return Comparison{2e-6, 1e-4, "row 0"};
  };
  const auto result = RunPipeline(Graph(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<std::string> lines = absl::StrSplit(PassTable(result->records), '\n');
  ASSERT_EQ(lines.size(), result->records.size() + 3);  // head, sum, end
  EXPECT_THAT(lines[0], HasSubstr("rewrites"));
  EXPECT_THAT(lines[2], HasSubstr("fold"));
  EXPECT_THAT(lines[2], HasSubstr("2.00e-06 of 1e-04"));
  EXPECT_THAT(lines[3], HasSubstr("cse            disabled"));
  EXPECT_THAT(lines[14], HasSubstr("plan-buffers"));
  EXPECT_THAT(lines[15], HasSubstr("all"));
}

absl::StatusOr<int> DropBarriers(program::Program& program, const PassOptions&) {
  for (program::Launch& launch : program.launches) launch.barrier = program::Barrier::kNone;
  return 1;
}

// The schedule is checked wherever the run ends behind it.
TEST(Runner, StoppingAfterTheScheduleDoesNotSkipItsCheck) {
  const ExtraPass dropped{"schedule", "dropped", nullptr, DropBarriers};
  for (const char* stop : {"", "schedule", "plan-buffers"}) {
    PassOptions options;
    options.stop_after = stop;
    EXPECT_THAT(MessageOf(RunWithExtra(dropped, options)), StartsWith("pass 14 dropped: launch "))
        << stop;
  }
  PassOptions options;
  options.stop_after = "layout";
  EXPECT_TRUE(RunWithExtra(dropped, options).ok());
}

// Planning lets buffers share places, which the figures show; the sum is the last line's peak.
TEST(Runner, BytesAfterPlanningAreThePeak) {
  const auto result = RunPipeline(Graph(), {});
  ASSERT_TRUE(result.ok()) << result.status();
  const program::Program& program = result->program;
  const PassRecord& plan = result->records.back();
  int64_t sum = 0;
  for (const program::Buffer& buffer : program.buffers) sum += buffer.bytes;
  EXPECT_EQ(plan.bytes_before, sum);
  EXPECT_EQ(plan.bytes_after, program.arena_bytes + program.replica_bytes);
  EXPECT_LT(plan.bytes_after, plan.bytes_before);
  EXPECT_GE(plan.bytes_after, program.arena_lower_bound);
  program::Program example;
  example.arena_bytes = 2048;
  example.replica_bytes = 1024;
  example.arena_lower_bound = 2560;
  EXPECT_EQ(BuffersLine(example), "buffers: peak 3.0 KiB, lower bound 2.5 KiB\n");
}

TEST(Runner, ListsThePassesInPipelineOrder) {
  std::vector<std::string> names;
  for (const PassInfo& pass : ListPasses()) {
    names.push_back(pass.name);
    EXPECT_FALSE(pass.summary.empty());
    EXPECT_FALSE(pass.proves.empty());
  }
  EXPECT_THAT(names, ElementsAre("canonicalise", "fold", "cse", "kv-cache", "last-rows",
                                 "merge-linears", "attention", "precision", "argmax", "fuse",
                                 "lower", "layout", "schedule", "plan-buffers"));
  const auto result = RunPipeline(Graph(), {});
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->records.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(result->records[i].name, names[i]);
}

TEST(Runner, ThePageOfPassesIsUpToDate) {
  const std::string path = NINFER_SOURCE_DIR "/docs/passes.md";
  if (GetEnv("NINFER_BLESS") == "1") {
    ASSERT_TRUE(WriteFile(path, PassesMarkdown()).ok());
  }
  const auto page = ReadFile(path);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(*page, PassesMarkdown()) << "run with NINFER_BLESS=1 to rewrite docs/passes.md";
}

// --- diff ----------------------------------------------------------------------------------------

TEST(Diff, EqualTextsHaveNone) { EXPECT_EQ(UnifiedDiff("a\nb\n", "a\nb\n", "x", "y"), ""); }

TEST(Diff, HunksHaveContextAndLineNumbers) {
  EXPECT_EQ(
      UnifiedDiff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n", "x", "y", 1),
      "--- x\n+++ y\n@@ -4,3 +4,3 @@\n 4\n-5\n+five\n 6\n@@ -9,1 +9,2 @@\n 9\n+10\n");
}

TEST(Diff, TextsThatShareNothingAreReplaced) {
  EXPECT_EQ(UnifiedDiff("a\n", "b\nc\n", "x", "y"), "--- x\n+++ y\n@@ -1,1 +1,2 @@\n-a\n+b\n+c\n");
  EXPECT_EQ(UnifiedDiff("", "b\n", "x", "y"), "--- x\n+++ y\n@@ -1,0 +1,1 @@\n+b\n");
}

// With all lines as context, '+' left out gives the first text and '-' left out the second.
TEST(Diff, LeadsFromOneTextToTheOther) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    std::string texts[2];
    for (std::string& text : texts) {
      const int64_t lines = random.Below(30);
      for (int64_t i = 0; i < lines; ++i) absl::StrAppend(&text, random.Below(4), "\n");
    }
    const std::string diff = UnifiedDiff(texts[0], texts[1], "x", "y", 1000);
    if (texts[0] == texts[1]) continue;
    std::string sides[2];
    for (absl::string_view line : absl::StrSplit(diff, '\n')) {
      if (line.empty() || absl::StartsWith(line, "---") || absl::StartsWith(line, "+++") ||
          absl::StartsWith(line, "@@")) {
        continue;
      }
      if (line[0] != '+') absl::StrAppend(&sides[0], line.substr(1), "\n");
      if (line[0] != '-') absl::StrAppend(&sides[1], line.substr(1), "\n");
    }
    EXPECT_EQ(sides[0], texts[0]) << diff;
    EXPECT_EQ(sides[1], texts[1]) << diff;
  }
}

}  // namespace
}  // namespace ninfer::passes
