// Weights that exist only in memory, for tests.
#ifndef NINFER_TESTS_SUPPORT_MEMORY_WEIGHTS_H_
#define NINFER_TESTS_SUPPORT_MEMORY_WEIGHTS_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "ir/module.h"
#include "ir/weights.h"

namespace ninfer {

class MemoryWeights : public ir::WeightSource {
 public:
  // The elements are converted to `dtype`, which must be a float.
  void Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
           const std::vector<float>& elements);
  // Seeded normal numbers times `scale` for every weight of the module that has neither a literal
  // nor data yet. The numbers depend on the seed and the weight's name alone.
  void AddRandom(const ir::Module& module, uint64_t seed, float scale);
  absl::StatusOr<ir::WeightView> Find(absl::string_view name) const override;

 private:
  struct Tensor {
    DType dtype;
    std::vector<int64_t> shape;
    std::vector<uint8_t> bytes;
  };
  absl::flat_hash_map<std::string, Tensor> tensors_;
};

}  // namespace ninfer

#endif  // NINFER_TESTS_SUPPORT_MEMORY_WEIGHTS_H_
