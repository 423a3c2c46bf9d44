// plan/FORMAT.md against the code: its tables name every field with its type, and its worked
// example is what the dump prints. NINFER_BLESS=1 rewrites the example.
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "plan/container.h"
#include "plan/dump.h"
#include "plan/reader.h"
#include "plan/writer.h"
#include "tests/plan_example.h"

namespace ninfer::plan {
namespace {

constexpr char kFormat[] = NINFER_SOURCE_DIR "/plan/FORMAT.md";
constexpr char kBegin[] = "<!-- example begins -->\n```\n";
constexpr char kEnd[] = "```\n<!-- example ends -->";

// The worked example: as little as a plan can hold, with one weight of 64 bytes.
std::string ExampleFile() {
  Plan plan;
  plan.metadata.model_name = "one";
  plan.metadata.vocab_size = 2;
  plan.metadata.context_length = 8;
  plan.metadata.bos_id = 1;
  plan.symbols = {{"T", 1, 8}};
  plan.weights = {{"w", "plain_f32", 1, 16, 1, 0, 64}};
  plan.weight_bytes = 64;
  const std::string path = JoinPath(GetEnv("TEST_TMPDIR", ::testing::TempDir()), "example.bin");
  EXPECT_TRUE(WritePlan(plan, ExampleWeights(), path).ok());
  return ReadFile(path).value();
}

std::string ExampleDump() {
  const std::string bytes = ExampleFile();
  const absl::StatusOr<PlanDump> dump = DumpPlan(bytes, bytes.size(), "example.bin");
  EXPECT_TRUE(dump.ok()) << dump.status();
  return FormatDump(*dump);
}

TEST(PlanFormat, TheWorkedExampleIsWhatTheDumpPrints) {
  std::string text = ReadFile(kFormat).value();
  const size_t begin = text.find(kBegin), end = text.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const size_t from = begin + sizeof(kBegin) - 1;
  if (!GetEnv("NINFER_BLESS").empty()) {
    text.replace(from, end - from, ExampleDump());
    ASSERT_TRUE(WriteFile(kFormat, text).ok());
    return;
  }
  EXPECT_EQ(text.substr(from, end - from), ExampleDump());
}

// "launches[3].operands[0].kind" -> "kind".
std::string LastName(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

TEST(PlanFormat, EveryFieldStandsInATableWithItsType) {
  const std::string text = ReadFile(kFormat).value();
  std::set<std::string> rows;  // "| u32 | kernel |"
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() >= 4) {
      rows.insert(absl::StrCat(absl::StripAsciiWhitespace(cells[1]), " ",
                               absl::StripAsciiWhitespace(cells[2])));
    }
  }
  Plan plan = ExamplePlan();
  plan.metadata.pad_id = 1;
  plan.metadata.top_p = 0.5;
  plan.metadata.top_k = 5;
  plan.metadata.min_p = 0.1;
  plan.metadata.max_new_tokens = 256;
  plan.metadata.repetition_penalty = 1.1;
  std::vector<Field> fields;
  for (const Plan& each : {plan, ExamplePlanThatSees(), ExamplePlanForCards()}) {
    const std::string bytes = SerializeSections(each);
    const absl::StatusOr<PlanDump> dump = DumpPlan(bytes, bytes.size(), "p");
    ASSERT_TRUE(dump.ok()) << dump.status();
    fields.insert(fields.end(), dump->header.begin(), dump->header.end());
    for (const SectionDump& section : dump->sections) {
      EXPECT_TRUE(
          absl::StrContains(text, absl::StrCat("### ", section.row.type, ": ", section.name)))
          << section.name;
      fields.insert(fields.end(), section.fields.begin(), section.fields.end());
    }
  }
  for (const Field& field : fields) {
    const std::string row = absl::StrCat(field.type, " ", LastName(field.name));
    EXPECT_TRUE(rows.contains(row)) << "plan/FORMAT.md has no row for: " << row;
  }
}

TEST(PlanFormat, TheDumpCoversEveryByteOfTheSectionsOnce) {
  const std::string bytes = SerializeSections(ExamplePlan());
  const absl::StatusOr<PlanDump> dump = DumpPlan(bytes, bytes.size(), "p");
  ASSERT_TRUE(dump.ok());
  uint64_t end = 0;
  for (const Field& field : dump->header) {
    EXPECT_EQ(field.offset, end) << field.name;
    end += field.size;
  }
  EXPECT_EQ(end, dump->container.header_bytes());
  for (const SectionDump& section : dump->sections) {
    uint64_t at = 0;
    for (const Field& field : section.fields) {
      EXPECT_EQ(field.offset, at) << section.name << ": " << field.name;
      at += field.size;
    }
    EXPECT_EQ(at, section.row.size) << section.name;
  }
}

}  // namespace
}  // namespace ninfer::plan
