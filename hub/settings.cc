// See the header. The rules are those of huggingface_hub/constants.py and utils/_auth.py.
// Tested by tests/hub_test.py.
#include "hub/settings.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::hub {
namespace {

constexpr uint64_t kMaxTokenBytes = 1 << 16;

// The first of these variables that is set and not empty.
std::string FirstOf(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::string value = GetEnv(name);
    if (!value.empty()) return value;
  }
  return "";
}

bool IsTrue(std::string value) {
  absl::AsciiStrToUpper(&value);
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::string ExpandHome(const std::string& path) {
  if (path == "~" || absl::StartsWith(path, "~/")) return GetEnv("HOME") + path.substr(1);
  return path;
}

absl::StatusOr<std::string> HomeFolder() {
  const std::string own = GetEnv("HF_HOME");
  if (!own.empty()) return ExpandHome(own);
  const std::string xdg = GetEnv("XDG_CACHE_HOME");
  if (!xdg.empty()) return JoinPath(ExpandHome(xdg), "huggingface");
  const std::string home = GetEnv("HOME");
  if (home.empty()) {
    return InvalidArgument(
        "cache of the hub: expected HF_HOME, XDG_CACHE_HOME or HOME, found none");
  }
  return JoinPath(home, ".cache/huggingface");
}

absl::StatusOr<std::string> ReadToken(const std::string& home) {
  std::string token = FirstOf({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"});
  std::string where = "HF_TOKEN";
  if (token.empty() && !IsTrue(GetEnv("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
    const std::string named = GetEnv("HF_TOKEN_PATH");
    where = named.empty() ? JoinPath(home, "token") : ExpandHome(named);
    if (!FileExists(where)) return "";
    NINFER_ASSIGN_OR_RETURN(token, ReadFile(where, kMaxTokenBytes));
  }
  token = std::string(absl::StripAsciiWhitespace(token));
  for (char c : token) {
    // Anything else would end the header that it is sent in.
    if (absl::ascii_isgraph(static_cast<unsigned char>(c))) continue;
    return InvalidArgument(where, ": expected a token of printable characters, found others");
  }
  return token;
}

}  // namespace

absl::StatusOr<Settings> ReadSettings() {
  Settings settings;
  NINFER_ASSIGN_OR_RETURN(const std::string home, HomeFolder());
  settings.cache = ExpandHome(FirstOf({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}));
  if (settings.cache.empty()) settings.cache = JoinPath(home, "hub");
  settings.endpoint = GetEnv("HF_ENDPOINT", "https://huggingface.co");
  while (absl::EndsWith(settings.endpoint, "/")) settings.endpoint.pop_back();
  if (!absl::StartsWith(settings.endpoint, "https://") &&
      !absl::StartsWith(settings.endpoint, "http://")) {
    return InvalidArgument(
        "HF_ENDPOINT: expected an address that begins with https:// or http://, "
        "found ",
        settings.endpoint);
  }
  settings.offline = IsTrue(FirstOf({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}));
  const std::string timeout = GetEnv("HF_HUB_DOWNLOAD_TIMEOUT", "10");
  if (!absl::SimpleAtoi(timeout, &settings.timeout) || settings.timeout < 1) {
    return InvalidArgument("HF_HUB_DOWNLOAD_TIMEOUT: expected a number of seconds, found ",
                           timeout);
  }
  NINFER_ASSIGN_OR_RETURN(settings.token, ReadToken(home));
  return settings;
}

}  // namespace ninfer::hub
