#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "program/body.h"
#include "program/scratch.h"

namespace ninfer::program {
namespace {

using ::testing::HasSubstr;

const std::vector<ir::Symbol>& Symbols() {
  static const auto* symbols =
      new std::vector<ir::Symbol>{{"T", 1, 64}, {"S", 1, 4}, {"G", 1, 2}, {"R", 1, 8}};
  return *symbols;
}

// A kernel from its body's text and a letter for each parameter: b(uffer), p(anel), q (panel of two
// segments), w (plain weight), a(rgument), k(v), o(utput).
Kernel MakeKernel(Family family, absl::string_view letters, absl::string_view body) {
  Kernel kernel;
  kernel.name = "kernel";
  kernel.family = family;
  size_t consumed = 0;
  auto function =
      ir::ParseFunction(absl::StrCat("func @kernel", body), "body", 1, Symbols(), &consumed);
  EXPECT_TRUE(function.ok()) << function.status();
  kernel.body = std::move(*function);
  const absl::Status verified = ir::VerifyFunction(*kernel.body, Symbols(), ir::Stage::kFused);
  EXPECT_TRUE(verified.ok()) << verified;
  for (size_t i = 0; i < letters.size(); ++i) {
    KernelParam param;
    const DType dtype = kernel.body->parameters()[i]->type().dtype;
    switch (letters[i]) {
      case 'p':
      case 'q':
        param.kind = OperandKind::kWeight;
        param.format = formats::PanelFormat(dtype);
        param.segments = letters[i] == 'q' ? 2 : 1;
        break;
      case 'w':
        param.kind = OperandKind::kWeight;
        param.format = formats::PlainFormat(dtype);
        break;
      case 'a':
        param.kind = OperandKind::kArgument;
        break;
      case 'k':
        param.kind = OperandKind::kKv;
        param.written = family == Family::kKvAppend;
        break;
      case 'o':
        param.written = true;
        break;
    }
    kernel.params.push_back(param);
  }
  kernel.kv = KvOf(*kernel.body);
  return kernel;
}

std::string Refusal(const Kernel& kernel) {
  return std::string(CheckBody(kernel, Symbols()).message());
}

Kernel Residual() {
  return MakeKernel(Family::kLinear, "bpbo",
                    R"((%x: f32[T,8], %w: f32[6,8], %r: f32[T,6], %y: f32[T,6]) {
    %0 = linear %x, %w : f32[T,6]
    %1 = add %r, %0 : f32[T,6]
    return %1
  })");
}

Kernel Norm() {
  return MakeKernel(Family::kRowwise, "bwo", R"((%x: f32[T,8], %w: f32[8], %y: f32[T,8]) {
    %0 = rms_norm %x, %w {eps = 1e-05} : f32[T,8]
    return %0
  })");
}

// --- views ---

const ir::Value* LastResult(const Kernel& kernel) { return kernel.body->results()[0]; }

TEST(ResolveColumns, FollowsReshapesAndSlicesToOneStretchOfARow) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "bo", R"((%x: f32[T,24], %y: f32[T,4]) {
    %0 = slice %x {axis = 1, begin = 8, end = 20} : f32[T,12]
    %1 = reshape %0 : f32[T,3,4]
    %2 = slice %1 {axis = 1, begin = 1, end = 2} : f32[T,1,4]
    %3 = reshape %2 : f32[T,4]
    return %3
  })");
  const auto range = ResolveColumns(LastResult(kernel));
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->root, kernel.body->parameters()[0].get());
  EXPECT_EQ(range->offset, 12);
  EXPECT_EQ(range->columns, 4);
}

TEST(ResolveColumns, AStridedSliceIsNoStretch) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "bo", R"((%x: f32[T,24], %y: f32[T,3,2]) {
    %0 = reshape %x : f32[T,3,8]
    %1 = slice %0 {axis = 2, begin = 0, end = 2} : f32[T,3,2]
    return %1
  })");
  EXPECT_FALSE(ResolveColumns(LastResult(kernel)).has_value());
}

TEST(ResolveColumns, AReshapeThatMovesElementsBetweenRowsIsNoStretch) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "bo", R"((%x: f32[T,24], %y: f32[24,T]) {
    %0 = reshape %x : f32[24,T]
    return %0
  })");
  EXPECT_FALSE(ResolveColumns(LastResult(kernel)).has_value());
}

// --- rows and places ---

