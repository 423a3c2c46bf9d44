// The zip container of PyTorch's files: entries that are stored as they are, read in place by the
// central directory (PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16), with or without zip64.
// Compressed, encrypted or split archives are refused. Tested by tests/torch_file_test.cc, fuzzed
// by tests/fuzz/torch_file_fuzz.cc.
#ifndef NINFER_FRONTEND_ZIP_H_
#define NINFER_FRONTEND_ZIP_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::frontend {

struct ZipEntry {
  absl::string_view name;      // points into the file
  absl::string_view contents;  // points into the file
  uint32_t crc32 = 0;
};

// In the order of the directory, each name once. `file` names the archive in errors.
absl::StatusOr<std::vector<ZipEntry>> ParseZip(absl::string_view file, absl::string_view contents);

// Whether the bytes begin as a zip file does.
bool LooksLikeZip(absl::string_view contents);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ZIP_H_
