// ninfer-inspect: prints what a plan holds, section by section or byte by byte.
// Tested by tests/inspect_test.py.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status.h"
#include "plan/dump.h"
#include "plan/reader.h"
#include "tools/common/inspect.h"
#include "tools/common/program.h"
#include "tools/common/terminal.h"

namespace ninfer::tools {
namespace {

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (!text.empty() && text.back() != '\n') std::fputc('\n', stdout);
}

std::vector<std::string> SectionNames() {
  std::vector<std::string> names;
  for (const InspectSection& section : InspectSections()) names.push_back(section.name);
  return names;
}

absl::Status PrintBytes(const std::string& path) {
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  NINFER_ASSIGN_OR_RETURN(const plan::PlanDump dump,
                          plan::DumpPlan(file->view(), file->size(), path));
  Print(plan::FormatDump(dump));
  return absl::OkStatus();
}

absl::Status PrintSections(const std::string& path, const std::string& only, bool verify) {
  const std::vector<std::string> names = SectionNames();
  if (!only.empty() && std::find(names.begin(), names.end(), only) == names.end()) {
    return InvalidArgument("--section: expected one of ", absl::StrJoin(names, ", "), ", found ",
                           only);
  }
  plan::ReadOptions options;
  options.verify = verify;
  options.weights_memory = plan::WeightsMemory::kMap;
  NINFER_ASSIGN_OR_RETURN(const plan::LoadedPlan loaded, plan::ReadPlan(path, options));
  for (const InspectSection& section : InspectSections()) {
    if (!only.empty() && only != section.name) continue;
    if (only.empty()) std::printf("=== %s: %s\n", section.name, section.shows);
    Print(section.print(loaded.plan));
    if (only.empty()) std::printf("\n");
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace ninfer::tools

int main(int argc, char** argv) {
  CLI::App app("Prints what a plan holds.", "ninfer-inspect");
  std::string path, section;
  bool bytes = false, no_verify = false;
  app.add_option("plan", path, "a plan file")->required();
  app.add_option("--section", section,
                 "print this one alone: " + absl::StrJoin(ninfer::tools::SectionNames(), ", "));
  app.add_flag(
      "--bytes", bytes,
      "print every field of the file but the weights' data, with its place (plan/FORMAT.md)");
  app.add_flag("--no-verify", no_verify, "do not verify the weights' checksums");
  return ninfer::tools::RunProgram(app, argc, argv, [&]() -> absl::Status {
    if (bytes && !section.empty()) {
      return ninfer::InvalidArgument("expected one of --bytes and --section, found both");
    }
    return bytes ? ninfer::tools::PrintBytes(path)
                 : ninfer::tools::PrintSections(path, section, !no_verify);
  });
}
