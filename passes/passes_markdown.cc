// Tested by tests/opt_test.cc.
#include "passes/passes_markdown.h"

#include "absl/strings/str_cat.h"
#include "passes/runner.h"

namespace ninfer::passes {
namespace {

absl::string_view LevelText(PassLevel level) {
  switch (level) {
    case PassLevel::kModule:
      return "graph";
    case PassLevel::kLower:
      return "graph to program";
    case PassLevel::kProgram:
      return "program";
  }
  return "";
}

}  // namespace

std::string PassesMarkdown() {
  std::string text =
      "# The passes, in their order\n"
      "\n"
      "Made from `passes/passes.def` by `passes/passes_markdown.cc`: change the table, then run\n"
      "`NINFER_BLESS=1` with the test `opt_test`. Why each stands where it stands is written in\n"
      "`passes/pipeline.cc`.\n"
      "\n"
      "An optional pass can be left out with `--disable-pass`: the plan computes the same.\n"
      "\n"
      "| | pass | level | | changes | proves |\n"
      "|---|---|---|---|---|---|\n";
  int number = 0;
  for (const PassEntry& entry : PassEntries()) {
    absl::StrAppend(&text, "| ", ++number, " | `", entry.info.name, "` | ", LevelText(entry.level),
                    " | ", entry.info.optional ? "optional" : "required", " | ", entry.info.summary,
                    " | ", entry.info.proves, " |\n");
  }
  return text;
}

}  // namespace ninfer::passes
