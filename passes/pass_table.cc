// The rows of passes.def with their functions, and the table of a run that -v prints.
// Tested by tests/passes_runner_test.cc.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "passes/runner.h"

namespace ninfer::passes {
namespace {

#define NINFER_ENTRY_MODULE(function) PassLevel::kModule, &function, nullptr, nullptr
#define NINFER_ENTRY_LOWER(function) PassLevel::kLower, nullptr, &function, nullptr
#define NINFER_ENTRY_PROGRAM(function) PassLevel::kProgram, nullptr, nullptr, &function

const std::vector<PassEntry>& Table() {
  static const auto* table = new std::vector<PassEntry>{
#define PASS(level, function, name, optional, changes, proves) \
  {{name, changes, proves, optional}, NINFER_ENTRY_##level(function)},
#include "passes/passes.def"
  };
  return *table;
}

#undef NINFER_ENTRY_MODULE
#undef NINFER_ENTRY_LOWER
#undef NINFER_ENTRY_PROGRAM

std::string Bytes(int64_t bytes) {
  if (bytes < int64_t{1} << 20) return absl::StrFormat("%.1f KiB", bytes / 1024.0);
  return absl::StrFormat("%.1f MiB", bytes / 1048576.0);
}

}  // namespace

absl::Span<const PassEntry> PassEntries() { return Table(); }

const PassEntry& EntryOf(PassId id) { return Table()[static_cast<size_t>(id)]; }

const PassEntry* FindPass(absl::string_view name) {
  for (const PassEntry& entry : Table()) {
    if (entry.info.name == name) return &entry;
  }
  return nullptr;
}

std::vector<PassInfo> ListPasses() {
  std::vector<PassInfo> passes;
  for (const PassEntry& entry : Table()) passes.push_back(entry.info);
  return passes;
}

std::string PassesMarkdown() {
  std::string text =
      "# The passes\n"
      "\n"
      "Made from `passes/passes.def` by `passes/pass_table.cc`: change the table, then run\n"
      "`NINFER_BLESS=1` with the test `passes_runner_test`.\n"
      "\n"
      "In pipeline order; `passes/pipeline.cc` says why each stands where it does. An optional "
      "pass is an\n"
      "optimisation and can be left out with `--disable-pass`; the others give the forms that "
      "later ones need.\n"
      "The number is the one in the log, in the names of dumps and in errors.\n"
      "\n"
      "| | pass | level | optional | changes | proves |\n"
      "|---|---|---|---|---|---|\n";
  const char* const levels[] = {"graph", "graph to program", "program"};
  int number = 0;
  for (const PassEntry& entry : Table()) {
    absl::StrAppend(&text, "| ", ++number, " | `", entry.info.name, "` | ",
                    levels[static_cast<int>(entry.level)], " | ",
                    entry.info.optional ? "yes" : "no", " | ", entry.info.summary, " | ",
                    entry.info.proves, " |\n");
  }
  return text;
}

std::string PassTable(const std::vector<PassRecord>& records) {
  std::string text = absl::StrFormat("%3s  %-14s %9s %9s  %-15s %-23s %s\n", "", "pass", "ms",
                                     "rewrites", "ops or launches", "intermediates", "max error");
  double seconds = 0;
  for (const PassRecord& record : records) {
    absl::StrAppendFormat(&text, "%3d  %-14s ", record.number, record.name);
    if (record.skipped) {
      absl::StrAppend(&text, "disabled\n");
      continue;
    }
    seconds += record.seconds;
    absl::StrAppendFormat(
        &text, "%9.2f %9d  %-15s %-23s %s\n", record.seconds * 1e3, record.rewrites,
        absl::StrCat(record.ops_before, " -> ", record.ops_after),
        absl::StrCat(Bytes(record.bytes_before), " -> ", Bytes(record.bytes_after)),
        record.comparison ? absl::StrFormat("%.2e of %.0e", record.comparison->max_error,
                                            record.comparison->bound)
                          : "");
  }
  return absl::StrCat(text, absl::StrFormat("     %-14s %9.2f\n", "all", seconds * 1e3));
}

std::string BuffersLine(const program::Program& program) {
  return absl::StrCat("buffers: peak ", Bytes(program.arena_bytes + program.replica_bytes),
                      ", lower bound ", Bytes(program.arena_lower_bound), "\n");
}

}  // namespace ninfer::passes
