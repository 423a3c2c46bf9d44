// Whether an optional file is there. Tested by tests/programs_test.py.
#ifndef NINFER_BASE_HAS_FILE_H_
#define NINFER_BASE_HAS_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace ninfer {

// True for a regular file, links followed; false where there is nothing of that name. What is there
// and cannot be read as a file (a folder, a pipe, a link that leads nowhere) is an error that says
// what it is: to pass it over would be to read another model than the folder shows.
absl::StatusOr<bool> HasFile(const std::string& path);

}  // namespace ninfer

#endif  // NINFER_BASE_HAS_FILE_H_
