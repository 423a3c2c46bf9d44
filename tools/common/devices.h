// --device and --list-devices: the CPU, and the CUDA cards of this machine. Tested by
// tests/cuda_run_test.py.
#ifndef NINFER_TOOLS_COMMON_DEVICES_H_
#define NINFER_TOOLS_COMMON_DEVICES_H_

#include <string>

#include "absl/status/status.h"
#include "runtime/model.h"

namespace ninfer::tools {

// "auto" (the first card, for plans that have code for it), "cpu", "cuda" (cuda:0) or "cuda:N".
absl::Status ChooseDevice(const std::string& flag, runtime::ModelOptions* options);

// A line for the CPU and one for each card, or why there is none.
std::string ListDevices();

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_DEVICES_H_
