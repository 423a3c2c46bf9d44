// Where the builder of a family takes its tensors from. A family claims each tensor by name and
// shape; what is left unclaimed at the end is an error. Two sources: a checkpoint, whose tensors
// stay mapped, and seeded random numbers, which exist in memory alone and are made when they are
// first asked for. Tested by tests/frontend_test.cc and tests/frontend_random_test.cc.
#ifndef NINFER_FRONTEND_TENSORS_H_
#define NINFER_FRONTEND_TENSORS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "frontend/checkpoint.h"
#include "ir/weights.h"

namespace ninfer::frontend {

class TensorSource : public ir::WeightSource {
 public:
  // The dtype of a tensor that must have this shape. Afterwards Find gives it.
  virtual absl::StatusOr<DType> Claim(const std::string& name,
                                      const std::vector<int64_t>& shape) = 0;
  // Whether a tensor of this name, or any whose name begins so, is stored.
  virtual bool Has(absl::string_view name) const = 0;
  virtual bool HasPrefix(absl::string_view prefix) const = 0;
  // Whether two claimed tensors have the same dtype, shape and bytes.
  virtual bool Same(absl::string_view a, absl::string_view b) const = 0;
  // An error that names the first tensor that was not claimed and is not ignorable: one whose name
  // is, or ends in a dot and, one of `ignorable`, or begins with one that ends in a dot.
  virtual absl::Status CheckAllClaimed(absl::string_view architecture,
                                       absl::Span<const absl::string_view> ignorable) const = 0;
};

// A tensor is verified when it is claimed, where its file holds a checksum; one that lies unaligned
// (older writers did not pad the header) or with gaps is copied then.
std::shared_ptr<TensorSource> MakeCheckpointTensors(std::unique_ptr<Checkpoint> checkpoint);

// Normally distributed with deviation 0.02; norm weights around 1. Has() is always false,
// HasPrefix() always true: names are those of a current checkpoint with a tied head stored once.
// Each tensor's bytes depend on seed, name, shape and dtype alone.
std::shared_ptr<TensorSource> MakeRandomTensors(DType dtype, uint64_t seed);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_TENSORS_H_
