// Where compiled plans of model folders are kept: a folder of the XDG base directory specification,
// and a name made from everything that decides a plan's content. Tested by
// tests/runtime_plan_cache_test.cc.
#ifndef NINFER_RUNTIME_PLAN_CACHE_H_
#define NINFER_RUNTIME_PLAN_CACHE_H_

#include <string>

#include "absl/status/statusor.h"

namespace ninfer::runtime {

// $XDG_CACHE_HOME/ninfer, else ~/.cache/ninfer; empty when neither is known.
std::string CacheFolder();

// Whether a file of this name in a model folder may decide what its plan holds.
bool IsModelFile(const std::string& name);

// The path of the plan of `model_folder` under `options`: changes with the content of the folder's
// files, the options, the compiler library (by size and time of change) and this CPU's features.
// Files are read whole by `threads` threads (0: one for each CPU).
absl::StatusOr<std::string> CachedPlanPath(const std::string& model_folder,
                                           const std::string& options,
                                           const std::string& compiler_library, int threads = 0);

// Makes the folders above `path`.
absl::Status MakeParentFolders(const std::string& path);

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_PLAN_CACHE_H_
