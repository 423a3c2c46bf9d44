// What ninfer-compile says to bad input, by the program itself: one line on stderr, exit status 2,
// nothing on stdout, and nothing written: neither the plan nor a part of it, nor over an older
// plan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <set>

#include "tests/run_program.h"
#include "tests/test_data.h"

namespace ninfer::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kOldPlan[] = "an older plan";

class CompileErrorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = TinyLlama();
    std::filesystem::create_directory(model());
    std::filesystem::create_directory(out());
    WriteText(plan(), kOldPlan);
  }

  std::string model() const { return folder_.File("model"); }
  std::string out() const { return folder_.File("out"); }
  std::string plan() const { return folder_.File("out/plan.bin"); }
  std::string File(const std::string& name) const { return folder_.File("model/" + name); }

  void ExpectRefused(const ProgramRun& run, const std::string& message) {
    EXPECT_EQ(run.status, 2) << run.err;
    EXPECT_TRUE(run.OneLine()) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.err.rfind("ninfer-compile: ", 0), 0u) << run.err;
    EXPECT_THAT(run.err, HasSubstr(message));
    EXPECT_EQ(ReadFile(plan()).value_or("gone"), kOldPlan);
    std::set<std::string> left;
    for (const auto& entry : std::filesystem::directory_iterator(out())) {
      left.insert(entry.path().filename().string());
    }
    EXPECT_EQ(left, std::set<std::string>{"plan.bin"});
  }
  // Not --quiet: what is said of a model must not stand before its refusal.
  void ExpectFlagsRefused(std::vector<std::string> flags, const std::string& message) {
    flags.insert(flags.end(), {"-o", plan()});
    ExpectRefused(RunProgram("ninfer-compile", flags), message);
  }
  // The model as it stands in model_, with flags.
  void ExpectModelRefused(const std::string& message, const std::vector<std::string>& flags = {}) {
    WriteModel(model(), model_);
    ExpectFolderRefused(message, flags);
  }
  void ExpectFolderRefused(const std::string& message, std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), model());
    ExpectFlagsRefused(flags, message);
  }

  TemporaryFolder folder_;
  TestModel model_;
};

TEST_F(CompileErrorsTest, AFlagThatIsUnknownOrHasAWrongValueIsRefused) {
  WriteModel(model(), model_);
  ExpectFlagsRefused({},
                     "expected one of a model folder, --from-ir and --random-weights, found none");
  ExpectFolderRefused("found several", {"--random-weights=gpt2-124m"});
  ExpectFolderRefused("--frobnicate", {"--frobnicate"});
  ExpectFolderRefused(
      "--weights: expected auto, f32, bf16, f16, int8, int8:channel, int4, int4:128, int4a, "
      "int4a:128, nu4, found 'f64'",
      {"--weights=f64"});
  ExpectFolderRefused("--activations: expected auto, f32, bf16, int8, int8:row, found 'f16'",
                      {"--activations=f16"});
  ExpectFolderRefused("--kv-cache: expected auto, f32, bf16, int8, found 'int4'",
                      {"--kv-cache=int4"});
  ExpectFolderRefused("--attention: expected naive, efficient, flash, found 'fast'",
                      {"--attention=fast"});
  ExpectFolderRefused("--target: expected native, sapphirerapids, zen4, ",
                      {"--target=native,zen9"});
  ExpectFolderRefused("--context: expected 1 to 2147483647, found 'x'", {"--context=x"});
  ExpectFolderRefused("--context: expected 1 to 2147483647, found -1", {"--context=-1"});
  ExpectFolderRefused("--max-rows: expected 1 to 2147483647, found '99999999999999999999'",
                      {"--max-rows=99999999999999999999"});
  ExpectFolderRefused("--threads: expected 0 to 4096, found 9999", {"--threads=9999"});
  ExpectFolderRefused("context length: expected 1 to 16777216, found 99999999",
                      {"--context=99999999"});
  ExpectFlagsRefused({"--random-weights=huge"}, "--random-weights: expected smollm2-135m, ");
}