TEST(ReadsRowByRow, NotThroughAGatherNorInALinear) {
  EXPECT_TRUE(ReadsRowByRow(Norm(), 0));
  EXPECT_FALSE(ReadsRowByRow(Residual(), 0));
  const Kernel gather = MakeKernel(Family::kRowwise, "bao",
                                   R"((%x: f32[T,8], %rows: i32[R], %y: f32[R,4]) {
    %0 = reshape %x : f32[T,2,4]
    %1 = gather_rows %0, %rows : f32[R,2,4]
    %2 = slice %1 {axis = 1, begin = 0, end = 1} : f32[R,1,4]
    %3 = reshape %2 : f32[R,4]
    return %3
  })");
  EXPECT_FALSE(ReadsRowByRow(gather, 0));
  EXPECT_TRUE(ReadsRowByRow(gather, 1));
}

TEST(MayOverwrite, AResidualButNotTheInputOfALinear) {
  EXPECT_TRUE(MayOverwrite(Residual(), 2));
  EXPECT_FALSE(MayOverwrite(Residual(), 0));
  EXPECT_FALSE(MayOverwrite(Norm(), 0));  // reads its row twice
}

TEST(MayOverwrite, ElementwiseOpsOfOneResult) {
  const Kernel one = MakeKernel(Family::kRowwise, "bbo",
                                R"((%x: f32[T,8], %z: f32[T,8], %y: f32[T,8]) {
    %0 = exp %x : f32[T,8]
    %1 = mul %0, %z : f32[T,8]
    return %1
  })");
  EXPECT_TRUE(MayOverwrite(one, 0));
  EXPECT_TRUE(MayOverwrite(one, 1));
  const Kernel two = MakeKernel(Family::kRowwise, "boo",
                                R"((%x: f32[T,8], %y: f32[T,8], %y1: f32[T,8]) {
    %0 = exp %x : f32[T,8]
    %1 = neg %x : f32[T,8]
    return %0, %1
  })");
  EXPECT_FALSE(MayOverwrite(two, 0));  // the first result may be written before the second is made
  const Kernel wide = MakeKernel(Family::kRowwise, "bbo",
                                 R"((%x: f32[T,1], %z: f32[T,8], %y: f32[T,8]) {
    %0 = mul %x, %z : f32[T,8]
    return %0
  })");
  EXPECT_FALSE(MayOverwrite(wide, 0));
  EXPECT_TRUE(MayOverwrite(wide, 1));
}

// --- what each family takes ---

TEST(CheckBody, AcceptsTheUsualBodies) {
  EXPECT_EQ(Refusal(Residual()), "");
  EXPECT_EQ(Refusal(Norm()), "");
}

TEST(CheckBody, ALinearTakesNoSecondLinear) {
  const Kernel kernel = MakeKernel(Family::kLinear, "bppo",
                                   R"((%x: f32[T,8], %w: f32[8,8], %w1: f32[8,8], %y: f32[T,8]) {
    %0 = linear %x, %w : f32[T,8]
    %1 = linear %0, %w1 : f32[T,8]
    return %1
  })");
  EXPECT_EQ(
      Refusal(kernel),
      "family linear expects elementwise ops and casts after the linear, found `linear` (%1 = "
      "linear %0, %w1 : f32[T,8])");
}

TEST(CheckBody, ALinearTakesNoReduction) {
  const Kernel kernel = MakeKernel(Family::kLinear, "bpo",
                                   R"((%x: f32[T,8], %w: f32[8,8], %y: f32[T,8]) {
    %0 = linear %x, %w : f32[T,8]
    %1 = softmax %0 : f32[T,8]
    return %1
  })");
  EXPECT_EQ(
      Refusal(kernel),
      "family linear expects elementwise ops and casts after the linear, found `softmax` (%1 = "
      "softmax %0 : f32[T,8])");
}

TEST(CheckBody, ALinearsHalvesAreReadApartWithTwoSegmentsOnly) {
  const char* body = R"((%x: f32[T,8], %w: f32[8,8], %y: f32[T,4]) {
    %0 = linear %x, %w : f32[T,8]
    %1 = slice %0 {axis = 1, begin = 0, end = 4} : f32[T,4]
    %2 = slice %0 {axis = 1, begin = 4, end = 8} : f32[T,4]
    %3 = mul %1, %2 : f32[T,4]
    return %3
  })";
  EXPECT_EQ(Refusal(MakeKernel(Family::kLinear, "bqo", body)), "");
  EXPECT_EQ(
      Refusal(MakeKernel(Family::kLinear, "bpo", body)),
      "family linear expects views of inputs alone, found `slice` (%1 = slice %0 {axis = 1, begin "
      "= 0, end = 4} : f32[T,4])");
}

