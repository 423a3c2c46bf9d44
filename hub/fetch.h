// A model of the hub as a folder: what it needs is fetched into the cache that huggingface_hub
// keeps, unless it is there. Tested by tests/hub_test.py.
#ifndef NINFER_HUB_FETCH_H_
#define NINFER_HUB_FETCH_H_

#include <string>

#include "absl/status/statusor.h"
#include "hub/download.h"
#include "hub/name.h"
#include "hub/settings.h"

namespace ninfer::hub {

// The folder of the snapshot. Where the hub cannot be reached, a complete one of the cache is
// taken, which `log` says. `text` is "hf:org/name[@revision]".
absl::StatusOr<std::string> FetchModel(const std::string& text, const Settings& settings,
                                       const Callbacks& callbacks);

}  // namespace ninfer::hub

#endif  // NINFER_HUB_FETCH_H_
