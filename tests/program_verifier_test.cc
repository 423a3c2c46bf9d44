// Each rule of the verifier with a program that breaks it: one change of the text, and the message.
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "program/text.h"
#include "program/verifier.h"

namespace ninfer::program {
namespace {

Program ReadProgram(const std::string& name, absl::string_view from = "",
                    absl::string_view to = "") {
  const std::string path = absl::StrCat(NINFER_SOURCE_DIR "/tests/program/text/", name, ".kp");
  std::string text = ReadFile(path).value();
  if (!from.empty()) {
    const size_t at = text.find(std::string(from));
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), std::string(to));
  }
  auto program = Parse(text, "x.kp");
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? std::move(*program) : Program();
}

struct BadProgram {
  const char* name;
  const char* from;
  const char* to;
  const char* message;
};

class BadProgramTest : public ::testing::TestWithParam<BadProgram> {};

TEST_P(BadProgramTest, IsRefused) {
  const Program program = ReadProgram("layer", GetParam().from, GetParam().to);
  EXPECT_EQ(std::string(Verify(program).message()), GetParam().message);
}

const BadProgram kBadPrograms[] = {
    {"Bounds", "dim T in [1, 64]", "dim T in [65, 64]",
     "dim T: expected ordered bounds in [0, 2^40], found [65, 64]"},
    {"BoundTooLarge", "dim T in [1, 64]", "dim T in [1, 4398046511104]",
     "dim T: expected ordered bounds in [0, 2^40], found [1, 4398046511104]"},
    {"FewRows", "few_rows 8", "few_rows -1", "few_rows: expected 0 or more, found -1"},
    {"ArgumentType", "argument %rows : i32[R]", "argument %rows : f32[R]",
     "argument %rows: expected i32 or rows of f32, found f32[R]"},
    {"KvHeads", "kv %kv.0 : kv<bf16>[1,4]", "kv %kv.0 : kv<bf16>[0,4]",
     "kv %kv.0: expected floats or i8, heads and head_dim of 1 or more"},
    {"KvPage", "kv %kv.0 : kv<bf16>[1,4]", "kv %kv.0 : kv<bf16>[1,4611686018427387904]",
     "kv %kv.0: expected pages of at most 2^46 bytes, found 1 heads of 4611686018427387904"},
    {"KvPageOfManyHeads", "kv %kv.0 : kv<bf16>[1,4]", "kv %kv.0 : kv<bf16>[144115188075855872,1]",
     "kv %kv.0: expected pages of at most 2^46 bytes, found 144115188075855872 heads of 1"},
    {"WeightsSection", "weights 4672", "weights -9223372036854775808",
     "weights: expected 0 to 2^46 bytes, found -9223372036854775808"},
    {"ReplicaBelowZero", "replica 12288", "replica -12288",
     "replica: expected 0 to 2^46 bytes, found -12288"},
    {"KvWindow", "kv %kv.0 : kv<bf16>[1,4]", "kv %kv.0 : kv<bf16>[1,4] window -1",
     "kv %kv.0: expected a window in [0, 2^40], found -1"},
    {"PageTableOfAnotherWindow", "kv %kv.0 : kv<bf16>[1,4]", "kv %kv.0 : kv<bf16>[1,4] window 8",
     "launch 3: expected %page_table.8 as page table of %kv.0, found another operand"},
    {"FewerWeightsThanExpressions", "@norm, @head\n}", "@norm, @head, @qkv\n}",
     "weights: expected 10 as @weights returns, found 9"},
    {"WeightShape", "@qkv : panel_bf16 n 16 k 8", "@qkv : panel_bf16 n 15 k 8",
     "weight @qkv: expected panel_bf16 of the size of bf16[16,8], found n 15 k 8 segments 1"},
    {"WeightDType", "@qkv : panel_bf16 n 16", "@qkv : panel_f32 n 16",
     "weight @qkv: expected panel_f32 of the size of bf16[16,8], found n 16 k 8 segments 1"},
    {"WeightBytes", "k 8 bytes 640", "k 8 bytes 641",
     "weight @embed: expected 640 bytes, found 641"},
    {"WeightAlignment", "bytes 512 at 576", "bytes 512 at 577",
     "weight @o: expected an offset aligned to 64 in [576, 4160], found 577"},
    {"WeightsOverlap", "bytes 512 at 576", "bytes 512 at 512",
     "weight @o: expected an offset aligned to 64 in [576, 4160], found 512"},
    {"WeightBehindTheEnd", "weights 4672", "weights 4671",
     "weight @embed: expected an offset aligned to 64 in [4032, 4031], found 4032"},
    {"SomeWeightsPlaced", " bytes 640 at 4032", " bytes 640",
     "weights: expected all or none to have an offset, found 8 of 9"},
    {"BodyType", "%0 = rms_norm %x, %w {eps = 1e-05} : f32[T,8]\n  %1 = cast %0 : bf16[T,8]",
     "%0 = rms_norm %x, %w {eps = 1e-05} : f32[T,9]\n  %1 = cast %0 : bf16[T,8]",
     "kernel rmsnorm_f32_bf16__8: @rmsnorm_f32_bf16__8: line 51: %0 = rms_norm %x, %w {eps = "
     "1e-05} "
     ": f32[T,9]: result: expected f32[T,8], found f32[T,9]"},
    {"Units", "family linear units 1 scratch", "family linear units 2 scratch",
     "kernel linear_bf16_bf16__16x8: expected units 1 of dimension -1 by 1, found 2 of dimension "
     "-1 "
     "by 1"},
    {"Scratch", "units 1 scratch 65536", "units 1 scratch -1",
     "kernel linear_bf16_bf16__16x8: expected scratch of 0 to 2^46 bytes, found -1"},
    {"ParameterCount", "params argument, weight plain_bf16, buffer written",
     "params argument, buffer written",
     "kernel embedding_bf16_f32__40x8: expected 3 parameters as in the body, found 2"},
    {"OutputNotWritten", "params argument, weight plain_bf16, buffer written",
     "params argument, weight plain_bf16, buffer",
     "kernel embedding_bf16_f32__40x8: output %y: expected a buffer that is written"},
    {"InputWritten", "params argument, weight plain_bf16, buffer written",
     "params argument written, weight plain_bf16, buffer written",
     "kernel embedding_bf16_f32__40x8: input %tokens: expected to be read only"},
    {"OutputType", "%y: bf16[T,16]) {", "%y: bf16[T,17]) {",
     "kernel linear_bf16_bf16__16x8: output %y: expected the result's type bf16[T,16], found "
     "bf16[T,17]"},
    {"PlainRowsForALinear", "params buffer, weight panel_bf16, buffer written",
     "params buffer, weight plain_bf16, buffer written",
     "kernel linear_bf16_bf16__16x8: family linear expects panels for %w, found `linear` (%0 = "
     "linear "
     "%x, %w : f32[T,16])"},
    {"PoolNotWritten", "params buffer, kv written, argument", "params buffer, kv, argument",
     "kernel kv_append_bf16_bf16__1x4: input %kv: expected to be written"},
    {"SegmentsNotHalved", "panel_bf16 segments 2, buffer", "panel_bf16 segments 3, buffer",
     "kernel linear_bf16_bf16_silu_mul__12x8: family linear expects one or two segments of equal "
     "width, found `linear` (%0 = linear %x, %w : f32[T,24])"},
    {"SegmentsOfTheWeight", "n 12 k 8 segments 2 bytes 1024", "n 24 k 8 bytes 512",
     "launch 7: operand %w of linear_bf16_bf16_silu_mul__12x8: expected panel_bf16 in 2 segments, "
     "found panel_bf16 in 1"},
    {"BufferLd", "ld 32 bytes 8192 replicated live 0 to 5",
     "ld 8 bytes 8192 replicated live 0 to 5",
     "buffer %h0: expected ld 32 and 8192 bytes, found ld 8 and 8192"},
    {"BufferAlignment", "live 0 to 5 at 0", "live 0 to 5 at 4",
     "buffer %h0: expected an offset aligned to 64, found 4"},
    {"OperandCount", "(%h0, @norm1, %x0)", "(%h0, %x0)",
     "launch 1: expected 3 operands for rmsnorm_f32_bf16__8, found 2"},
    {"OperandKind", "(%h0, @norm1, %x0)", "(%h0, %h0, %x0)",
     "launch 1: operand %w of rmsnorm_f32_bf16__8: expected the parameter's kind of operand, found "
     "another"},
    {"OperandType", "(%h0, @norm1, %x0)", "(%h0, @norm1, %h1)",
     "launch 1: operand %y of rmsnorm_f32_bf16__8: expected bf16[T,8], found f32[T,8]"},
    {"ReadBeforeWritten", "(%h0, @norm1, %x0)", "(%h1, @norm1, %x0)",
     "launch 1: operand %x of rmsnorm_f32_bf16__8: expected %h1 to be written by an earlier "
     "launch"},
    {"WrittenTwice", "@norm2, %x1)", "@norm2, %x0)",
     "launch 6: expected one launch that writes %x0, found another"},
    {"ReplicatedLaunchOfSharedBuffer", "4096 replicated live 1 to 2", "4096 live 1 to 2",
     "launch 1: %x0: expected to be replicated exactly as the launch is"},
    {"Output", "output live 10 to 10", "live 10 to 10",
     "output: expected a buffer below 10, found -1"},
};

