// Files: mapping, reading whole, atomic writing, and the one bounds check for offsets found in
// files. Tested by tests/base_test.cc.
#ifndef NINFER_BASE_FILE_H_
#define NINFER_BASE_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer {

// True when [offset, offset + length) lies inside [0, size). Safe against wrap-around.
inline bool InBounds(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

// A read-only mapping of a whole file; unmapped on destruction. An empty file maps to no bytes.
class MappedFile {
 public:
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  absl::string_view view() const {
    return absl::string_view(reinterpret_cast<const char*>(data_), size_);
  }

 private:
  MappedFile(std::string path, const uint8_t* data, uint64_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  const uint8_t* data_;
  uint64_t size_;
};

bool FileExists(const std::string& path);
bool IsDirectory(const std::string& path);

// Reads a whole file; refuses one over `limit` bytes.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit = uint64_t{1} << 31);

// Writes to a temporary file in the folder of `path` and gives it that name on Commit, so that
// readers see the old file or the whole new one. Links are followed: the file that they lead to is
// what is replaced, or made. Without Commit the temporary file goes. Every error names that file.
class AtomicFile {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  absl::Status Append(const void* data, uint64_t size);
  // Writes at an absolute offset (for tables that are known last).
  absl::Status WriteAt(uint64_t offset, const void* data, uint64_t size);
  // Takes room on the disk for `size` bytes, zeros where there are none yet, so that a mapping of
  // them can be written to.
  absl::Status Reserve(uint64_t size);
  absl::Status Truncate(uint64_t size);  // to `size` bytes, zeros behind where there were fewer
  uint64_t size() const { return size_; }
  int fd() const { return fd_; }
  // Whether the file has no name before Commit: then nothing is left of it even when the process is
  // killed. Some file systems have no such files.
  bool nameless() const { return temporary_.empty(); }
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  std::string path_;
  std::string temporary_;
  int fd_;
  uint64_t size_ = 0;
};

// Writes `contents` through an AtomicFile.
absl::Status WriteFile(const std::string& path, absl::string_view contents);

// The folder with `name` appended.
std::string JoinPath(absl::string_view folder, absl::string_view name);

// The value of an environment variable or `fallback`. The only getenv of the project.
std::string GetEnv(const char* name, absl::string_view fallback = "");

}  // namespace ninfer

#endif  // NINFER_BASE_FILE_H_
