#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "program/text.h"
#include "program/verifier.h"
#include "tests/program_testing.h"

namespace ninfer::program {
namespace {

const char kFolder[] = NINFER_SOURCE_DIR "/tests/program/text";

std::string TextOf(const std::string& name) {
  return ReadFile(absl::StrCat(kFolder, "/", name, ".kp")).value();
}

// --- round trips: one test a file ---

class TextFile : public ::testing::TestWithParam<std::string> {};

std::vector<std::string> TextFiles() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST_P(TextFile, ReadsAndPrintsByteForByteAndVerifies) {
  const std::string text = TextOf(GetParam());
  const auto program = Parse(text, GetParam());
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(Print(*program), text);
  EXPECT_TRUE(Verify(*program).ok()) << Verify(*program);
}

INSTANTIATE_TEST_SUITE_P(Program, TextFile, ::testing::ValuesIn(TextFiles()),
                         [](const auto& info) { return info.param; });

TEST(ProgramText, AWindowOfACacheReadsBack) {
  const std::string text = absl::StrReplaceAll(
      TextOf("layer"), {{"kv %kv.0 : kv<bf16>[1,4]", "kv %kv.0 : kv<bf16>[1,4] window 4096"}});
  const auto program = Parse(text, "layer");
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(program->kv[0].window, 4096);
  EXPECT_EQ(Print(*program), text);
}

TEST(ProgramText, ProgramsOfRandomGraphsReadBack) {
  int programs = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const auto random = testing::MakeRandomProgram(seed);
    if (random == nullptr) continue;
    const std::string text = Print(random->result.program);
    const auto again = Parse(text, "random.kp");
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << text;
    ASSERT_EQ(Print(*again), text);
    ASSERT_TRUE(Verify(*again).ok()) << Verify(*again) << "\n" << text;
    const std::vector<int> lines = KernelLines(text);
    ASSERT_EQ(lines.size(), again->kernels.size());
    for (size_t k = 0; k < lines.size(); ++k) {
      const auto nodes = again->kernels[k].body->nodes();
      for (size_t i = 0; i < nodes.size(); ++i) {
        ASSERT_EQ(nodes[i]->line(), lines[k] + 1 + static_cast<int>(i)) << text;
      }
    }
    ++programs;
  }
  EXPECT_GT(programs, 100);
}

// --- errors: one change of a good text, and the whole message ---

struct BadText {
  const char* name;
  const char* from;
  const char* to;
  const char* message;
};

class BadTextTest : public ::testing::TestWithParam<BadText> {};

TEST_P(BadTextTest, IsRefusedWithItsPlace) {
  const BadText& bad = GetParam();
  std::string text = TextOf("layer");
  const size_t at = text.find(bad.from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, strlen(bad.from), bad.to);
  const auto program = Parse(text, "x.kp");
  ASSERT_FALSE(program.ok());
  EXPECT_EQ(std::string(program.status().message()), bad.message);
}

const BadText kBadTexts[] = {
    {"Header", "program \"layer\"", "module \"layer\"", "x.kp:1: expected 'program', found module"},
    {"NameInQuotes", "program \"layer\"", "program layer",
     "x.kp:1: expected the program's name in quotes, found layer"},
    {"UnknownItem", "dim S in", "size S in",
     "x.kp:3: expected dim, argument, kv, begin, weights, weight, kernel, arena, buffer or launch, "
     "found size"},
    {"DimensionTwice", "dim S in", "dim T in",
     "x.kp:3: expected a dim not declared above, found T"},
    {"Bound", "[1, 64]", "[1, x]", "x.kp:2: expected an upper bound, found x"},
    {"HugeNumber", "[1, 64]", "[1, 99999999999999999999]",
     "x.kp:2: expected an upper bound, found 99999999999999999999"},
    {"UnknownDimension", "i32[S,G]", "i32[S,P]",
     "x.kp:9: expected a size or a declared dimension, found P"},
    {"ArgumentTwice", "argument %rows", "argument %tokens",
     "x.kp:10: expected an argument not declared above, found tokens"},
    {"KvType", "kv %kv.0 : kv<bf16>[1,4]", "kv %kv.0 : bf16[1,4]",
     "x.kp:11: expected kv<..>[heads,head_dim], found bf16[1,4]"},
    {"ExpressionsWithoutEnd", "end expressions", "the end",
     "x.kp:13: expected a line 'end expressions' behind, found none"},
    {"ErrorInsideExpressions", "weight @qkv : bf16[16,8]", "weight @qkv : bf16[16,",
     "x.kp:18: expected a size or a declared dimension, found weight"},
    {"WeightFormat", ": panel_bf16 n 16", ": panel_int3 n 16",
     "x.kp:33: expected a weight format such as panel_bf16, found panel_int3"},
    {"WeightTwice", "weight @o : panel_bf16", "weight @qkv : panel_bf16",
     "x.kp:34: expected a weight not declared above, found qkv"},
    {"Family", "family kv_append", "family append",
     "x.kp:64: expected a kernel family such as linear, found append"},
    {"Params", "params argument, weight plain_bf16, buffer written",
     "params argument, tensor, buffer written",
     "x.kp:42: expected buffer, weight, argument or kv, found tensor"},
    {"NameOfBody", "func @rmsnorm_f32_bf16__8(", "func @other(",
     "x.kp:50: expected the body of @rmsnorm_f32_bf16__8, found @other"},
    {"ErrorInsideBody", "%0 = rms_norm %x, %w", "%0 = rms_norm %x, %z",
     "x.kp:51: expected a value defined above, found %z"},
    {"TwoOutputs", "live 0 to 5", "output live 0 to 5",
     "x.kp:140: expected one output of logits, and one of ids, as marked above, found live"},
    {"LiveNumber", "live 0 to 5", "live 0 to -5", "x.kp:131: expected a launch's number, found -5"},
    {"LaunchNumber", "launch 1 ", "launch 3 ", "x.kp:143: expected launch 1, found 3"},
    {"UnknownKernel", "launch 1 @rmsnorm_f32_bf16__8", "launch 1 @norm",
     "x.kp:143: expected a kernel declared above, found @norm"},
    {"UnknownBuffer", "(%h0, @norm1", "(%h, @norm1",
     "x.kp:143: expected a buffer declared above, found %h"},
    {"UnknownWeight", "(%h0, @norm1", "(%h0, @norm9",
     "x.kp:143: expected a weight declared above, found @norm9"},
    {"UnknownArgument", "(argument %tokens, @embed", "(argument %token, @embed",
     "x.kp:142: expected an argument declared above, found %token"},
    {"BarrierKind", "barrier many", "barrier some",
     "x.kp:144: expected none, many, prefill, many_or_prefill or always, found some"},
};

INSTANTIATE_TEST_SUITE_P(Program, BadTextTest, ::testing::ValuesIn(kBadTexts),
                         [](const auto& info) { return info.param.name; });

TEST(ProgramText, ATextCutAtAnyLineIsRefusedOrVerifiesNot) {
  const std::string text = TextOf("layer");
  for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    const auto program = Parse(text.substr(0, at), "cut.kp");
    if (!program.ok()) {
      EXPECT_TRUE(absl::StartsWith(program.status().message(), "cut.kp:")) << program.status();
      continue;
    }
    EXPECT_FALSE(Verify(*program).ok()) << text.substr(0, at);
  }
}

}  // namespace
}  // namespace ninfer::program
