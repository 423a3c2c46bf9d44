// The golden files of tests/program/passes: the passes that make programs and change them. A file
// holds cases divided by `// ====`; a case is
//
//   // pass: NAME             lower takes a module, the others a program
//   // near miss: why         must stay as it is, or
//   // refused: text          the error's message must hold this text
//   module ... or program ... the input
//   // ----
//   program ...               the output; NINFER_BLESS=1 rewrites it
//
// Every output verifies, and the outputs of schedule and plan-buffers pass the checkers. Both sides
// are run on the same texts, the graph by eager and programs by their interpreter, and must give
// the same logits.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/passes.h"
#include "program/text.h"
#include "program/verifier.h"
#include "tests/program_testing.h"

namespace ninfer::passes {
namespace {

const char kFolder[] = NINFER_SOURCE_DIR "/tests/program/passes";
const char kCase[] = "// ====\n";
const char kOutput[] = "// ----\n";

struct Case {
  std::string head, input, output, pass, refused;
  bool near_miss = false;
};

Case ReadCase(absl::string_view text) {
  Case golden;
  const size_t divider = text.find(kOutput);
  golden.output = divider == absl::string_view::npos
                      ? ""
                      : std::string(text.substr(divider + sizeof(kOutput) - 1));
  golden.input = std::string(text.substr(0, divider));
  while (absl::StartsWith(golden.input, "//")) {
    const size_t end = golden.input.find('\n') + 1;
    absl::string_view line(golden.input.data(), end);
    golden.head += std::string(line);
    line = absl::StripSuffix(line, "\n");
    if (absl::ConsumePrefix(&line, "// pass: ")) golden.pass = std::string(line);
    if (absl::ConsumePrefix(&line, "// refused: ")) golden.refused = std::string(line);
    if (absl::ConsumePrefix(&line, "// near miss: ")) golden.near_miss = true;
    golden.input.erase(0, end);
  }
  return golden;
}

absl::StatusOr<program::Program> RunCase(const Case& golden, const std::string& file) {
  const PassOptions options;
  if (golden.pass == "lower") {
    NINFER_ASSIGN_OR_RETURN(const ir::Module module, ir::Parse(golden.input, file));
    NINFER_RETURN_IF_ERROR(ir::Verify(module));
    return Lower(module, options);
  }
  NINFER_ASSIGN_OR_RETURN(program::Program program, program::Parse(golden.input, file));
  NINFER_RETURN_IF_ERROR(program::Verify(program));
  const std::string before = program::Print(program);
  const ProgramPass pass = golden.pass == "layout"         ? &LayOutWeights
                           : golden.pass == "schedule"     ? &Schedule
                           : golden.pass == "plan-buffers" ? &PlanBuffers
                                                           : nullptr;
  if (pass == nullptr) return InvalidArgument("unknown pass ", golden.pass);
  NINFER_ASSIGN_OR_RETURN(const int rewrites, pass(program, options));
  if ((rewrites > 0) != (program::Print(program) != before)) {
    return InvalidArgument(rewrites, " rewrites reported");
  }
  NINFER_RETURN_IF_ERROR(program::Verify(program));
  if (golden.pass == "schedule") NINFER_RETURN_IF_ERROR(program::CheckOrder(program));
  if (golden.pass == "plan-buffers") {
    NINFER_RETURN_IF_ERROR(program::CheckOrder(program));
    NINFER_RETURN_IF_ERROR(program::CheckBuffers(program));
  }
  return program;
}

// The logits of the case's input, on texts of these lengths.
absl::StatusOr<std::vector<float>> RunInput(const Case& golden,
                                            const std::shared_ptr<MemoryWeights>& weights,
                                            const eager::StepArguments& arguments) {
  if (golden.pass == "lower") {
    NINFER_ASSIGN_OR_RETURN(const ir::Module module, ir::Parse(golden.input, "input"));
    return testing::RunGraph(module, weights, arguments);
  }
  NINFER_ASSIGN_OR_RETURN(const program::Program program, program::Parse(golden.input, "input"));
  return testing::RunProgram(program, *weights, 2, arguments);
}

void ExpectEqualValues(const Case& golden, const program::Program& output) {
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(*output.weights_module, 5, 0.3f);
  // Few rows, and many.
  for (const std::vector<int>& lengths : {std::vector<int>{3, 1}, std::vector<int>{9, 2, 14}}) {
    const eager::StepArguments arguments = testing::WholeTexts(lengths, 10);
    const auto expected = RunInput(golden, weights, arguments);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto found = testing::RunProgram(output, *weights, 2, arguments);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_LE(testing::Difference(*expected, *found), 1e-6);
  }
}

std::vector<std::string> Files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenFile : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenFile, GivesItsOutputs) {
  const std::string path = absl::StrCat(kFolder, "/", GetParam(), ".kp");
  const auto text = ReadFile(path);
  ASSERT_TRUE(text.ok()) << text.status();
  const bool bless = !GetEnv("NINFER_BLESS").empty();
  std::vector<std::string> blessed;
  bool has_near_miss = false;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(*text, kCase))) {
    Case golden = ReadCase(part);
    SCOPED_TRACE(golden.head);
    const auto program = RunCase(golden, path);
    has_near_miss |= golden.near_miss || !golden.refused.empty();
    if (!golden.refused.empty()) {
      ASSERT_FALSE(program.ok());
      EXPECT_EQ(std::string(program.status().message()), golden.refused);
    } else {
      ASSERT_TRUE(program.ok()) << program.status();
      ExpectEqualValues(golden, *program);
      const std::string found = program::Print(*program);
      if (golden.near_miss) {
        EXPECT_EQ(found, golden.input);
      } else if (bless) {
        golden.output = found;
      } else {
        EXPECT_EQ(found, golden.output);
      }
    }
    blessed.push_back(absl::StrCat(golden.head, golden.input, golden.output.empty() ? "" : kOutput,
                                   golden.output));
  }
  EXPECT_TRUE(has_near_miss) << path << ": every file has a case that must stay or be refused";
  if (bless) {
    const absl::Status written = WriteFile(path, absl::StrJoin(blessed, kCase));
    EXPECT_TRUE(written.ok()) << written;
  }
}

INSTANTIATE_TEST_SUITE_P(Program, GoldenFile, ::testing::ValuesIn(Files()), [](const auto& info) {
  return absl::StrJoin(absl::StrSplit(info.param, '-'), "_");
});

TEST(GoldenFiles, ThereIsOneForEachPassOfPrograms) {
  const std::vector<std::string> expected = {"layout", "lower", "plan_buffers", "schedule"};
  EXPECT_EQ(Files(), expected);
}

}  // namespace
}  // namespace ninfer::passes
