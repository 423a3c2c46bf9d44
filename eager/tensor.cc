// Tensors made from given data.
// Tested by tests/eager_test.cc.
#include <utility>

#include "base/status.h"
#include "eager/eager.h"

namespace ninfer::eager {

Tensor Tensor::Floats(std::vector<int64_t> shape, std::vector<float> data) {
  Tensor tensor;
  tensor.shape = std::move(shape);
  tensor.floats = std::make_shared<std::vector<float>>(std::move(data));
  NINFER_CHECK(tensor.elements() == static_cast<int64_t>(tensor.floats->size()));
  return tensor;
}

Tensor Tensor::Ints(std::vector<int64_t> shape, std::vector<int32_t> data) {
  Tensor tensor;
  tensor.dtype = DType::kI32;
  tensor.shape = std::move(shape);
  tensor.ints = std::make_shared<std::vector<int32_t>>(std::move(data));
  NINFER_CHECK(tensor.elements() == static_cast<int64_t>(tensor.ints->size()));
  return tensor;
}

int64_t Tensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

}  // namespace ninfer::eager
