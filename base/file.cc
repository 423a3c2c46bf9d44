#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/status.h"

namespace ninfer {
namespace {

absl::Status ErrnoStatus(absl::string_view path, absl::string_view action, int error) {
  return InvalidArgument(path, ": cannot ", action, ": ", strerror(error));
}

absl::Status WriteAll(int fd, uint64_t offset, const void* data, uint64_t size,
                      const std::string& path) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = pwrite(fd, bytes, size, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(path, "write", errno);
    }
    bytes += written;
    offset += written;
    size -= written;
  }
  return absl::OkStatus();
}

std::string DescriptorPath(int fd) { return absl::StrCat("/proc/self/fd/", fd); }

// A file without a name, in the folder of `path`, that can be given one; -1 where there is no such
// thing.
int OpenNameless(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == path.npos ? "." : path.substr(0, slash + 1);
  const int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (fd < 0 || access(DescriptorPath(fd).c_str(), F_OK) == 0) return fd;
  close(fd);
  return -1;
}

// The place that a path leads to, through links, whether anything is there yet or not.
absl::StatusOr<std::string> FollowLinks(const std::string& path) {
  constexpr int kMostLinks = 40;  // as the system itself follows
  std::string at = path;
  for (int links = 0; links <= kMostLinks; ++links) {
    std::error_code error;
    const std::filesystem::path target = std::filesystem::read_symlink(at, error);
    if (error) return at;
    at = std::filesystem::path(at).parent_path() / target;
  }
  return ErrnoStatus(path, "write", ELOOP);
}

// The first name beside `path` that `take`, a system call, finds free; empty, with errno, where it
// fails for another reason.
std::string TakeFreeName(const std::string& path,
                         const std::function<int(const char* name)>& take) {
  for (int i = 0;; ++i) {
    const std::string name = absl::StrCat(path, ".tmp.", getpid(), ".", i);
    if (take(name.c_str()) >= 0) return name;
    if (errno != EEXIST) return "";
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(path, "open", errno);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return InvalidArgument(path, ": cannot map: not a regular file");
  }
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      close(fd);
      return ErrnoStatus(path, "map", error);
    }
  }
  close(fd);
  return std::unique_ptr<MappedFile>(new MappedFile(path, static_cast<const uint8_t*>(data), size));
}

MappedFile::~MappedFile() {
  if (size_ > 0) munmap(const_cast<uint8_t*>(data_), size_);
}

bool FileExists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool IsDirectory(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(path, "open", errno);
  std::string contents;
  std::vector<char> chunk(1 << 16);
  while (true) {
    const ssize_t count = read(fd, chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      close(fd);
      return ErrnoStatus(path, "read", error);
    }
    if (count == 0) break;
    contents.append(chunk.data(), count);
    if (contents.size() > limit) {
      close(fd);
      return InvalidArgument(path, ": expected at most ", limit, " bytes, found more");
    }
  }
  close(fd);
  return contents;
}

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& given) {
  if (IsDirectory(given)) return InvalidArgument(given, ": cannot write: it is a folder");
  // Renaming over /dev/null or a pipe would replace it.
  struct stat info;
  if (stat(given.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return InvalidArgument(given, ": cannot write: not a regular file");
  }
  NINFER_ASSIGN_OR_RETURN(const std::string path, FollowLinks(given));
  std::string temporary;
  int fd = OpenNameless(path);
  if (fd < 0) {
    temporary = TakeFreeName(path, [&fd](const char* name) {
      return fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    });
  }
  if (fd < 0) return ErrnoStatus(path, "write", errno);
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, temporary, fd));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  if (!nameless()) unlink(temporary_.c_str());
}

absl::Status AtomicFile::Append(const void* data, uint64_t size) {
  NINFER_RETURN_IF_ERROR(WriteAll(fd_, size_, data, size, path_));
  size_ += size;
  return absl::OkStatus();
}

absl::Status AtomicFile::WriteAt(uint64_t offset, const void* data, uint64_t size) {
  NINFER_RETURN_IF_ERROR(WriteAll(fd_, offset, data, size, path_));
  size_ = std::max(size_, offset + size);
  return absl::OkStatus();
}

absl::Status AtomicFile::Reserve(uint64_t size) {
  int error = EINTR;
  while (error == EINTR) error = posix_fallocate(fd_, 0, static_cast<off_t>(size));
  if (error != 0) return ErrnoStatus(path_, "write", error);
  size_ = std::max(size_, size);
  return absl::OkStatus();
}

absl::Status AtomicFile::Truncate(uint64_t size) {
  if (ftruncate(fd_, static_cast<off_t>(size)) != 0) return ErrnoStatus(path_, "write", errno);
  size_ = size;
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  if (fsync(fd_) != 0) return ErrnoStatus(path_, "write", errno);
  // A link cannot take another file's place, a renamed one can.
  if (nameless()) {
    temporary_ = TakeFreeName(path_, [this](const char* name) {
      return linkat(AT_FDCWD, DescriptorPath(fd_).c_str(), AT_FDCWD, name, AT_SYMLINK_FOLLOW);
    });
    if (nameless()) return ErrnoStatus(path_, "write", errno);
  }
  const int fd = fd_;
  fd_ = -1;
  if (close(fd) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    unlink(temporary_.c_str());
    return ErrnoStatus(path_, "write", error);
  }
  return absl::OkStatus();
}

absl::Status WriteFile(const std::string& path, absl::string_view contents) {
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  NINFER_RETURN_IF_ERROR(file->Append(contents.data(), contents.size()));
  return file->Commit();
}

std::string JoinPath(absl::string_view folder, absl::string_view name) {
  if (folder.empty()) return std::string(name);
  return absl::StrCat(folder, folder.back() == '/' ? "" : "/", name);
}

std::string GetEnv(const char* name, absl::string_view fallback) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::string(value) : std::string(fallback);
}

}  // namespace ninfer