TEST_F(CompileErrorsTest, AFlagThatNamesAPassWronglyIsRefused) {
  WriteModel(model(), model_);
  ExpectFolderRefused("--disable-pass: unknown pass \"zap\"; the optional passes are cse",
                      {"--disable-pass=zap"});
  ExpectFolderRefused("--disable-pass: required pass \"lower\"", {"--disable-pass=lower"});
  ExpectFolderRefused("--print-before: unknown pass \"zap\"; the passes are canonicalise",
                      {"--print-before=zap"});
  ExpectFolderRefused("--print-after: unknown pass \"zap\"", {"--print-after=zap"});
  ExpectFolderRefused("--print-changed: expected diff, found 'all'", {"--print-changed=all"});
  ExpectFolderRefused("--stop-after: unknown pass \"zap\"", {"--stop-after=zap"});
  ExpectFolderRefused("--stop-after: expected PASS or PASS.n, found \"fuse.x\"",
                      {"--stop-after=fuse.x"});
}

TEST_F(CompileErrorsTest, AFolderThatHoldsNoModelIsRefused) {
  ExpectFlagsRefused({folder_.File("nothing")}, "nothing: expected a model folder, found nothing");
  ASSERT_TRUE(WriteFile(folder_.File("file"), "").ok());
  ExpectFlagsRefused({folder_.File("file")}, "file: expected a model folder, found a file");
  ExpectFolderRefused("model: expected a model folder, found no config.json in it");
  WriteText(File("config.json"), model_.config.dump());
  ExpectFolderRefused("model.safetensors");
}

TEST_F(CompileErrorsTest, AConfigThatIsMalformedOrNotSupportedIsRefused) {
  WriteModel(model(), model_);
  const std::string good = model_.config.dump();
  WriteText(File("config.json"), good.substr(0, good.size() / 2));
  ExpectFolderRefused("config.json: expected JSON, found a syntax error");
  WriteText(File("config.json"), "[1]");
  ExpectFolderRefused("config.json: expected ");
  const struct {
    const char* key;
    nlohmann::json value;
    const char* message;
  } kCases[] = {
      {"architectures", {"ZapForCausalLM"}, "ForCausalLM, found [\"ZapForCausalLM\"]"},
      {"hidden_act", "zap", "hidden_act: expected "},
      {"rope_scaling", {{"rope_type", "zap"}, {"factor", 2}}, "zap"},
      {"hidden_size", "many", "hidden_size: expected "},
      {"hidden_size", 9223372036854775807, "hidden_size: expected "},
      {"num_attention_heads", 0, "num_attention_heads: expected "},
      {"num_hidden_layers", -1, "num_hidden_layers: expected "},
  };
  for (const auto& c : kCases) {
    nlohmann::json config = model_.config;
    config[c.key] = c.value;
    WriteText(File("config.json"), config.dump());
    ExpectFolderRefused(c.message);
  }
}

TEST_F(CompileErrorsTest, SafetensorsThatAreCutAnywhereAreRefused) {
  WriteModel(model(), model_);
  const std::string path = File("model.safetensors"), whole = ReadFile(path).value_or("");
  ASSERT_GT(whole.size(), 2000u);
  for (const size_t size :
       {size_t{0}, size_t{4}, size_t{8}, size_t{300}, whole.size() / 2, whole.size() - 1}) {
    WriteText(path, absl::string_view(whole).substr(0, size));
    ExpectFolderRefused("model.safetensors: ");
  }
}