TEST(CheckBody, ALinearsInputIsAStretchOfColumns) {
  const Kernel kernel = MakeKernel(Family::kLinear, "bpo",
                                   R"((%x: f32[T,2,8], %w: f32[8,8], %y: f32[T,8]) {
    %0 = slice %x {axis = 2, begin = 0, end = 4} : f32[T,2,4]
    %1 = reshape %0 : f32[T,8]
    %2 = linear %1, %w : f32[T,8]
    return %2
  })");
  EXPECT_EQ(
      Refusal(kernel),
      "family linear expects rows of an input, or a stretch of columns of it, found `linear` (%2 = "
      "linear %1, %w : f32[T,8])");
}

// A head, with what it finds in panels of `columns` of the value `of`.
Kernel Head(const std::string& of, int columns, const std::string& results) {
  const std::string parts = absl::StrCat("[T,", (39 + columns) / columns, "]");
  const std::string found = absl::StrCat(of, " {columns = ", columns, "}");
  const bool alone = results == "%1";
  const std::string outputs = alone ? "" : absl::StrCat(", %v: f32", parts, ", %i: i32", parts);
  return MakeKernel(
      Family::kLinear, alone ? "bpo" : "bpooo",
      absl::StrCat("(%x: f32[T,8], %w: f32[40,8], %y: f32[T,40]", outputs, ") {\n",
                   "  %0 = linear %x, %w : f32[T,40]\n  %1 = tanh %0 : f32[T,40]\n",
                   "  %2 = max_parts ", found, " : f32", parts, "\n  %3 = argmax_parts ", found,
                   " : i32", parts, "\n  return ", results, "\n}"));
}

TEST(CheckBody, ALinearFindsTheLargestOfWholePanelsOfAResult) {
  const auto refusal = [](const std::string& of, int columns, const std::string& results) {
    return Refusal(Head(of, columns, results));
  };
  EXPECT_EQ(refusal("%1", 32, "%1, %2, %3"), "");
  // No result, other columns than a panel's, and parts that nobody gets.
  EXPECT_THAT(refusal("%0", 32, "%1, %2, %3"), HasSubstr("the largest of each panel of a result"));
  EXPECT_THAT(refusal("%1", 20, "%1, %2, %3"), HasSubstr("the largest of each panel of a result"));
  EXPECT_THAT(refusal("%1", 32, "%1"), HasSubstr("as results behind it"));
}

TEST(CheckBody, ArgmaxTakesRowsOfBuffers) {
  const auto make = [](const std::string& letters, const std::string& body) {
    return Refusal(MakeKernel(Family::kArgmax, letters, body));
  };
  EXPECT_EQ(make("bo", R"((%x: f32[T,40], %y: i32[T]) {
    %0 = slice %x {axis = 1, begin = 2, end = 9} : f32[T,7]
    %1 = argmax %0 : i32[T]
    return %1
  })"),
            "");
  EXPECT_EQ(make("bbo", R"((%x: f32[T,3], %i: i32[T,3], %y: i32[T]) {
    %0 = argmax_of %x, %i : i32[T]
    return %0
  })"),
            "");
  EXPECT_THAT(make("bo", R"((%x: f32[T,40], %y: i32[T]) {
    %0 = exp %x : f32[T,40]
    %1 = argmax %0 : i32[T]
    return %1
  })"),
              HasSubstr("expects views before the argmax, found `exp`"));
  EXPECT_THAT(make("bo", R"((%x: f32[T,40], %y: f32[T,40]) {
    %0 = exp %x : f32[T,40]
    return %0
  })"),
              HasSubstr("expects one argmax or argmax_of as its only result"));
}

TEST(CheckBody, RowwiseTakesRowsOfTheStepAndStaticColumns) {
  const Kernel rows = MakeKernel(Family::kRowwise, "bo", R"((%x: f32[8,4], %y: f32[8,4]) {
    %0 = exp %x : f32[8,4]
    return %0
  })");
  EXPECT_EQ(Refusal(rows),
            "family rowwise expects rows that are a dimension of the step, found f32[8,4]");
  const Kernel columns = MakeKernel(Family::kRowwise, "bo", R"((%x: f32[T,R], %y: f32[T,R]) {
    %0 = exp %x : f32[T,R]
    return %0
  })");
  EXPECT_EQ(Refusal(columns),
            "family rowwise expects static dimensions after the rows, found `exp` (%0 = exp %x : "
            "f32[T,R])");
}

