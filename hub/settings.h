// What the environment says of the hub, by the variables and files that huggingface_hub reads.
// Tested by tests/hub_test.py.
#ifndef NINFER_HUB_SETTINGS_H_
#define NINFER_HUB_SETTINGS_H_

#include <string>

#include "absl/status/statusor.h"

namespace ninfer::hub {

struct Settings {
  std::string endpoint;  // HF_ENDPOINT, else https://huggingface.co; no slash at its end
  std::string cache;     // HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub
  std::string token;     // HF_TOKEN, else the file HF_HOME/token; empty without one
  bool offline = false;  // HF_HUB_OFFLINE
  int timeout = 10;      // HF_HUB_DOWNLOAD_TIMEOUT: seconds without a byte
};

absl::StatusOr<Settings> ReadSettings();

}  // namespace ninfer::hub

#endif  // NINFER_HUB_SETTINGS_H_
