// The golden files of tests/passes: one for each graph pass. A file holds cases divided by `//
// ====`; a case is
//
//   // pass: NAME [option=value ...]       what runs
//   // near miss: why                      must stay as it is (but for the module line, which says
//                                          the stage), or
//   // refused: text                       the verifier's message must hold this text
//   module ...                             the input
//   // ----
//   module ...                             the output; NINFER_BLESS=1 rewrites it
//
// Both sides are run through eager on the same texts and must give the same logits, to 1e-6 of the
// largest unless `bound=` says otherwise: eager's matmul sums in an order that depends on the
// shapes, so that passes that change these are not equal to the bit there.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "ir/text.h"
#include "passes/runner.h"
#include "passes/weight_types.h"
#include "tests/passes_testing.h"
#include "tests/support/memory_weights.h"

namespace ninfer::passes {
namespace {

const char kCase[] = "// ====\n";
const char kOutput[] = "// ----\n";

struct Case {
  std::string file;
  std::string head;  // the comment lines, as they stand
  std::string input;
  std::string output;  // empty for a near miss
  std::string pass;
  PassOptions options;
  bool near_miss = false;
  std::string refused;
  double bound = 1e-6;
};

DType DTypeOf(absl::string_view name) {
  const auto dtype = DTypeFromName(name);
  EXPECT_TRUE(dtype.has_value()) << name;
  return dtype.value_or(DType::kF32);
}

void SetOption(absl::string_view key, absl::string_view value, Case& golden) {
  PassOptions& options = golden.options;
  int64_t number = 0;
  const bool is_number = absl::SimpleAtoi(value, &number);
  if (key == "weights") {
    EXPECT_TRUE(options.SetWeights(value)) << value;
  } else if (key == "weights-for") {  // pattern:type
    const std::pair<std::string, std::string> rule = absl::StrSplit(value, absl::MaxSplits(':', 1));
    const auto type = ParseWeightType(rule.second);
    ASSERT_TRUE(type.ok()) << type.status();
    options.weight_rules.push_back(
        {rule.first, type->scheme != nullptr ? std::string(type->scheme->name) : "", type->dtype});
  } else if (key == "inputs") {
    options.input_scheme = value == "float" ? "" : std::string(value);
  } else if (key == "activations") {
    options.activations = DTypeOf(value);
  } else if (key == "kv") {
    options.kv_cache = DTypeOf(value);
  } else if (key == "attention") {
    options.attention = std::string(value);
  } else if (key == "bound") {
    EXPECT_TRUE(absl::SimpleAtod(value, &golden.bound));
  } else if (key == "context" && is_number) {
    options.context_length = number;
  } else if (key == "tokens" && is_number) {
    options.max_tokens = number;
  } else if (key == "sequences" && is_number) {
    options.max_sequences = number;
  } else if (key == "rows" && is_number) {
    options.max_rows = number;
  } else {
    ADD_FAILURE() << golden.file << ": unknown option " << key << "=" << value;
  }
}

Case ParseCase(const std::string& file, absl::string_view text) {
  Case golden;
  golden.file = file;
  const size_t module = text.find("module ");
  EXPECT_NE(module, absl::string_view::npos) << file;
  golden.head = std::string(text.substr(0, module));
  text.remove_prefix(module);
  const size_t output = text.find(kOutput);
  golden.input = std::string(text.substr(0, output));
  if (output != absl::string_view::npos) {
    golden.output = std::string(text.substr(output + sizeof(kOutput) - 1));
  }
  for (absl::string_view line : absl::StrSplit(golden.head, '\n')) {
    if (absl::ConsumePrefix(&line, "// near miss:")) golden.near_miss = true;
    if (absl::ConsumePrefix(&line, "// refused: ")) golden.refused = std::string(line);
    if (!absl::ConsumePrefix(&line, "// pass: ")) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    golden.pass = words[0];
    for (size_t i = 1; i < words.size(); ++i) {
      const std::pair<std::string, std::string> option =
          absl::StrSplit(words[i], absl::MaxSplits('=', 1));
      SetOption(option.first, option.second, golden);
    }
  }
  return golden;
}

std::string FolderOfGoldens() { return NINFER_SOURCE_DIR "/tests/passes"; }

std::vector<std::string> GoldenFiles() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(FolderOfGoldens())) {
    if (entry.path().extension() == ".ir") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<Case> ReadGoldens(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  EXPECT_TRUE(text.ok()) << text.status();
  std::vector<Case> cases;
  if (!text.ok()) return cases;
  for (absl::string_view part : absl::StrSplit(*text, kCase))
    cases.push_back(ParseCase(file, part));
  return cases;
}

std::string WithoutFirstLine(const std::string& text) { return text.substr(text.find('\n') + 1); }

// Three texts of unequal lengths in one step, and for a side with a cache also cut into steps.
void ExpectSameLogits(const ir::Module& before, const ir::Module& after, const Case& golden) {
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(before, 1, 0.5f);
  const testing::Texts texts = testing::RandomTexts({3, 7, 1}, testing::VocabOf(before));
  const auto reference = testing::RunWhole(before, weights, texts);
  ASSERT_TRUE(reference.ok()) << golden.file << ": " << reference.status();
  const auto found = testing::RunWhole(after, weights, texts);
  ASSERT_TRUE(found.ok()) << golden.file << ": " << found.status();
  const Comparison whole = testing::CompareLogits(*reference, *found, golden.bound);
  EXPECT_LE(whole.max_error, whole.bound) << golden.file << " at " << whole.where;
  if (!testing::HasParameter(after, "cached_lens")) return;
  const auto cut = testing::RunTexts(after, weights, texts, {2, 1, 3, 1});
  ASSERT_TRUE(cut.ok()) << golden.file << ": " << cut.status();
  const Comparison steps = testing::CompareLogits(*reference, *cut, std::max(golden.bound, 1e-6));
  EXPECT_LE(steps.max_error, steps.bound) << golden.file << ", in steps, at " << steps.where;
}

// Runs the case and returns the output's text.
std::string RunCase(const Case& golden) {
  absl::StatusOr<ir::Module> input = ir::Parse(golden.input, golden.file);
  EXPECT_TRUE(input.ok()) << input.status();
  if (!input.ok()) return "";
  const ir::Module before = input->Clone();
  const auto records = RunPasses(*input, {golden.pass}, golden.options);
  const std::string text = ir::Print(*input);
  if (!golden.refused.empty()) {
    EXPECT_FALSE(records.ok()) << golden.file;
    EXPECT_NE(records.status().message().find(golden.refused), absl::string_view::npos)
        << records.status();
  } else {
    EXPECT_TRUE(records.ok()) << golden.file << ": " << records.status();
    if (!records.ok()) return text;
  }
  if (golden.near_miss) {
    EXPECT_EQ(WithoutFirstLine(text), WithoutFirstLine(ir::Print(before))) << golden.file;
  } else {
    EXPECT_GT((*records)[0].rewrites, 0) << golden.file;
    ExpectSameLogits(before, *input, golden);
  }
  return text;
}

TEST(PassesGolden, EveryCaseGivesItsOutputAndBothSidesComputeTheSame) {
  const bool bless = GetEnv("NINFER_BLESS") == "1";
  for (const std::string& file : GoldenFiles()) {
    std::vector<std::string> parts;
    for (const Case& golden : ReadGoldens(file)) {
      const std::string text = RunCase(golden);
      parts.push_back(golden.near_miss ? absl::StrCat(golden.head, golden.input)
                                       : absl::StrCat(golden.head, golden.input, kOutput, text));
      if (!golden.near_miss && !bless) {
        EXPECT_EQ(text, golden.output)
            << file << ": if the new output is right, run again with NINFER_BLESS=1";
      }
    }
    if (bless) {
      ASSERT_TRUE(WriteFile(file, absl::StrJoin(parts, kCase)).ok()) << file;
    }
  }
}

TEST(PassesGolden, EveryGraphPassHasAFileWithARewriteAndANearMiss) {
  std::set<std::string> rewritten, kept;
  for (const std::string& file : GoldenFiles()) {
    for (const Case& golden : ReadGoldens(file)) {
      (golden.near_miss ? kept : rewritten).insert(golden.pass);
    }
  }
  for (const PassEntry& entry : PassEntries()) {
    if (entry.level != PassLevel::kModule) continue;
    EXPECT_TRUE(rewritten.contains(entry.info.name)) << entry.info.name;
    EXPECT_TRUE(kept.contains(entry.info.name)) << entry.info.name << " has no near miss";
  }
}

// Each pass leaves nothing for a second run of itself to do.
TEST(PassesGolden, ASecondRunChangesNothing) {
  for (const std::string& file : GoldenFiles()) {
    for (const Case& golden : ReadGoldens(file)) {
      if (golden.near_miss) continue;
      absl::StatusOr<ir::Module> module = ir::Parse(golden.input, file);
      ASSERT_TRUE(module.ok()) << module.status();
      const auto records = RunPasses(*module, {golden.pass, golden.pass}, golden.options);
      ASSERT_TRUE(records.ok()) << records.status();
      EXPECT_EQ((*records)[1].rewrites, 0) << file << ": " << ir::Print(*module);
    }
  }
}

}  // namespace
}  // namespace ninfer::passes