TEST(CheckBody, RowwiseTakesNoViewAcrossRows) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "bo", R"((%x: f32[T,4], %y: f32[T,4]) {
    %0 = exp %x : f32[T,4]
    %1 = reshape %0 : f32[4,T]
    %2 = reshape %1 : f32[T,4]
    return %2
  })");
  EXPECT_EQ(Refusal(kernel),
            "family rowwise expects views that keep the rows, found `reshape` (%1 = reshape %0 : "
            "f32[4,T])");
}

TEST(CheckBody, AGatherReadsAnInput) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "bao",
                                   R"((%x: f32[T,4], %rows: i32[R], %y: f32[R,4]) {
    %0 = exp %x : f32[T,4]
    %1 = gather_rows %0, %rows : f32[R,4]
    return %1
  })");
  EXPECT_EQ(Refusal(kernel), "family rowwise expects rows R, found `exp` (%0 = exp %x : f32[T,4])");
}

// The rest of what columns.h refuses: tests/program_columns_test.cc.
TEST(CheckBody, RowwiseTakesNoReductionOfWhatRopeTurns) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "bbbo",
                                   R"((%x: f32[T,2,4], %c: f32[T,2], %s: f32[T,2], %y: f32[T,8]) {
    %0 = rope %x, %c, %s {style = "half"} : f32[T,2,4]
    %1 = reshape %0 : f32[T,8]
    %2 = softmax %1 : f32[T,8]
    return %2
  })");
  EXPECT_EQ(Refusal(kernel),
            "family rowwise expects reductions of what no rope turns, found `softmax` (%2 = "
            "softmax %1 : f32[T,8])");
}

TEST(CheckBody, AnAppendTakesWholeHeadsOfWhatRopeTurns) {
  const Kernel kernel = MakeKernel(
      Family::kKvAppend, "kbbbaaa",
      R"((%kv: kv<f32>[1,4], %x: f32[T,1,8], %c: f32[T,4], %s: f32[T,4], %positions: i32[T], %bounds: i32[S+1], %pages: i32[S,G]) {
    %0 = rope %x, %c, %s {style = "half"} : f32[T,1,8]
    %1 = slice %0 {axis = 2, begin = 4, end = 8} : f32[T,1,4]
    %2 = kv_append %kv, %1, %1, %positions, %bounds, %pages : kv<f32>[1,4]
    return %2
  })");
  EXPECT_EQ(Refusal(kernel),
            "family kv_append expects slices of whole heads of what rope turns, found `slice` (%1 "
            "= slice %0 {axis = 2, begin = 4, end = 8} : f32[T,1,4])");
}

TEST(CheckBody, RowwiseMakesFloats) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "aao",
                                   R"((%ids: i32[T], %rows: i32[R], %y: i32[R]) {
    %0 = gather_rows %ids, %rows : i32[R]
    return %0
  })");
  EXPECT_EQ(Refusal(kernel), "family rowwise expects results of floats, found i32[R]");
}

TEST(CheckBody, ATableIsAWeight) {
  const Kernel kernel = MakeKernel(Family::kRowwise, "abo",
                                   R"((%ids: i32[T], %x: f32[9,4], %y: f32[T,4]) {
    %0 = embedding %ids, %x : f32[T,4]
    return %0
  })");
  EXPECT_EQ(Refusal(kernel),
            "family rowwise expects a weight as table, found `embedding` (%0 = embedding %ids, %x "
            ": f32[T,4])");
}

TEST(CheckBody, AnAppendStandsLastAndAlone) {
  const Kernel kernel = MakeKernel(
      Family::kKvAppend, "kbaaa",
      R"((%kv: kv<f32>[1,4], %x: f32[T,1,4], %positions: i32[T], %bounds: i32[S+1], %pages: i32[S,G]) {
    %0 = kv_append %kv, %x, %x, %positions, %bounds, %pages : kv<f32>[1,4]
    %1 = kv_append %0, %x, %x, %positions, %bounds, %pages : kv<f32>[1,4]
    return %1
  })");
  EXPECT_EQ(
      Refusal(kernel),
      "family kv_append expects a KV pool that is an input, found `kv_append` (%1 = kv_append %0, "
      "%x, %x, %positions, %bounds, %pages : kv<f32>[1,4])");
}

