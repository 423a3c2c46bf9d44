// How the columns of a row are visited: where vectors may begin and end, and what rope does not
// take beside it. tests/codegen_rowwise_test.cc shows by value that emitters visit them so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "program/columns.h"

namespace ninfer::program {
namespace {

const std::vector<ir::Symbol>& Symbols() {
  static const auto* symbols = new std::vector<ir::Symbol>{{"T", 1, 64}, {"R", 1, 8}};
  return *symbols;
}

// "columns 8, rotated 4, single" of the first result, or "expected ..., found `op`".
std::string PeriodText(absl::string_view body) {
  size_t consumed = 0;
  const auto function = ir::ParseFunction(
      absl::StrCat("func @f(%x: f32[T,24], %z: f32[T,24], %c: f32[T,4], %s: f32[T,4], ",
                   "%c1: f32[T,2], %s1: f32[T,2], %w6: f32[6], %w8: f32[8], %one: f32[T,1], "
                   "%ids: i32[T], %table: f32[9,24]) {\n",
                   body, "\n}"),
      "body", 1, Symbols(), &consumed);
  EXPECT_TRUE(function.ok()) << function.status();
  if (!function.ok()) return "";
  const absl::Status verified = ir::VerifyFunction(**function, Symbols(), ir::Stage::kFused);
  EXPECT_TRUE(verified.ok()) << verified;
  ColumnRefusal refusal;
  const auto none = [](const ir::Value*) { return false; };
  const auto table = [](const ir::Value* value) { return value->name() == "table"; };
  const auto period = PeriodOf((*function)->results()[0], none, table, &refusal);
  if (!period) {
    return absl::StrCat("expected ", refusal.expected, ", found `", refusal.node->info().name, "`");
  }
  std::string text = absl::StrCat("columns ", period->columns);
  if (period->rotated != 0) absl::StrAppend(&text, ", rotated ", period->rotated);
  return absl::StrCat(text, period->single ? ", single" : "");
}

constexpr char kHeads[] = "%h = reshape %x : f32[T,3,8]\n";
constexpr char kRope[] =
    "%h = reshape %x : f32[T,3,8]\n%r = rope %h, %c, %s {style = \"half\"} : f32[T,3,8]\n"
    "%flat = reshape %r : f32[T,24]\n";

TEST(PeriodOf, IsNoneWhereARowIsContiguous) {
  EXPECT_EQ(PeriodText("%0 = add %x, %z : f32[T,24]\n%1 = mul %0, %one : f32[T,24]\n"
                       "%2 = softmax %1 : f32[T,24]\nreturn %2"),
            "columns 0");
  EXPECT_EQ(PeriodText("%0 = slice %x {axis = 1, begin = 5, end = 18} : f32[T,13]\nreturn %0"),
            "columns 0");
}

TEST(PeriodOf, IsThatOfABroadcastAndTheGreatestCommonOneOfSeveral) {
  EXPECT_EQ(PeriodText(absl::StrCat(kHeads, "%0 = mul %h, %w8 : f32[T,3,8]\nreturn %0")),
            "columns 8");
  const std::string two = absl::StrCat(kHeads,
                                       "%0 = mul %h, %w8 : f32[T,3,8]\n"
                                       "%1 = reshape %0 : f32[T,4,6]\n"
                                       "%2 = mul %1, %w6 : f32[T,4,6]\n");
  EXPECT_EQ(PeriodText(two + "return %2"), "columns 2");
  EXPECT_EQ(
      PeriodText(two + "%3 = reshape %2 : f32[T,24]\n"
                       "%4 = slice %3 {axis = 1, begin = 3, end = 20} : f32[T,17]\nreturn %4"),
      "columns 1");
}

TEST(PeriodOf, IsAHeadWhereHeadsAreReducedByThemselves) {
  const std::string norm =
      absl::StrCat(kHeads, "%0 = rms_norm %h, %w8 {eps = 1e-05} : f32[T,3,8]\n");
  EXPECT_EQ(PeriodText(norm + "return %0"), "columns 8");
  EXPECT_EQ(PeriodText(norm + "%1 = reshape %0 : f32[T,24]\nreturn %1"), "columns 8");
  EXPECT_EQ(PeriodText(norm + "%1 = rope %0, %c, %s {style = \"half\"} : f32[T,3,8]\nreturn %1"),
            "columns 8, rotated 4");
  EXPECT_EQ(PeriodText(absl::StrCat(kHeads, "%0 = softmax %h : f32[T,3,8]\nreturn %0")),
            "columns 8");
}

TEST(PeriodOf, IsThePieceThatASliceOfAnInnerAxisCutsOut) {
  EXPECT_EQ(PeriodText(absl::StrCat(
                kHeads, "%0 = slice %h {axis = 2, begin = 1, end = 6} : f32[T,3,5]\nreturn %0")),
            "columns 5");
  EXPECT_EQ(PeriodText(absl::StrCat(kHeads,
                                    "%0 = mul %h, %w8 : f32[T,3,8]\n"
                                    "%1 = slice %0 {axis = 2, begin = 4, end = 8} : f32[T,3,4]\n"
                                    "return %1")),
            "columns 4");
}

TEST(PeriodOf, GoesColumnByColumnThroughTablesInPanels) {
  EXPECT_EQ(PeriodText("%0 = embedding %ids, %table : f32[T,24]\nreturn %0"), "columns 0, single");
}

TEST(PeriodOf, FollowsRopeHeadByHead) {
  EXPECT_EQ(PeriodText(absl::StrCat(kRope, "return %flat")), "columns 8, rotated 4");
  EXPECT_EQ(PeriodText(absl::StrCat(kRope, "%0 = add %flat, %x : f32[T,24]\n",
                                    "%1 = slice %0 {axis = 1, begin = 8, end = 24} : f32[T,16]\n",
                                    "return %1")),
            "columns 8, rotated 4");
  EXPECT_EQ(PeriodText(absl::StrCat(
                kHeads, "%0 = rope %h, %c1, %s1 {style = \"pairs\"} : ", "f32[T,3,8]\nreturn %0")),
            "columns 8, rotated 2, single");
  // A broadcast that does not keep step with the heads.
  EXPECT_EQ(PeriodText(absl::StrCat(kRope, "%0 = reshape %flat : f32[T,4,6]\n",
                                    "%1 = mul %0, %w6 : f32[T,4,6]\nreturn %1")),
            "columns 8, rotated 4, single");
}

TEST(PeriodOf, RopeMustKeepItsHeadsAndStandAlone) {
  EXPECT_EQ(PeriodText(absl::StrCat(kRope, "%0 = softmax %flat : f32[T,24]\nreturn %0")),
            "expected reductions of what no rope turns, found `softmax`");
  EXPECT_EQ(PeriodText(absl::StrCat(
                kRope, "%0 = slice %flat {axis = 1, begin = 3, end = 20} : f32[T,17]\nreturn %0")),
            "expected slices of whole heads of what rope turns, found `slice`");
  EXPECT_EQ(PeriodText(absl::StrCat(
                kRope, "%0 = slice %r {axis = 2, begin = 0, end = 6} : f32[T,3,6]\nreturn %0")),
            "expected slices of whole heads of what rope turns, found `slice`");
  // The column alone would be read at another place than its head's.
  EXPECT_EQ(
      PeriodText(absl::StrCat(kRope, "%0 = slice %flat {axis = 1, begin = 0, end = 1} : f32[T,1]\n",
                              "%1 = mul %x, %0 : f32[T,24]\nreturn %1")),
      "expected slices of whole heads of what rope turns, found `slice`");
  EXPECT_EQ(PeriodText(absl::StrCat(
                kRope, "%0 = rope %r, %c, %s {style = \"pairs\"} : f32[T,3,8]\nreturn %0")),
            "expected rope of what no other rope turns, found `rope`");
  const std::string two = absl::StrCat(kRope, "%0 = rope %h, %c1, %s1 {style = \"half\"} : ",
                                       "f32[T,3,8]\n%1 = add %r, %0 : f32[T,3,8]\nreturn ");
  EXPECT_EQ(PeriodText(two + "%1"), "expected ropes of the same heads and angles, found `add`");
  EXPECT_EQ(PeriodText(two + "%0, %r"), "columns 8, rotated 2");  // results are visited apart
}

TEST(PeriodOf, RefusesWhatIsNotOfOneRow) {
  EXPECT_EQ(
      PeriodText(absl::StrCat(kHeads, "%0 = slice %h {axis = 2, begin = 0, end = 1} : f32[T,3,1]\n",
                              "%1 = mul %h, %0 : f32[T,3,8]\nreturn %1")),
      "expected operands that broadcast leading axes alone, found `mul`");
  EXPECT_EQ(PeriodText("%0 = neg %x : f32[T,24]\n%1 = reshape %0 : f32[24,T]\n"
                       "%2 = neg %1 : f32[24,T]\nreturn %2"),
            "expected views that keep the rows, found `reshape`");
  EXPECT_EQ(PeriodText("%0 = transpose %x {perm = [1, 0]} : f32[24,T]\nreturn %0"),
            "expected views that keep the rows, found `transpose`");
}

// Without remembering what was found, this would take 2^60 steps.
TEST(PeriodOf, LooksAtEveryValueOnce) {
  std::string body;
  for (int i = 0; i < 60; ++i) {
    const std::string from = i == 0 ? "x" : absl::StrCat("v", i);
    absl::StrAppend(&body, "%v", i + 1, " = add %", from, ", %", from, " : f32[T,24]\n");
  }
  EXPECT_EQ(PeriodText(body + "return %v60"), "columns 0");
}

TEST(PeriodOf, RefusesChainsThatNoStackHolds) {
  const auto chain = [](int ops) {
    std::string body = "%v1 = neg %x : f32[T,24]\n";
    for (int i = 1; i < ops; ++i) {
      absl::StrAppend(&body, "%v", i + 1, " = neg %v", i, " : f32[T,24]\n");
    }
    return PeriodText(absl::StrCat(body, "return %v", ops));
  };
  EXPECT_EQ(chain(256), "columns 0");
  EXPECT_EQ(chain(257), "expected at most 256 ops one behind the other, found `neg`");
  EXPECT_EQ(chain(100000), "expected at most 256 ops one behind the other, found `neg`");
}

}  // namespace
}  // namespace ninfer::program