TEST_F(CompileErrorsTest, SafetensorsThatLieAreRefused) {
  WriteModel(model(), model_);
  const std::string path = File("model.safetensors");
  const struct {
    const char* header;
    const char* message;
  } kCases[] = {
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4096]}})",
       "tensor \"a\": expected data inside the file's 16 bytes of data, found offsets [0,4096]"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}})",
       "tensor \"a\": expected data inside the file's 16 bytes of data, found offsets [16,0]"},
      {R"({"a": {"dtype": "F32", "shape": [9223372036854775808], "data_offsets": [0, 16]}})",
       "tensor \"a\": shape: expected sizes below 2^63, found 9223372036854775808"},
      {R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 16]}})",
       "tensor \"a\": expected fewer than 2^63 bytes, found shape [4294967296,4294967296]"},
      {R"({"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}})",
       "tensor \"a\": shape: expected sizes below 2^63, found -4"},
      {R"({"a": {"dtype": "Z9", "shape": [4], "data_offsets": [0, 16]}})",
       "tensor \"a\": dtype: expected one of F32, F16, BF16, F64, I64, I32, I8, U8, BOOL, found"},
      {R"({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},)"
       R"( "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
       "tensor \"b\": expected data to begin at 16, where the one before ends, found offsets "
       "[8,16]"},
      {"{", "model.safetensors: "},
  };
  for (const auto& c : kCases) {
    WriteText(path, RawSafetensors(c.header, std::string(16, '\1')));
    ExpectFolderRefused(c.message);
  }
  std::string huge = RawSafetensors("{}", "");
  huge.replace(0, 8, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8);  // a header of 2^63 - 1 bytes
  WriteText(path, huge);
  ExpectFolderRefused("model.safetensors: ");
}

TEST_F(CompileErrorsTest, TensorsThatAreMissingUnknownOrMisshapenAreRefused) {
  const TestModel good = model_;
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  model_.Remove(name);
  const std::string tensor_name = absl::StrCat("tensor \"", name, "\": ");
  ExpectModelRefused(tensor_name + "expected shape [40,24], found no such tensor");
  model_ = good;
  model_.tensors.push_back(RandomTensor("model.zap.weight", {3}));
  ExpectModelRefused("model.zap.weight");
  model_ = good;
  *model_.Find(name) = RandomTensor(name, {7, 5});
  ExpectModelRefused(tensor_name + "expected shape [40,24], found [7,5]");
  model_ = good;
  TestTensor* tensor = model_.Find(name);
  tensor->dtype = "I32";
  ExpectModelRefused(tensor_name + "expected dtype f32, f16 or bf16, found i32");
}

TEST_F(CompileErrorsTest, AnIndexThatNamesAbsentShardsIsRefused) {
  WriteShardedModel(model(), model_, 2);
  std::filesystem::remove(File("model-2-of-2.safetensors"));
  ExpectFolderRefused(
      "expected shard \"model-2-of-2.safetensors\" in the folder, found no such file");
}

TEST_F(CompileErrorsTest, ATokenizerThatDoesNotFitOrIsMalformedIsRefused) {
  WriteModel(model(), model_);  // 37 rows
  std::filesystem::copy_file(NINFER_SOURCE_DIR "/models/demo/tokenizer.json",
                             File("tokenizer.json"));
  ExpectFolderRefused(
      "model: the tokenizer does not fit the vocabulary: expected ids below 37, found id ");
  WriteText(File("tokenizer.json"), "{\"model\": ");
  ExpectFolderRefused("tokenizer.json: ");
}

TEST_F(CompileErrorsTest, APlaceThatCannotBeWrittenIsRefusedBeforeTheWork) {
  WriteModel(model(), model_);
  const auto refused = [&](const std::string& path, const std::string& message) {
    ExpectRefused(RunProgram("ninfer-compile", {model(), "-o", path}), message);
  };
  refused(folder_.File("no/plan.bin"), "no/plan.bin: cannot write: No such file or directory");
  refused(out(), "out: cannot write: it is a folder");
  refused("/dev/null", "/dev/null: cannot write: not a regular file");
  refused(plan() + "/below", "plan.bin/below: cannot write: Not a directory");
  refused("/proc/plan.bin", "/proc/plan.bin: cannot write: ");
  ExpectRefused(RunProgram("ninfer-compile", {model()}),
                "-o: expected a file for the plan, found none");
  ExpectFolderRefused("cannot make the folder: Not a directory", {"--dump-ir=" + plan() + "/dump"});
}

