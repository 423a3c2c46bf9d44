// Free buffers are kept in lists by capacity, a power of two or one and a half, so
// that a text that grows by a token finds the buffers of the step before.
// Tested by tests/eager_test.cc.
#include "eager/workspace.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace ninfer::eager {
namespace {

int64_t CapacityClass(int64_t elements) {
  int64_t capacity = 64;
  while (capacity < elements) capacity *= 2;
  return capacity >= 256 && capacity / 4 * 3 >= elements ? capacity / 4 * 3 : capacity;
}

template <typename T>
using FreeLists = absl::flat_hash_map<int64_t, std::vector<std::unique_ptr<std::vector<T>>>>;

}  // namespace

struct Workspace::Pool {
  std::mutex mutex;
  FreeLists<float> floats;
  FreeLists<int32_t> ints;
  int64_t live_bytes = 0;
  int64_t peak_bytes = 0;

  template <typename T>
  static std::shared_ptr<std::vector<T>> Get(std::shared_ptr<Pool> pool, FreeLists<T> Pool::*lists,
                                             int64_t elements) {
    const int64_t capacity = CapacityClass(elements);
    const int64_t bytes = elements * static_cast<int64_t>(sizeof(T));
    std::unique_ptr<std::vector<T>> buffer;
    {
      std::lock_guard<std::mutex> lock(pool->mutex);
      pool->live_bytes += bytes;
      pool->peak_bytes = std::max(pool->peak_bytes, pool->live_bytes);
      auto& free = (pool.get()->*lists)[capacity];
      if (!free.empty()) {
        buffer = std::move(free.back());
        free.pop_back();
      }
    }
    if (buffer == nullptr) {
      buffer = std::make_unique<std::vector<T>>();
      buffer->reserve(capacity);
    }
    buffer->resize(elements);  // elements that were there before keep their values
    return std::shared_ptr<std::vector<T>>(
        buffer.release(), [pool, lists, capacity, bytes](std::vector<T>* released) {
          std::lock_guard<std::mutex> lock(pool->mutex);
          pool->live_bytes -= bytes;
          (pool.get()->*lists)[capacity].emplace_back(released);
        });
  }
};

Workspace::Workspace() : pool_(std::make_shared<Pool>()) {}

Tensor Workspace::Floats(std::vector<int64_t> shape, DType dtype) {
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.floats = Pool::Get(pool_, &Pool::floats, tensor.elements());
  return tensor;
}

Tensor Workspace::Ints(std::vector<int64_t> shape) {
  Tensor tensor;
  tensor.dtype = DType::kI32;
  tensor.shape = std::move(shape);
  tensor.ints = Pool::Get(pool_, &Pool::ints, tensor.elements());
  return tensor;
}

Tensor Workspace::Make(DType dtype, std::vector<int64_t> shape) {
  return IsFloat(dtype) ? Floats(std::move(shape), dtype) : Ints(std::move(shape));
}

int64_t Workspace::peak_bytes() const {
  std::lock_guard<std::mutex> lock(pool_->mutex);
  return pool_->peak_bytes;
}

void Workspace::ResetPeak() {
  std::lock_guard<std::mutex> lock(pool_->mutex);
  pool_->peak_bytes = pool_->live_bytes;
}

}  // namespace ninfer::eager
