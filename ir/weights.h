// Where a module's weights come from: the frontend implements it over mapped safetensors.
#ifndef NINFER_IR_WEIGHTS_H_
#define NINFER_IR_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

namespace ninfer::ir {

// A tensor as it lies in the checkpoint: row-major, little-endian, not owned.
struct WeightView {
  DType dtype;
  std::vector<int64_t> shape;
  const void* data;
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // By the name the module gives it; an unknown name is an error that says so.
  virtual absl::StatusOr<WeightView> Find(absl::string_view name) const = 0;
};

}  // namespace ninfer::ir

#endif  // NINFER_IR_WEIGHTS_H_
