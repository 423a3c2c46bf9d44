// Dumped tensors as safetensors, and the types of buffers they come from.
#include <gtest/gtest.h>

#include <cstring>

#include "base/file.h"
#include "runtime/tensor_dump.h"

namespace ninfer::runtime {
namespace {

TEST(RowType, IsReadFromText) {
  const absl::optional<RowType> type = ParseRowType("bf16[T,9,64]");
  ASSERT_TRUE(type.has_value());
  EXPECT_EQ(type->dtype, DType::kBF16);
  EXPECT_EQ(type->rows, "T");
  EXPECT_EQ(type->trailing, (std::vector<int64_t>{9, 64}));
  EXPECT_EQ(type->columns(), 576);
  EXPECT_EQ(ParseRowType("f32[7]")->rows, "7");
  EXPECT_EQ(ParseRowType("f32[7]")->columns(), 1);
}

TEST(RowType, WhatIsNoneGivesNothing) {
  for (const char* text : {"", "f32", "f32[]", "f31[T]", "f32[T", "f32[T,C]", "f32[T,-1]", "[T]",
                           "f32[T,4294967296,4294967296]"}) {
    EXPECT_FALSE(ParseRowType(text).has_value()) << text;
  }
}

TEST(TensorDump, RowsOfLaterStepsFollowThoseOfEarlierOnes) {
  auto dump = TensorDump::Create("layer\\.[01]");
  ASSERT_TRUE(dump.ok());
  EXPECT_TRUE((*dump)->Matches("model.layer.1.out"));
  EXPECT_FALSE((*dump)->Matches("model.layer.2.out"));
  const RowType type = *ParseRowType("f32[T,2]");
  const float first[] = {1, 2, 99, 3, 4, 99}, second[] = {5, 6};
  (*dump)->Append("a", type, 2, 3, first);
  (*dump)->Append("a", type, 1, 2, second);
  const std::string path = JoinPath(GetEnv("TEST_TMPDIR", "."), "a.safetensors");
  ASSERT_TRUE((*dump)->Write(path).ok());
  const std::string bytes = ReadFile(path).value();
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0);
  const std::string header = bytes.substr(8, length);
  EXPECT_EQ(header.substr(0, header.find_last_not_of(' ') + 1),
            R"({"a":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}})");
  float values[6];
  ASSERT_EQ(bytes.size(), 8 + length + sizeof(values));
  std::memcpy(values, bytes.data() + 8 + length, sizeof(values));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(values[i], i + 1);
}

// Shapes and bytes as any reader checks them: every tensor's bytes are those of its shape, and they
// follow one another without a gap.
TEST(TensorDump, ATensorWhoseShapeIsItsStepsOwnIsWrittenForEachStep) {
  auto dump = TensorDump::Create(".");
  ASSERT_TRUE(dump.ok());
  const std::vector<float> values(24, 1);
  const RowType rows = *ParseRowType("bf16[T,3]");
  for (int64_t keys = 2; keys <= 4; ++keys) {
    (*dump)->NextStep(/*whole_text=*/false);
    (*dump)->AddStep("attention.0", DType::kF32, {2, 3, keys}, values.data());
    (*dump)->Append("hidden", rows, 1, 3, values.data());
    if (keys == 3) (*dump)->AddStep("once", DType::kF32, {4}, values.data());
  }
  const std::string path = JoinPath(GetEnv("TEST_TMPDIR", "."), "steps.safetensors");
  ASSERT_TRUE((*dump)->Write(path).ok());
  const std::string bytes = ReadFile(path).value();
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const std::string header = bytes.substr(8, length);
  // Wider elements first, so that each lies where its type wants it.
  EXPECT_EQ(header.substr(0, header.find_last_not_of(' ') + 1),
            R"({"attention.0@1":{"dtype":"F32","shape":[2,3,2],"data_offsets":[0,48]},)"
            R"("attention.0@2":{"dtype":"F32","shape":[2,3,3],"data_offsets":[48,120]},)"
            R"("attention.0@3":{"dtype":"F32","shape":[2,3,4],"data_offsets":[120,216]},)"
            R"("once":{"dtype":"F32","shape":[4],"data_offsets":[216,232]},)"
            R"("hidden":{"dtype":"BF16","shape":[3,3],"data_offsets":[232,250]}})");
  EXPECT_EQ(bytes.size(), 8 + length + 250);
}

TEST(TensorDump, ABadExpressionAndOneThatMatchesNothingAreRefused) {
  EXPECT_EQ(
      TensorDump::Create("(").status().message(),
      "--dump-tensors: expected a regular expression, found \"(\": missing closing parenthesis "
      "at 1");
  auto dump = TensorDump::Create("nothing");
  ASSERT_TRUE(dump.ok());
  EXPECT_EQ((*dump)->Write("x.safetensors").message(),
            "--dump-tensors: expected the name of a tensor that is kept, found \"nothing\", which "
            "none has");
}

}  // namespace
}  // namespace ninfer::runtime
