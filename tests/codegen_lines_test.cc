// Line tables: which node of the program's text a kernel's instructions are there for.
// tests/codegen_image_test.cc shows that the code is the same without them.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "program/text.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {
namespace {

using codegen::CodeLine;
using formats::Format;
using program::Family;

// Bytes of code by line, counted from the kernel's function: 1 for node 0.
std::map<int, int64_t> BytesByLine(const KernelHarness& harness, const std::string& target,
                                   int kernel) {
  const codegen::KernelCode& code = harness.image(target)->kernels[kernel];
  const int first = program::KernelLines(program::Print(harness.program()))[kernel];
  std::map<int, int64_t> bytes;
  EXPECT_EQ(code.lines.empty() ? 1 : code.lines[0].offset, 0u);
  for (size_t i = 0; i < code.lines.size(); ++i) {
    const uint64_t end = i + 1 < code.lines.size() ? code.lines[i + 1].offset : code.size;
    EXPECT_LT(code.lines[i].offset, end);
    bytes[static_cast<int>(code.lines[i].line) - first] += end - code.lines[i].offset;
  }
  return bytes;
}

TEST(CodegenLines, LieWhereTheNodesCodeIs) {
  KernelHarness harness({"x86-64-v3"});
  const int rowwise = harness.Add({"rowwise",
                                   Family::kRowwise,
                                   R"((%x: f32[T,40], %w: f32[40]) {
  %0 = neg %x : f32[T,40]
  %1 = gelu %0 : f32[T,40]
  %2 = rms_norm %1, %w {eps = 1e-05} : f32[T,40]
  %3 = add %2, %x : f32[T,40]
  return %3
})",
                                   {{"w", Format::kPlainF32}}});
  const int linear = harness.Add({"linear",
                                  Family::kLinear,
                                  R"((%x: f32[T,40], %w: f32[64,40]) {
  %0 = linear %x, %w : f32[T,64]
  %1 = gelu %0 : f32[T,64]
  return %1
})",
                                  {{"w", Format::kPanelF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  if (harness.image("x86-64-v3") == nullptr) GTEST_SKIP() << "this CPU cannot run x86-64-v3";
  std::map<int, int64_t> bytes = BytesByLine(harness, "x86-64-v3", rowwise);
  EXPECT_LE(bytes.rbegin()->first, 4);
  for (int line = 1; line <= 4; ++line) EXPECT_GT(bytes[line], 0) << line;
  // An error function is many instructions, a sign or a sum a few.
  EXPECT_GT(bytes[2], 8 * bytes[1]);
  EXPECT_GT(bytes[2], 8 * bytes[4]);
  bytes = BytesByLine(harness, "x86-64-v3", linear);
  EXPECT_LE(bytes.rbegin()->first, 2);
  EXPECT_GT(bytes[1], 1000);  // the tiles
  EXPECT_GT(bytes[2], 200);
}

// Helper functions of a kernel are there for its anchor.
TEST(CodegenLines, CoverHelperFunctions) {
  KernelHarness harness({"x86-64-v3"});
  const int attention = harness.Add(
      {"attention", Family::kAttention,
       R"((%q: f32[T,4,8], %kv: kv<f32>[2,8], %positions: i32[T], %seq_bounds: i32[S+1], %page_table: i32[S,G]) {
  %0 = paged_attention %q, %kv, %positions, %seq_bounds, %page_table {scale = 0.5, form = "flash"} : f32[T,4,8]
  %1 = reshape %0 : f32[T,32]
  return %1
})"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  if (harness.image("x86-64-v3") == nullptr) GTEST_SKIP() << "this CPU cannot run x86-64-v3";
  const std::map<int, int64_t> bytes = BytesByLine(harness, "x86-64-v3", attention);
  ASSERT_EQ(bytes.count(1), 1u);
  const uint64_t size = harness.image("x86-64-v3")->kernels[attention].size;
  // What is left lies between functions.
  EXPECT_GT(bytes.at(1), static_cast<int64_t>(size * 7 / 8));
}

}  // namespace
}  // namespace ninfer
