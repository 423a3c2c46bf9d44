// That no output of a run takes the place of what the run reads, or of another output. Tested by
// tests/programs_test.py.
#ifndef NINFER_TOOLS_COMMON_OUTPUTS_H_
#define NINFER_TOOLS_COMMON_OUTPUTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ninfer::tools {

// A path as a flag or an argument named it.
struct NamedPath {
  std::string name, path;
};

// Refuses an output that is the same file as an input or as another output, and, where an input is
// a folder, one that is a file of a model in it; a plan there may be replaced. Empty paths are
// those that were not given. Two paths are the same by device and inode, or, where nothing is there
// yet, by their spelling with links resolved.
absl::Status CheckOutputs(const std::vector<NamedPath>& outputs,
                          const std::vector<NamedPath>& inputs);

// Refuses a folder for numbered texts (--dump-ir) where an input text lies: a dump of the same name
// would take its place.
absl::Status CheckDumpFolder(const std::string& folder, const NamedPath& input);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_OUTPUTS_H_