INSTANTIATE_TEST_SUITE_P(Program, BadProgramTest, ::testing::ValuesIn(kBadPrograms),
                         [](const auto& info) { return info.param.name; });

TEST(ProgramVerifier, AReplicatedLaunchThatIsNotRowwiseIsRefused) {
  Program program = ReadProgram("layer");
  program.launches[2].replicated = true;
  program.buffers[program.launches[2].operands.back().index].replicated = true;
  EXPECT_EQ(std::string(Verify(program).message()),
            "launch 2: expected a replicated launch to be rowwise, found linear");
}

TEST(ProgramVerifier, AnIndexOutsideIsRefused) {
  Program program = ReadProgram("layer");
  program.launches[3].operands[0].index = 77;
  EXPECT_EQ(
      std::string(Verify(program).message()),
      "launch 3: operand %x of kv_append_bf16_bf16__1x4: expected an index below 10, found 77");
  program.launches[3].kernel = -1;
  EXPECT_EQ(std::string(Verify(program).message()),
            "launch 3: expected a kernel below 10, found -1");
}

// Pages behind a window are not there: attention that sees further would read none.
TEST(ProgramVerifier, AttentionSeesNoFurtherThanItsCache) {
  Program program = ReadProgram("layer");
  program.kv[0].window = 8;
  for (Argument& argument : program.arguments) {
    if (argument.name == "page_table") argument.name = "page_table.8";
  }
  EXPECT_EQ(std::string(Verify(program).message()),
            "launch 4: expected attention over %kv.0 to see 8 positions at most, found all");
  const auto see = [&](int64_t window) {
    for (Kernel& kernel : program.kernels) {
      for (const auto& node : kernel.body->nodes()) {
        if (node->op() == ir::Op::kPagedAttention) node->set_attr("window", window);
      }
    }
    return std::string(Verify(program).message());
  };
  EXPECT_EQ(see(9), "launch 4: expected attention over %kv.0 to see 8 positions at most, found 9");
  EXPECT_EQ(see(8), "");
  EXPECT_EQ(see(3), "");
}

TEST(ProgramVerifier, AScratchPoolHoldsWholePages) {
  const Program program = ReadProgram("whole", "ld 0 bytes 46080", "ld 0 bytes 46081");
  EXPECT_EQ(std::string(Verify(program).message()),
            "buffer %scratch_kv: expected whole pages of 9216 bytes, found 46081");
}

TEST(ProgramVerifier, NaiveAttentionNeedsItsScores) {
  const Program program = ReadProgram("whole", "%scores: f32[T,2,128]", "%scores: f32[T,2,100]");
  EXPECT_EQ(
      std::string(Verify(program).message()),
      "kernel attention_naive_f32__2x1x4: family attention expects a last parameter for scores, "
      "f32[rows,heads,whole pages], found `paged_attention` (%1 = paged_attention %0, %kv, "
      "%positions, %seq_bounds, %x1 {scale = 0.5, form = \"naive\"} : f32[T,2,4])");
}

TEST(ProgramVerifier, AnEmptyProgramHasNoOutput) {
  EXPECT_EQ(std::string(Verify(Program()).message()),
            "output: expected a buffer below 0, found -1");
}

}  // namespace
}  // namespace ninfer::program
