#include "tests/support/assembly.h"

#include <regex>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ninfer {
namespace {

std::vector<std::string> Instructions(const std::string& assembly) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(assembly, '\n')) {
    if (line.size() > 1 && line[0] == '\t' && absl::ascii_isalpha(line[1])) {
      lines.emplace_back(line.substr(1));
    }
  }
  return lines;
}

}  // namespace

std::string FirstMatch(const std::string& assembly, const char* pattern) {
  const std::regex regex(pattern);
  for (const std::string& line : Instructions(assembly)) {
    if (std::regex_search(line, regex)) return line;
  }
  return "";
}

std::vector<std::string> VectorsOnTheStack(const std::string& assembly) {
  // Of AArch64 d8 to d15 are what a callee saves.
  static const std::regex vector(
      "%([xyz]mm[0-9]+|k[0-7])\\b|\\b([qbhs][0-9]+\\b|d([0-7]|1[6-9]|2[0-9]|3[01])\\b|v[0-9]+\\.)");
  // Where %rbp is the frame's pointer and no register like others, what it points to is the stack.
  const bool framed = absl::StrContains(assembly, "movq\t%rsp, %rbp") ||
                      absl::StrContains(assembly, "mov\tx29, sp");
  const std::regex stack(framed ? "\\(%r[sb]p[,)]|\\[(sp|x29)\\b" : "\\(%rsp[,)]|\\[sp\\b");
  std::vector<std::string> found;
  for (const std::string& line : Instructions(assembly)) {
    if (std::regex_search(line, stack) && std::regex_search(line, vector)) found.push_back(line);
  }
  return found;
}

std::vector<std::string> CallsOut(const std::string& assembly) {
  static const std::regex call("^(?:call|blr?\t)");
  static const std::regex named("^(?:callq?|bl)\t([A-Za-z_.$0-9]+)$");
  std::vector<std::string> found;
  for (const std::string& line : Instructions(assembly)) {
    if (!std::regex_search(line, call)) continue;
    std::smatch match;
    const bool direct = std::regex_search(line, match, named);
    if (!direct ||
        !absl::StrContains(absl::StrCat("\n", assembly), absl::StrCat("\n", match[1].str(), ":"))) {
      found.push_back(line);
    }
  }
  return found;
}

}  // namespace ninfer
