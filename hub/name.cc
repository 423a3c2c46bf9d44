// See the header. The rules are those of huggingface_hub's validate_repo_id.
// Tested by tests/hub_name_test.cc.
#include "hub/name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace ninfer::hub {
namespace {

constexpr absl::string_view kPrefix = "hf:";
constexpr size_t kMaxRepository = 96;
constexpr size_t kMaxRevision = 256;

bool OnlyHas(absl::string_view text, absl::string_view others) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(others, c);
  });
}

bool IsRepository(absl::string_view text) {
  if (text.size() > kMaxRepository || absl::StrContains(text, "--") ||
      absl::StrContains(text, "..") || absl::EndsWith(text, ".git")) {
    return false;
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  if (parts.size() > 2) return false;
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    if (part.empty() || !OnlyHas(part, "-_.")) return false;
    return !absl::StrContains("-.", part.front()) && !absl::StrContains("-.", part.back());
  });
}

// What is safe as a path below the cache's folder of references.
bool IsRevision(absl::string_view text) {
  if (text.size() > kMaxRevision || !OnlyHas(text, "-_./+")) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  return std::all_of(parts.begin(), parts.end(),
                     [](absl::string_view part) { return !part.empty() && part.front() != '.'; });
}

}  // namespace

bool IsModelName(absl::string_view text) { return absl::StartsWith(text, kPrefix); }

absl::StatusOr<ModelName> ParseModelName(absl::string_view text) {
  ModelName name;
  name.text = std::string(text);
  absl::string_view rest = absl::StripPrefix(text, kPrefix);
  const size_t at = rest.find('@');
  if (at != absl::string_view::npos) {
    name.revision = std::string(rest.substr(at + 1));
    rest = rest.substr(0, at);
  }
  name.repository = std::string(rest);
  if (!IsModelName(text) || !IsRepository(name.repository)) {
    return InvalidArgument(text, ": expected hf:organisation/model, found ",
                           name.repository.empty() ? "no name" : name.repository);
  }
  if (!IsRevision(name.revision)) {
    return InvalidArgument(text, ": expected a branch, tag or commit behind @, found ",
                           name.revision.empty() ? "none" : name.revision);
  }
  return name;
}

bool IsCommit(absl::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace ninfer::hub
