// The room in a build without libcurl (NINFER_PORTABLE): models are folders.
// Tested by tests/portable_test.py.
#include "base/status.h"
#include "hub/fetch.h"

namespace ninfer::hub {

absl::StatusOr<std::string> FetchModel(const std::string& text, const Settings& settings,
                                       const Callbacks& callbacks) {
  return InvalidArgument(text, ": expected a folder, for this build has no network");
}

}  // namespace ninfer::hub
