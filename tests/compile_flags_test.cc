// ninfer-compile's flags, by the program itself: what each prints, writes and leaves out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "passes/pass.h"
#include "plan/reader.h"
#include "tests/run_program.h"

namespace ninfer::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class CompileFlagsTest : public ::testing::Test {
 protected:
  void SetUp() override { WriteModel(folder_.path(), TinyLlama({.kv_heads = 2, .dtype = "BF16"})); }

  std::string plan() const { return folder_.File("plan.bin"); }
  // Must succeed.
  ProgramRun Compile(std::vector<std::string> flags, bool quiet = true) {
    flags.insert(flags.begin(), folder_.path());
    if (quiet) flags.push_back("-q");
    ProgramRun run = RunProgram("ninfer-compile", flags);
    EXPECT_EQ(run.status, 0) << run.err;
    return run;
  }
  plan::Plan ReadBack() {
    auto loaded = plan::ReadPlan(plan(), {});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? loaded->plan : plan::Plan();
  }

  TemporaryFolder folder_;
};

TEST_F(CompileFlagsTest, TheChoiceOfTypesAndTheEvidenceAreOneLineEachOnStderr) {
  const ProgramRun run = Compile({"-o", plan()}, /*quiet=*/false);
  EXPECT_EQ(run.out, "");
  const std::vector<std::string> lines = absl::StrSplit(run.err, '\n');
  ASSERT_EQ(lines.size(), 5u) << run.err;
  EXPECT_EQ(lines[0], "stored bf16: weights bf16, activations bf16, cache bf16");
  EXPECT_EQ(lines[1], folder_.path() + ": no tokenizer: only ids can go in and out of this plan");
  EXPECT_THAT(lines[2],
              ContainsRegex("^evidence: max error .* of the largest logit, .* against eager "
                            "with the same types \\(bound .*\\)"));
  EXPECT_THAT(lines[3], ContainsRegex("^wrote .*plan.bin: "));
}

// The flag takes a value behind = alone: what follows it is the model.
TEST_F(CompileFlagsTest, QualityIsMeasuredPrintedAndKept) {
  const ProgramRun run =
      RunProgram("ninfer-compile", {"--quality=sampled", folder_.path(), "-o", plan()});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("tokens, sampled from the model: KL "));
  const plan::Plan read = ReadBack();
  ASSERT_TRUE(read.evidence.quality.has_value());
  EXPECT_EQ(read.evidence.quality->origin, "sampled from the model");
  const ProgramRun alone =
      RunProgram("ninfer-compile", {"--quality", folder_.path(), "-o", plan()});
  EXPECT_EQ(alone.status, 2);
  EXPECT_THAT(alone.err, HasSubstr("found 'bundled'"));
}

// In a pipe there is none: the test above counts the lines.
TEST_F(CompileFlagsTest, ATerminalShowsABarThatIsGoneInTheEnd) {
  if (RunShell("command -v script").status != 0) GTEST_SKIP() << "no script(1) for a terminal";
  const std::string command = CommandOf("ninfer-compile", {folder_.path(), "-o", plan()});
  const ProgramRun run = RunShell("script -qec " + Quoted(command) + " /dev/null");
  EXPECT_EQ(run.status, 0) << run.out;
  EXPECT_THAT(run.out, HasSubstr("\r\033[Kpack weights "));
  EXPECT_THAT(run.out, HasSubstr("\r\033[Kstored "));
}

TEST_F(CompileFlagsTest, QuietSaysNothing) {
  const ProgramRun run = Compile({"-o", plan()});
  EXPECT_EQ(run.out + run.err, "");
  EXPECT_TRUE(FileExists(plan()));
}

TEST_F(CompileFlagsTest, VerboseEndsInATableOfAllPassesAndThePeakOfBuffers) {
  const ProgramRun run = Compile({"-v", "-o", plan()}, /*quiet=*/false);
  size_t at = run.err.find("wrote ");
  ASSERT_NE(at, std::string::npos);
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    at = run.err.find("  " + pass.name + " ", at);
    ASSERT_NE(at, std::string::npos) << pass.name << " in " << run.err;
  }
  EXPECT_THAT(run.err, ContainsRegex("\nbuffers: peak [0-9.]+ KiB, lower bound [0-9.]+ KiB\n$"));
}

TEST_F(CompileFlagsTest, TypesAreAsAskedFor) {
  Compile({"-o", plan(), "--weights=f32", "--activations=bf16", "--kv-cache=f32"});
  const plan::Plan plan = ReadBack();
  EXPECT_EQ(plan.metadata.weights_dtype, "f32");
  EXPECT_EQ(plan.metadata.activations_dtype, "bf16");
  EXPECT_EQ(plan.metadata.kv_dtype, "f32");
  ASSERT_FALSE(plan.kv_layers.empty());
  EXPECT_EQ(plan.kv_layers[0].dtype, DType::kF32);
}

