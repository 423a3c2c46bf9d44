#include "program/program.h"

#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "program/text.h"
#include "program/verifier.h"

namespace ninfer::program {
namespace {

Program ReadProgram(const std::string& name) {
  const std::string path = absl::StrCat(NINFER_SOURCE_DIR "/tests/program/text/", name, ".kp");
  auto program = Parse(ReadFile(path).value(), path);
  EXPECT_TRUE(program.ok()) << program.status();
  return std::move(*program);
}

TEST(Program, FamilyNamesAreUniqueAndFoundAgain) {
  std::set<absl::string_view> names;
  for (Family family :
       {Family::kLinear, Family::kRowwise, Family::kKvAppend, Family::kAttention, Family::kPages}) {
    EXPECT_TRUE(names.insert(FamilyName(family)).second);
    ASSERT_TRUE(FamilyFromName(FamilyName(family)).has_value());
    EXPECT_EQ(*FamilyFromName(FamilyName(family)), family);
  }
  EXPECT_FALSE(FamilyFromName("matrix").has_value());
}

TEST(Program, ColumnsAreTheProductBehindTheRows) {
  const ir::Dim rows = ir::Dim::Symbolic(0);
  EXPECT_EQ(Columns({DType::kF32, {rows, ir::Dim::Static(9), ir::Dim::Static(64)}}), 576);
  EXPECT_EQ(Columns({DType::kF32, {rows}}), 1);
  EXPECT_EQ(Columns({DType::kF32, {}}), 1);
}

TEST(Program, LeadingDimensionsAreMultiplesOf32) {
  EXPECT_EQ(LeadingDimension(1), 1);
  EXPECT_EQ(LeadingDimension(2), 32);
  EXPECT_EQ(LeadingDimension(32), 32);
  EXPECT_EQ(LeadingDimension(33), 64);
}

TEST(Program, UnitsCountBlocksOfADimension) {
  const int32_t dims[] = {33, 5};
  EXPECT_EQ((Units{7, -1, 1}).Count(dims), 7);
  EXPECT_EQ((Units{1, 1, 1}).Count(dims), 5);
  EXPECT_EQ((Units{3, 0, 16}).Count(dims), 9);
}

// Every element of a page has a place of its own, inside the page.
TEST(Program, KvPageHoldsEachPositionOnce) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    for (int64_t head_dim : {1, 3, 8, 33}) {
      const KvLayout layout{dtype, 2, head_dim};
      EXPECT_EQ(layout.page_bytes() % 64, 0);
      std::set<int64_t> taken;
      for (int64_t head = 0; head < layout.heads; ++head) {
        for (int64_t position = 0; position < KvLayout::kPagePositions; ++position) {
          for (int64_t column = 0; column < head_dim; ++column) {
            for (int64_t offset :
                 {layout.KOffset(head, position, column), layout.VOffset(head, position, column)}) {
              EXPECT_TRUE(taken.insert(offset).second);
              EXPECT_GE(offset, 0);
              EXPECT_LE(offset + DTypeSize(dtype), layout.page_bytes());
            }
          }
          if (!layout.integers()) continue;
          for (int64_t scale :
               {layout.KScaleOffset(head, position), layout.VScaleOffset(head, position)}) {
            for (int64_t i = 0; i < 4; ++i) EXPECT_TRUE(taken.insert(scale + i).second);
            EXPECT_EQ(scale % 4, 0);
            EXPECT_LE(scale + 4, layout.page_bytes());
          }
        }
      }
    }
  }
}

TEST(Program, ACloneIsEqualAndIndependent) {
  for (const char* name : {"layer", "whole", "tied", "awkward"}) {
    Program program = ReadProgram(name);
    const std::string text = Print(program);
    Program clone = Clone(program);
    EXPECT_EQ(Print(clone), text);
    EXPECT_TRUE(Verify(clone).ok()) << Verify(clone);
    clone.launches.pop_back();
    clone.kernels[0].body->nodes()[0]->result()->set_name("changed");
    clone.weights_module->AddLiteral("more", {1.0f});
    EXPECT_EQ(Print(program), text);
    for (size_t i = 0; i < clone.weights.size(); ++i) {
      EXPECT_NE(clone.weights[i].source, program.weights[i].source);
    }
  }
}

}  // namespace
}  // namespace ninfer::program
