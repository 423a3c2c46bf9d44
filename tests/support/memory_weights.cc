#include "tests/support/memory_weights.h"

#include "base/hash.h"
#include "base/status.h"
#include "tests/support/random.h"

namespace ninfer {

void MemoryWeights::Add(const std::string& name, DType dtype, std::vector<int64_t> shape,
                        const std::vector<float>& elements) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  NINFER_CHECK(count == static_cast<int64_t>(elements.size())) << "elements of " << name;
  std::vector<uint8_t> bytes(count * DTypeSize(dtype));
  ConvertFromFloat(elements.data(), dtype, bytes.data(), count);
  tensors_[name] = {dtype, std::move(shape), std::move(bytes)};
}

void MemoryWeights::AddRandom(const ir::Module& module, uint64_t seed, float scale) {
  for (const ir::Weight& weight : module.weights()) {
    const std::string& name = weight.value->name();
    if (!weight.literal.empty() || tensors_.contains(name)) continue;
    Random random(seed ^ Hash64(name));
    std::vector<int64_t> shape;
    int64_t count = 1;
    for (const ir::Dim& dim : weight.value->type().shape) {
      shape.push_back(dim.offset);
      count *= dim.offset;
    }
    std::vector<float> elements(count);
    for (float& element : elements) element = scale * random.Normal();
    Add(name, weight.value->type().dtype, std::move(shape), elements);
  }
}

absl::StatusOr<ir::WeightView> MemoryWeights::Find(absl::string_view name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    return InvalidArgument("weights: tensor ", name, ": expected data, found none");
  }
  return ir::WeightView{it->second.dtype, it->second.shape, it->second.bytes.data()};
}

}  // namespace ninfer
