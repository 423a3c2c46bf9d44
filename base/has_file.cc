#include "base/has_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"

namespace ninfer {
namespace {

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

absl::StatusOr<bool> HasFile(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return InvalidArgument(path, ": cannot open: ", strerror(errno));
  }
  const char* found = nullptr;
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISREG(info.st_mode)) return true;
    found = KindOf(info.st_mode);
  } else if (errno == ENOENT || errno == ENOTDIR) {
    found = "a link to nothing";
  } else if (errno == ELOOP) {
    found = "a loop of links";
  } else {
    return InvalidArgument(path, ": cannot open: ", strerror(errno));
  }
  return InvalidArgument(path, ": expected a file, found ", found);
}

}  // namespace ninfer