TEST_F(CompileFlagsTest, BoundsStandInThePlan) {
  Compile({"-o", plan(), "--context=48", "--max-tokens=20", "--max-sequences=3", "--max-rows=5"});
  const plan::Plan plan = ReadBack();
  EXPECT_EQ(plan.metadata.context_length, 48);
  std::map<std::string, int64_t> most;
  for (const plan::Symbol& symbol : plan.symbols) most[symbol.name] = symbol.max;
  EXPECT_EQ(most["T"], 20);
  EXPECT_EQ(most["S"], 3);
  EXPECT_EQ(most["R"], 5);
  EXPECT_EQ(most["G"], 1);
}

TEST_F(CompileFlagsTest, TheDefaultPromptStandsInThePlan) {
  const ProgramRun run = RunProgram(
      "ninfer-compile",
      {NINFER_SOURCE_DIR "/models/demo", "-q", "--default-prompt", "One day, a fox", "-o", plan()});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(ReadBack().metadata.default_prompt, "One day, a fox");
}

TEST_F(CompileFlagsTest, SeveralTargetsAreSeveralImages) {
  Compile({"-o", plan(), "--target=x86-64-v3,x86-64-v4", "--target=zen4"});
  std::vector<std::string> names;
  const plan::Plan plan = ReadBack();
  for (const plan::CodeImage& image : plan.images) names.push_back(image.target);
  EXPECT_EQ(names, (std::vector<std::string>{"x86-64-v3", "x86-64-v4", "zen4"}));
}

TEST_F(CompileFlagsTest, DisabledPassesAreLeftOutAndSaidToBe) {
  Compile({"-o", plan(), "--disable-pass=kv-cache,merge-linears", "--disable-pass=cse"});
  const plan::Plan plan = ReadBack();
  EXPECT_FALSE(plan.metadata.has_kv_cache);
  for (const plan::PassLog& pass : plan.provenance.passes) {
    const bool disabled =
        pass.name == "kv-cache" || pass.name == "merge-linears" || pass.name == "cse";
    EXPECT_EQ(pass.skipped, disabled) << pass.name;
  }
}

TEST_F(CompileFlagsTest, StopAfterGivesTheTextOfEitherLevelAndNoPlan) {
  const ProgramRun graph = Compile({"--stop-after=kv-cache"});
  EXPECT_THAT(graph.out, HasSubstr("kv_append"));
  EXPECT_THAT(graph.out, Not(HasSubstr("paged_attention")));
  const ProgramRun program = Compile({"--stop-after=layout", "-o", plan()});
  EXPECT_EQ(program.out, "");
  EXPECT_THAT(ReadFile(plan()).value_or(""), ContainsRegex("^program "));
  // After the n-th rewrite only.
  const ProgramRun none = Compile({"--stop-after=merge-linears.0"});
  const ProgramRun one = Compile({"--stop-after=merge-linears.1"});
  const ProgramRun all = Compile({"--stop-after=merge-linears"});
  EXPECT_NE(none.out, one.out);
  EXPECT_NE(one.out, all.out);
}

TEST_F(CompileFlagsTest, DumpIrWritesTextsAroundEveryPassWithAnIndexThatMarksTheUnchanged) {
  Compile({"-o", plan(), "--dump-ir=" + folder_.File("dump")});
  const std::string index = ReadFile(folder_.File("dump/index.txt")).value_or("");
  int number = 0;
  for (const passes::PassInfo& pass : passes::ListPasses()) {
    const std::string stem = absl::StrFormat("%03d-%s", ++number, pass.name);
    EXPECT_TRUE(FileExists(folder_.File("dump/" + stem + ".before.ir"))) << stem;
    EXPECT_TRUE(FileExists(folder_.File("dump/" + stem + ".after.ir"))) << stem;
    EXPECT_THAT(index, HasSubstr(absl::StrFormat("%03d %s ", number, pass.name)));
  }
  EXPECT_THAT(index, HasSubstr("002 fold (unchanged)"));
  EXPECT_THAT(index, HasSubstr("004 kv-cache 1 rewrite"));
}

TEST_F(CompileFlagsTest, TextsAreDumpedForEachKernel) {
  Compile({"-o", plan(), "--target=x86-64-v3", "--dump-llvm=" + folder_.File("llvm"),
           "--dump-asm=" + folder_.File("asm")});
  const plan::Plan plan = ReadBack();
  ASSERT_FALSE(plan.images.empty());
  for (const plan::KernelSymbol& kernel : plan.images[0].kernels) {
    const std::string llvm = ReadFile(folder_.File("llvm/" + kernel.name + ".ll")).value_or("");
    EXPECT_THAT(llvm, HasSubstr("define ")) << kernel.name;
    const std::string assembly = ReadFile(folder_.File("asm/" + kernel.name + ".s")).value_or("");
    EXPECT_THAT(assembly, HasSubstr("ret")) << kernel.name;
  }
}