TEST(CheckBody, AppendAndAttentionTakeRowsOfTheStep) {
  const Kernel append = MakeKernel(
      Family::kKvAppend, "kbaaa",
      R"((%kv: kv<f32>[1,4], %x: f32[3,1,4], %positions: i32[3], %bounds: i32[S+1], %pages: i32[S,G]) {
    %0 = kv_append %kv, %x, %x, %positions, %bounds, %pages : kv<f32>[1,4]
    return %0
  })");
  EXPECT_EQ(Refusal(append),
            "family kv_append expects rows that are a dimension of the step, found `kv_append` (%0 "
            "= kv_append %kv, %x, %x, %positions, %bounds, %pages : kv<f32>[1,4])");
  const Kernel attention = MakeKernel(
      Family::kAttention, "bkaaao",
      R"((%x: f32[3,2,4], %kv: kv<f32>[1,4], %positions: i32[3], %bounds: i32[S+1], %pages: i32[S,G], %y: f32[3,2,4]) {
    %0 = paged_attention %x, %kv, %positions, %bounds, %pages {scale = 0.5, form = "flash"} : f32[3,2,4]
    return %0
  })");
  EXPECT_EQ(Refusal(attention),
            "family attention expects rows that are a dimension of the step, found "
            "`paged_attention` (%0 = paged_attention %x, %kv, %positions, %bounds, %pages {scale = "
            "0.5, form = \"flash\"} : f32[3,2,4])");
}

TEST(CheckBody, AttentionTakesViewsBeforeAndCastsAfter) {
  const auto make = [](absl::string_view op) {
    return MakeKernel(Family::kAttention, "bkaaao",
                      absl::StrCat(R"((%x: f32[T,8], %kv: kv<f32>[1,4], %positions: i32[T], )",
                                   R"(%bounds: i32[S+1], %pages: i32[S,G], %y: f32[T,2,4]) {
    %0 = reshape %x : f32[T,2,4]
    %1 = paged_attention %0, %kv, %positions, %bounds, %pages {scale = 0.5, form = "flash"} : f32[T,2,4]
    %2 = )",
                                   op, R"( : f32[T,2,4]
    return %2
  })"));
  };
  EXPECT_EQ(Refusal(make("reshape %1")), "");
  EXPECT_EQ(Refusal(make("neg %1")),
            "family attention expects a view before, reshapes and casts after, found `neg` (%2 = "
            "neg %1 : "
            "f32[T,2,4])");
}

// --- units and scratch ---

TEST(UnitsOf, FollowTheFamily) {
  EXPECT_EQ(UnitsOf(Residual()), (Units{1, -1, 1}));
  EXPECT_EQ(UnitsOf(Norm()), (Units{1, 0, 1}));
  const Kernel attention = MakeKernel(
      Family::kAttention, "bkaaao",
      R"((%x: f32[T,6,4], %kv: kv<f32>[3,4], %positions: i32[T], %bounds: i32[S+1], %pages: i32[S,G], %y: f32[T,6,4]) {
    %0 = paged_attention %x, %kv, %positions, %bounds, %pages {scale = 0.5, form = "efficient"} : f32[T,6,4]
    return %0
  })");
  EXPECT_EQ(UnitsOf(attention), (Units{12, 0, 16}));
  const Kernel append = MakeKernel(
      Family::kKvAppend, "kbbaaa",
      R"((%kv: kv<f32>[3,4], %k: f32[T,3,4], %v: f32[T,3,4], %positions: i32[T], %bounds: i32[S+1], %pages: i32[S,G]) {
    %0 = kv_append %kv, %k, %v, %positions, %bounds, %pages : kv<f32>[3,4]
    return %0
  })");
  EXPECT_EQ(UnitsOf(append), UnitsOf(attention));
  EXPECT_EQ(ScratchBytes(attention, Symbols()),
            AttentionTileBytes(attention.kv) + 16 * 2 * 2 * 64 * 4);
  const int64_t row = (kAttentionSpan * 64 + 2 * 32 + kAttentionFields) * 4;
  EXPECT_EQ(AttentionTileBytes(attention.kv), kAttentionRows * row);
  EXPECT_EQ(ScratchBytes(Residual(), Symbols()), 64 << 10);
  EXPECT_EQ(ScratchBytes(Norm(), Symbols()), (64 << 10) + 128);
}

}  // namespace
}  // namespace ninfer::program