TEST_F(CompileErrorsTest, AFileLimitLeavesTheOlderPlanAsItWas) {
  WriteModel(model(), model_);
  const std::string command = CommandOf("ninfer-compile", {model(), "-o", plan()});
  ExpectRefused(RunShell("ulimit -f 8; " + command), "plan.bin: cannot write: File too large");
}

TEST_F(CompileErrorsTest, AFullDiskLeavesTheOlderPlanAsItWas) {
  WriteModel(model(), model_);
  const std::string mount = absl::StrCat("mount -t tmpfs -o size=16k none ", Quoted(out()));
  if (RunShell("unshare -rm sh -c " + Quoted(mount)).status != 0) {
    GTEST_SKIP() << "no file system of its own for a test: unshare -rm mount is refused here";
  }
  // Inside the mount, which ends with the shell: an older plan, the attempt, and what it left.
  const std::string script = absl::StrCat(
      mount, " && printf '%s' '", kOldPlan, "' >", Quoted(plan()), "; ",
      CommandOf("ninfer-compile", {model(), "-o", plan()}), "; status=$?; test \"$(cat ",
      Quoted(plan()), ")\" = '", kOldPlan, "' || exit 90; test \"$(ls ", Quoted(out()),
      ")\" = plan.bin || exit 91; exit $status");
  ExpectRefused(RunShell("unshare -rm sh -c " + Quoted(script)),
                "plan.bin: cannot write: No space left on device");
}

TEST_F(CompileErrorsTest, AGraphThatDoesNotFitItsFolderIsRefused) {
  WriteModel(model(), model_);
  const std::string edited = folder_.File("edited.ir");
  const ProgramRun made =
      RunProgram("ninfer-compile", {model(), "-q", "--weights=f32", "--stop-after=canonicalise.0"});
  ASSERT_EQ(made.status, 0) << made.err;
  const std::vector<std::string> flags = {"--from-ir=" + edited, "--weights-from=" + model()};
  const auto expect_refused = [&](const std::string& text, const std::string& message) {
    WriteText(edited, text);
    ExpectFlagsRefused(flags, message);
  };
  ExpectFlagsRefused({"--from-ir=" + edited},
                     "--from-ir and --weights-from: expected both, found one");
  ExpectFlagsRefused(flags, "edited.ir: cannot open");
  expect_refused("", "edited.ir:1: expected ");
  expect_refused(made.out.substr(0, made.out.size() / 2), "edited.ir:");
  const auto replaced = [&](const char* from, const char* to) {
    EXPECT_NE(made.out.find(from), std::string::npos) << from;
    return absl::StrReplaceAll(made.out, {{from, to}});
  };
  expect_refused(replaced("stage imported", "stage optimised"),
                 "edited.ir: expected a graph of stage imported, found stage optimised");
  expect_refused(replaced("model.norm.weight", "model.zap.weight"), "model.zap.weight");
  expect_refused(replaced("model.norm.weight : f32[24]", "model.norm.weight : bf16[24]"),
                 "weight @model.norm.weight: expected f32[24] as in ");
  expect_refused(replaced("dim T in [1, 64]", "dim T in [1, 65]"),
                 "edited.ir: dim T: expected at most the model's context of 64, found 65");
  expect_refused(replaced("linear", "zap"), "edited.ir:");
  expect_refused(replaced("%seq_bounds", "%bounds"),
                 "edited.ir: @step: expected the parameters tokens, positions, seq_bounds, found "
                 "tokens, positions, bounds");
}

TEST_F(CompileErrorsTest, CtrlCEndsItAtOnceAndLeavesTheOlderPlanAsItWas) {
  const std::string command =
      CommandOf("ninfer-compile", {"--random-weights=tinyllama-1.1b", "-q", "-o", plan()});
  const ProgramRun run = RunShell("timeout --preserve-status -s INT 0.5 " + command);
  EXPECT_EQ(run.status, 130);
  EXPECT_EQ(run.out + run.err, "");
  EXPECT_EQ(ReadFile(plan()).value_or("gone"), kOldPlan);
}

}  // namespace
}  // namespace ninfer::testing
