// Tested by tests/runtime_plan_cache_test.cc.
#include "runtime/plan_cache.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/machine.h"
#include "base/status.h"
#include "plan/blocks.h"
#include "plan/container.h"

namespace ninfer::runtime {
namespace {

// A subfolder that decides too; what lies in others is not read.
constexpr const char* kTemplates = "additional_chat_templates";

// Every file of the folder: an index or a configuration may name any of them.
absl::Status AddFiles(const std::string& folder, const std::string& below,
                      std::vector<std::string>* names) {
  const std::string path = below.empty() ? folder : JoinPath(folder, below);
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return InvalidArgument(path, ": cannot open: ", strerror(errno));
  while (const dirent* entry = readdir(directory)) {
    const std::string name = below.empty() ? entry->d_name : JoinPath(below, entry->d_name);
    if (FileExists(JoinPath(folder, name))) names->push_back(name);
  }
  closedir(directory);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ModelFiles(const std::string& folder) {
  std::vector<std::string> names;
  NINFER_RETURN_IF_ERROR(AddFiles(folder, "", &names));
  if (IsDirectory(JoinPath(folder, kTemplates))) {
    NINFER_RETURN_IF_ERROR(AddFiles(folder, kTemplates, &names));
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::string> ContentOf(const std::string& path, int threads) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  std::vector<uint64_t> hashes((file->size() + plan::kChecksumBlock - 1) / plan::kChecksumBlock);
  plan::ForEachBlock(file->size(), plan::kChecksumBlock, threads,
                     [&](uint64_t block, uint64_t offset, uint64_t size) {
                       hashes[block] = Hash64(file->data() + offset, size);
                       return true;
                     });
  return absl::StrCat(file->size(), " ", absl::StrJoin(hashes, ","));
}

// Cheaper than its content, and it changes when the library does.
std::string IdentityOf(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return "";
  return absl::StrCat(info.st_size, " ", info.st_mtim.tv_sec, " ", info.st_mtim.tv_nsec);
}

// The folder's name, however its path is spelled, as much of it as leaves a file name room for what
// stands behind it.
std::string LastPart(std::string folder) {
  constexpr size_t kLongest = 160;  // of the 255 bytes that file systems allow
  char resolved[PATH_MAX];
  if (realpath(folder.c_str(), resolved) != nullptr) folder = resolved;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  std::string name = folder.substr(folder.rfind('/') + 1);
  if (name.size() > kLongest) {
    size_t end = kLongest;
    while (end > 0 && (name[end] & 0xC0) == 0x80) --end;  // not within a character of UTF-8
    name.resize(end);
  }
  return name.empty() || name == "." || name == ".." ? "model" : name;
}

}  // namespace

std::string CacheFolder() {
  const std::string xdg = GetEnv("XDG_CACHE_HOME");
  // The specification has relative paths ignored.
  if (absl::StartsWith(xdg, "/")) return JoinPath(xdg, "ninfer");
  const std::string home = GetEnv("HOME");
  return home.empty() ? "" : JoinPath(home, ".cache/ninfer");
}

absl::StatusOr<std::string> CachedPlanPath(const std::string& model_folder,
                                           const std::string& options,
                                           const std::string& compiler_library, int threads) {
  NINFER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ModelFiles(model_folder));
  std::string key =
      absl::StrCat(plan::kVersionToWrite, "\n", options, "\n", IdentityOf(compiler_library), "\n");
  const absl::flat_hash_set<std::string> features = CpuFeatures();
  std::vector<std::string> sorted(features.begin(), features.end());
  std::sort(sorted.begin(), sorted.end());
  absl::StrAppend(&key, absl::StrJoin(sorted, " "), "\n");
  for (const std::string& name : names) {
    NINFER_ASSIGN_OR_RETURN(const std::string content,
                            ContentOf(JoinPath(model_folder, name), threads));
    absl::StrAppend(&key, name, " ", content, "\n");
  }
  const std::string folder = CacheFolder();
  if (folder.empty())
    return InvalidArgument("cache: expected XDG_CACHE_HOME or HOME, found neither");
  return JoinPath(folder, absl::StrFormat("%s-%s.plan", LastPart(model_folder),
                                          Hash128Hex(key.data(), key.size()).substr(0, 16)));
}

absl::Status MakeParentFolders(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string folder = path.substr(0, slash);
    if (mkdir(folder.c_str(), 0777) == 0) continue;
    const int reason = errno;
    if (IsDirectory(folder)) continue;
    return InvalidArgument(folder, ": cannot make the folder: ", strerror(reason));
  }
  return absl::OkStatus();
}

}  // namespace ninfer::runtime
