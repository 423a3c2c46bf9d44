// See the header. The layout is that of huggingface_hub/file_download.py.
// Tested by tests/hub_test.py.
#include "hub/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "hub/name.h"

namespace ninfer::hub {
namespace {

constexpr useconds_t kLockWait = 100'000;  // microseconds between two tries

absl::Status CannotMake(const std::string& path) {
  return InvalidArgument(path, ": cannot make it: ", strerror(errno));
}

}  // namespace

absl::Status MakeFoldersAbove(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return InvalidArgument(folder.string(), ": cannot make the folder: ", error.message());
  }
  return absl::OkStatus();
}

RepositoryCache::RepositoryCache(const std::string& cache, const std::string& repository) {
  const std::string name = absl::StrCat("models--", absl::StrReplaceAll(repository, {{"/", "--"}}));
  folder_ = JoinPath(cache, name);
  locks_ = JoinPath(JoinPath(cache, ".locks"), name);
}

std::string RepositoryCache::Snapshot(const std::string& commit) const {
  return JoinPath(JoinPath(folder_, "snapshots"), commit);
}

std::string RepositoryCache::File(const std::string& commit, const std::string& name) const {
  return JoinPath(Snapshot(commit), name);
}

std::string RepositoryCache::Blob(const std::string& etag) const {
  return JoinPath(JoinPath(folder_, "blobs"), etag);
}

std::string RepositoryCache::ReadReference(const std::string& revision) const {
  const auto text = ReadFile(JoinPath(JoinPath(folder_, "refs"), revision), 4096);
  if (!text.ok()) return "";
  const std::string commit(absl::StripAsciiWhitespace(*text));
  return IsCommit(commit) ? commit : "";
}

absl::Status RepositoryCache::WriteReference(const std::string& revision,
                                             const std::string& commit) const {
  if (revision == commit || ReadReference(revision) == commit) return absl::OkStatus();
  const std::string path = JoinPath(JoinPath(folder_, "refs"), revision);
  NINFER_RETURN_IF_ERROR(MakeFoldersAbove(path));
  return WriteFile(path, commit);
}

bool RepositoryCache::Has(const std::string& commit, const std::string& name) const {
  return FileExists(File(commit, name));
}

bool RepositoryCache::IsAbsent(const std::string& commit, const std::string& name) const {
  return FileExists(JoinPath(JoinPath(JoinPath(folder_, ".no_exist"), commit), name));
}

absl::Status RepositoryCache::MarkAbsent(const std::string& commit, const std::string& name) const {
  if (IsAbsent(commit, name)) return absl::OkStatus();
  const std::string path = JoinPath(JoinPath(JoinPath(folder_, ".no_exist"), commit), name);
  NINFER_RETURN_IF_ERROR(MakeFoldersAbove(path));
  return WriteFile(path, "");
}

std::vector<std::string> RepositoryCache::List(const std::string& commit,
                                               const std::string& folder) const {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(JoinPath(Snapshot(commit), folder), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (FileExists(entry->path().string())) names.push_back(JoinPath(folder, name));
  }
  return names;
}

absl::Status RepositoryCache::Link(const std::string& commit, const std::string& name,
                                   const std::string& etag) const {
  const std::string path = File(commit, name);
  NINFER_RETURN_IF_ERROR(MakeFoldersAbove(path));
  std::string target = JoinPath("../../blobs", etag);
  for (const char c : name) {
    if (c == '/') target.insert(0, "../");
  }
  // Another process may make the same link between these two.
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return CannotMake(path);
  if (symlink(target.c_str(), path.c_str()) == 0) return absl::OkStatus();
  if (errno == EEXIST && FileExists(path)) return absl::OkStatus();
  return CannotMake(path);
}

RepositoryCache::Lock::~Lock() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<RepositoryCache::Lock> RepositoryCache::LockBlob(
    const std::string& etag, const std::function<bool()>& cancelled) const {
  const std::string path = JoinPath(locks_, etag + ".lock");
  NINFER_RETURN_IF_ERROR(MakeFoldersAbove(path));
  Lock lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0664));
  if (lock.fd_ < 0) return CannotMake(path);
  while (flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
    // A file system without locks: blobs still appear whole, under their names, or not at all.
    if (errno != EWOULDBLOCK && errno != EINTR) break;
    if (cancelled && cancelled()) return absl::CancelledError("interrupted");
    usleep(kLockWait);
  }
  return lock;
}

}  // namespace ninfer::hub
