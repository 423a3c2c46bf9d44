// Memory of intermediates: buffers are handed out uninitialised, go back when the last tensor that
// shares them goes, and are used again. Counts the bytes alive.
// Tested by tests/eager_test.cc.
#ifndef NINFER_EAGER_WORKSPACE_H_
#define NINFER_EAGER_WORKSPACE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "eager/eager.h"

namespace ninfer::eager {

class Workspace {
 public:
  Workspace();

  Tensor Floats(std::vector<int64_t> shape, DType dtype = DType::kF32);
  Tensor Ints(std::vector<int64_t> shape);
  // A tensor of the kind that `dtype` is held in.
  Tensor Make(DType dtype, std::vector<int64_t> shape);

  int64_t peak_bytes() const;
  void ResetPeak();

 private:
  struct Pool;
  std::shared_ptr<Pool> pool_;  // outlives the workspace while a tensor holds a buffer
};

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_WORKSPACE_H_
