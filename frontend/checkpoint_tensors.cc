// Tensors of a checkpoint: see tensors.h.
// Tested by tests/frontend_test.cc.
#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "base/status.h"
#include "frontend/checkpoint.h"
#include "frontend/json.h"
#include "frontend/tensors.h"

namespace ninfer::frontend {
namespace {

bool IsIgnorable(absl::string_view name, absl::Span<const absl::string_view> ignorable) {
  for (absl::string_view part : ignorable) {
    if (name == part) return true;
    if (absl::EndsWith(part, ".") && absl::StartsWith(name, part)) return true;
    if (absl::EndsWith(name, part) && name[name.size() - part.size() - 1] == '.') return true;
  }
  return false;
}

class CheckpointTensors : public TensorSource {
 public:
  explicit CheckpointTensors(std::unique_ptr<Checkpoint> checkpoint)
      : checkpoint_(std::move(checkpoint)) {}

  absl::StatusOr<DType> Claim(const std::string& name, const std::vector<int64_t>& shape) override {
    const StoredTensor* tensor = checkpoint_->Find(name);
    if (tensor == nullptr) {
      return InvalidArgument(checkpoint_->path(), ": tensor ", Quoted(name), ": expected shape ",
                             ShapeToString(shape), ", found no such tensor");
    }
    const std::string where = absl::StrCat(tensor->file, ": tensor ", Quoted(name));
    if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kF16 &&
        tensor->dtype != DType::kBF16) {
      return InvalidArgument(where, ": expected dtype f32, f16 or bf16, found ",
                             DTypeName(tensor->dtype));
    }
    if (tensor->shape != shape) {
      return InvalidArgument(where, ": expected shape ", ShapeToString(shape), ", found ",
                             ShapeToString(tensor->shape));
    }
    NINFER_RETURN_IF_ERROR(VerifyOnce(where, tensor->checksum));
    Gather(*tensor);
    claimed_.insert(name);
    return tensor->dtype;
  }

  bool Has(absl::string_view name) const override { return checkpoint_->Find(name) != nullptr; }

  bool HasPrefix(absl::string_view prefix) const override {
    for (const StoredTensor& tensor : checkpoint_->tensors()) {
      if (absl::StartsWith(tensor.name, prefix)) return true;
    }
    return false;
  }

  bool Same(absl::string_view a, absl::string_view b) const override {
    const StoredTensor* x = checkpoint_->Find(a);
    const StoredTensor* y = checkpoint_->Find(b);
    NINFER_CHECK(x != nullptr && y != nullptr) << a << " " << b;
    return x->dtype == y->dtype && x->shape == y->shape &&
           (x->bytes == 0 || std::memcmp(DataOf(*x), DataOf(*y), x->bytes) == 0);
  }

  absl::Status CheckAllClaimed(absl::string_view architecture,
                               absl::Span<const absl::string_view> ignorable) const override {
    for (const StoredTensor& tensor : checkpoint_->tensors()) {
      if (claimed_.contains(tensor.name) || IsIgnorable(tensor.name, ignorable)) continue;
      return InvalidArgument(tensor.file, ": tensor ", Quoted(tensor.name),
                             ": expected only the tensors of ", architecture,
                             " with the options of config.json, found one more of shape ",
                             ShapeToString(tensor.shape));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ir::WeightView> Find(absl::string_view name) const override {
    const StoredTensor* tensor = checkpoint_->Find(name);
    if (tensor == nullptr) {
      return InvalidArgument(checkpoint_->path(), ": expected tensor ", Quoted(name),
                             ", found no such tensor");
    }
    return ir::WeightView{tensor->dtype, tensor->shape, DataOf(*tensor)};
  }

 private:
  const void* DataOf(const StoredTensor& tensor) const {
    const auto copy = gathered_.find(tensor.name);
    return copy == gathered_.end() ? tensor.data : static_cast<const void*>(copy->second.data());
  }

  // Copies what lies unaligned, or apart.
  void Gather(const StoredTensor& tensor) {
    const bool aligned = reinterpret_cast<uintptr_t>(tensor.data) % DTypeSize(tensor.dtype) == 0;
    if (aligned && tensor.strides.empty()) return;
    std::vector<uint32_t>& copy = gathered_[tensor.name];
    copy.resize((tensor.bytes + sizeof(uint32_t) - 1) / sizeof(uint32_t));
    CopyElements(tensor, reinterpret_cast<uint8_t*>(copy.data()));
  }

  // Bytes that several tensors share are read through once.
  absl::Status VerifyOnce(absl::string_view where, const Checksum& checksum) {
    if (verified_.contains(checksum.data)) return absl::OkStatus();
    NINFER_RETURN_IF_ERROR(Verify(where, checksum));
    verified_.insert(checksum.data);
    return absl::OkStatus();
  }

  std::unique_ptr<Checkpoint> checkpoint_;
  absl::flat_hash_set<std::string> claimed_;
  absl::flat_hash_map<std::string, std::vector<uint32_t>> gathered_;
  absl::flat_hash_set<const uint8_t*> verified_;
};

}  // namespace

std::shared_ptr<TensorSource> MakeCheckpointTensors(std::unique_ptr<Checkpoint> checkpoint) {
  return std::make_shared<CheckpointTensors>(std::move(checkpoint));
}

}  // namespace ninfer::frontend