TEST_F(CompileFlagsTest, CudaIsDumpedAsOneSourceAndAsPtxWhereNvrtcIsFound) {
  Compile({"-o", plan(), "--dump-cuda=" + folder_.File("cuda")});
  const std::string source = ReadFile(folder_.File("cuda/kernels.cu")).value_or("");
  const plan::Plan written = ReadBack();
  ASSERT_FALSE(written.images.empty());
  for (const plan::KernelSymbol& kernel : written.images[0].kernels) {
    const std::string name = kernel.name.substr(0, kernel.name.rfind("__"));  // no target
    EXPECT_THAT(source, HasSubstr("\n" + name + "__")) << kernel.name;
  }
  const ProgramRun run = RunProgram(
      "ninfer-compile", {folder_.path(), "-q", "-o", plan(), "--dump-ptx=" + folder_.File("ptx")});
  if (run.status == 0) {
    EXPECT_THAT(ReadFile(folder_.File("ptx/kernels.sm_80.ptx")).value_or(""),
                HasSubstr(".target sm_80"));
  } else {
    EXPECT_EQ(run.status, 2);
    EXPECT_THAT(run.err, HasSubstr("NVRTC: expected a CUDA toolkit, "));
  }
}

TEST_F(CompileFlagsTest, TextsAndChangesArePrintedOnStdout) {
  const ProgramRun texts = Compile(
      {"-o", plan(), "--print-before=fuse", "--print-after=kv-cache", "--print-after=layout"});
  EXPECT_THAT(texts.out, HasSubstr("// before pass 10 fuse\nmodule "));
  EXPECT_THAT(texts.out, HasSubstr("// after pass 4 kv-cache\nmodule "));
  EXPECT_THAT(texts.out, HasSubstr("// after pass 12 layout\nprogram "));
  const ProgramRun all = Compile({"-o", plan(), "--print-after=all"});
  EXPECT_THAT(all.out, HasSubstr("// after pass 14 plan-buffers"));
  const ProgramRun changes = Compile({"-o", plan(), "--print-changed=diff"});
  EXPECT_THAT(changes.out, HasSubstr("--- before pass 4 kv-cache\n+++ after pass 4 kv-cache\n"));
  EXPECT_THAT(changes.out, Not(HasSubstr("pass 2 fold")));
}

TEST_F(CompileFlagsTest, VerifyEachPutsAnErrorAndItsBoundBesideEveryPassThatChangedSomething) {
  const ProgramRun run = Compile({"-o", plan(), "--verify-each"}, /*quiet=*/false);
  for (const char* line : {"kv-cache .* of 1e-04", "precision .* of 2e-01", "lower .* of 1e-04",
                           "plan-buffers .* of 1e-04"}) {
    EXPECT_THAT(run.err, ContainsRegex(line));
  }
}

TEST_F(CompileFlagsTest, ListsEndAtOnce) {
  const ProgramRun architectures = RunProgram("ninfer-compile", {"--list-architectures"});
  EXPECT_THAT(architectures.out, HasSubstr("\nLlamaForCausalLM\nMinistralForCausalLM\n"));
  const ProgramRun targets = RunProgram("ninfer-compile", {"--list-targets"});
  EXPECT_EQ(
      targets.out,
      "sapphirerapids\nzen4\ncascadelake\nx86-64-v4\nalderlake\nx86-64-v3\nx86-64\nneoverse-n1\n"
      "cuda\ncuda:sm_80\ncuda:sm_86\ncuda:sm_89\ncuda:sm_90\ncuda:sm_100\ncuda:sm_120\n"
      "cuda:native\n");
  const ProgramRun passes = RunProgram("ninfer-compile", {"--list-passes"});
  EXPECT_THAT(passes.out, HasSubstr("kv-cache       optional  "));
  EXPECT_THAT(passes.out, HasSubstr("plan-buffers   required  "));
  const ProgramRun help = RunProgram("ninfer-compile", {"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("bounds the prefill chunk"));
  EXPECT_EQ(RunProgram("ninfer-compile", {"--version"}).out, "ninfer-compile 0.1.0\n");
}

TEST_F(CompileFlagsTest, RandomWeightsOfAConfigAreSeededAndLabelled) {
  const std::string config = folder_.File("config.json");
  const auto compile = [&](const char* seed) {
    const ProgramRun run = RunProgram("ninfer-compile", {"--random-weights=" + config, "-q", "-o",
                                                         plan(), "--random-dtype=f32", seed});
    EXPECT_EQ(run.status, 0) << run.err;
    const plan::Plan plan = ReadBack();
    EXPECT_TRUE(plan.metadata.random_weights);
    EXPECT_EQ(plan.metadata.weights_dtype, "f32");
    return plan.content_digest;
  };
  const std::string first = compile("--random-seed=1");
  EXPECT_EQ(first, compile("--random-seed=1"));
  EXPECT_NE(first, compile("--random-seed=2"));
}

}  // namespace
}  // namespace ninfer::testing
