// The folder in which huggingface_hub keeps what it downloads, in its own layout, so that both
// share it: models--ORG--NAME/{blobs/ETAG, snapshots/COMMIT/FILE -> ../../blobs/ETAG,
// refs/REVISION, .no_exist/COMMIT/FILE} and .locks/models--ORG--NAME/ETAG.lock. Tested by
// tests/hub_test.py.
#ifndef NINFER_HUB_CACHE_H_
#define NINFER_HUB_CACHE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::hub {

class RepositoryCache {
 public:
  RepositoryCache(const std::string& cache, const std::string& repository);

  std::string Snapshot(const std::string& commit) const;
  std::string File(const std::string& commit, const std::string& name) const;
  std::string Blob(const std::string& etag) const;

  // The commit that a branch or tag was last seen at; empty when it never was.
  std::string ReadReference(const std::string& revision) const;
  absl::Status WriteReference(const std::string& revision, const std::string& commit) const;

  // Whether a file is there (its link leads to one), and whether it is known that the commit has
  // none of this name.
  bool Has(const std::string& commit, const std::string& name) const;
  bool IsAbsent(const std::string& commit, const std::string& name) const;
  absl::Status MarkAbsent(const std::string& commit, const std::string& name) const;
  // The names of the files in a folder of the snapshot ("" is the snapshot), with the folder.
  std::vector<std::string> List(const std::string& commit, const std::string& folder) const;

  // Makes snapshots/COMMIT/NAME a link to the blob.
  absl::Status Link(const std::string& commit, const std::string& name,
                    const std::string& etag) const;

  // Holds the lock of a blob, shared with other processes; waits while another holds it.
  class Lock {
   public:
    ~Lock();
    Lock(Lock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    friend class RepositoryCache;
    explicit Lock(int fd) : fd_(fd) {}
    int fd_;
  };
  absl::StatusOr<Lock> LockBlob(const std::string& etag,
                                const std::function<bool()>& cancelled) const;

 private:
  std::string folder_, locks_;
};

// Makes the folders above `path`.
absl::Status MakeFoldersAbove(const std::string& path);

}  // namespace ninfer::hub

#endif  // NINFER_HUB_CACHE_H_
