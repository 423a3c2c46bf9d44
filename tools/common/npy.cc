#include "tools/common/npy.h"

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"

namespace ninfer::tools {

absl::Status WriteNpy(const std::string& path, int64_t rows, int64_t columns,
                      const std::vector<float>& values) {
  std::string dictionary = absl::StrFormat(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, columns);
  // Magic, version and length take 10 bytes; the whole is a multiple of 64 and ends in a newline.
  dictionary.resize((10 + dictionary.size() + 1 + 63) / 64 * 64 - 11, ' ');
  dictionary += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dictionary.size() & 0xff);
  header += static_cast<char>(dictionary.size() >> 8);
  header += dictionary;
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  NINFER_RETURN_IF_ERROR(file->Append(header.data(), header.size()));
  NINFER_RETURN_IF_ERROR(file->Append(values.data(), values.size() * sizeof(float)));
  return file->Commit();
}

}  // namespace ninfer::tools
