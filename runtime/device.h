// A device other than the CPU, as the programs hand it in: this room knows of none.
#ifndef NINFER_RUNTIME_DEVICE_H_
#define NINFER_RUNTIME_DEVICE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "plan/plan.h"
#include "runtime/executor.h"

namespace ninfer::runtime {

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;  // "cuda:0"
  // What a folder is compiled for: "cuda:sm_90". An error where the device is not there.
  virtual absl::StatusOr<std::string> target() const = 0;
  // Whether the device is there and the plan has code for it; if not, Missing says why.
  virtual bool Runs(const plan::Plan& plan) const = 0;
  virtual std::string Missing(const plan::Plan& plan) const = 0;
  // `total_pages` as KvLimitsOf takes them; `progress` of loading the weights may be empty.
  virtual absl::StatusOr<std::unique_ptr<Executor>> Open(
      std::shared_ptr<const plan::LoadedPlan> plan, int64_t total_pages,
      const std::function<void(double done)>& progress) = 0;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_DEVICE_H_
