// What a plan says of its step to whatever runs it: the limits of a step, the places of its
// arguments, the shape of its logits, and the bytes that it reads. Every executor of plans asks
// here. Tested by tests/runtime_cpu_executor_test.cc.
#ifndef NINFER_RUNTIME_STEP_LAYOUT_H_
#define NINFER_RUNTIME_STEP_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "plan/kv_groups.h"
#include "plan/plan.h"
#include "runtime/executor.h"

namespace ninfer::runtime {

// Elements from one row of an argument or result to the next, as program/program.h has it.
inline int64_t RowStride(int64_t columns) { return columns == 1 ? 1 : (columns + 31) / 32 * 32; }

// The entry of this name; an error where there is none.
absl::StatusOr<const plan::Entry*> FindEntry(const plan::Plan& plan, absl::string_view name);

class StepLayout {
 public:
  // `total_pages` as KvLimitsOf takes them; `page_bytes` as plan::KvGroups does. `plan` must
  // outlive the layout. Refuses a plan whose symbols, cache or output are no step's.
  static absl::StatusOr<StepLayout> Create(const plan::Plan* plan, const plan::Entry* step,
                                           int64_t total_pages,
                                           const std::vector<int64_t>& page_bytes);

  const ExecutorLimits& limits() const { return limits_; }
  const std::vector<plan::KvGroup>& kv_groups() const { return kv_groups_; }  // as limits' are

  // Four-byte values that an argument has at most; -1 where no step has it.
  int64_t ArgumentLength(absl::string_view name) const;
  // Copies the step's arguments to their places. `place` is null for an argument that the plan does
  // not take.
  void CopyArguments(const StepInput& input,
                     absl::FunctionRef<int32_t*(absl::string_view name)> place) const;
  // The value of a symbol in this step; 0 where no step has it.
  int64_t Dim(absl::string_view symbol, const StepInput& input) const;
  // Whether the step finds the ids of the largest logits itself.
  bool finds_argmax() const { return step_->argmax >= 0; }
  // Copies logits of columns [begin, end) from the output's rows to [R, vocabulary].
  void CopyLogits(const StepInput& input, const float* output, int64_t begin, int64_t end,
                  float* logits) const;

  // Bytes that one decode step reads: of the weights that a row needs, whose sizes `bytes_of`
  // tells, and of the cache of `cached` positions.
  int64_t WeightBytesRead(absl::FunctionRef<int64_t(uint32_t weight)> bytes_of) const;
  int64_t CacheBytesRead(int64_t cached) const;
  // Bytes of the cache that a text of so many positions holds.
  int64_t CacheBytes(int64_t positions) const;

 private:
  StepLayout(const plan::Plan* plan, const plan::Entry* step) : plan_(plan), step_(step) {}
  absl::Status ReadLimits(int64_t total_pages, const std::vector<int64_t>& page_bytes);
  absl::Status ReadKvGroups(int64_t total_pages, const std::vector<int64_t>& page_bytes);
  absl::Status CheckOutput() const;
  absl::Status CheckArgmax() const;
  void CopyPictures(const StepInput& input, int32_t* is_picture, float* rows) const;
  // The layer group whose page table has this name; -1 where it is no group's.
  int GroupOf(absl::string_view page_table) const;

  const plan::Plan* plan_;
  const plan::Entry* step_;
  ExecutorLimits limits_;
  std::vector<plan::KvGroup> kv_groups_;
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_STEP_LAYOUT_H_
