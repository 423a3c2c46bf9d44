// Evaluates functions op by op: values in a map, each released after its last use. Shared by the
// interpreters of graphs and of programs.
// Tested by tests/eager_test.cc.
#ifndef NINFER_EAGER_EVALUATOR_H_
#define NINFER_EAGER_EVALUATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "eager/eager.h"
#include "eager/kernels.h"
#include "ir/module.h"

namespace ninfer::eager {

// A value at run time. A weight that linears (and embeddings) alone use is held turned: the tensor
// is [K, N and some padding], `turned_rows` is N. A streamed one has no tensor: ops read it.
struct Slot {
  Tensor tensor;
  int64_t turned_rows = 0;
  KvStore* kv = nullptr;  // of a KV state
  std::shared_ptr<const StreamedConstant> streamed;
};

using Slots = absl::flat_hash_map<const ir::Value*, Slot>;

class Evaluator {
 public:
  Evaluator(Context context, absl::Span<const ir::Symbol> symbols)
      : context_(context), symbols_(symbols.begin(), symbols.end()), dims_(symbols.size(), -1) {}

  // `constants` holds those values of constant expressions of `function` that its other nodes use:
  // the expressions' own nodes are passed over.
  void set_constants(const ir::Function* function, const Slots* constants) {
    folded_ = function;
    constants_ = constants;
  }

  // The values of the symbols in this step; -1 where not known yet.
  void set_dims(std::vector<int64_t> dims) { dims_ = std::move(dims); }

  // Parameters that receive results have no use in a body and may be empty slots.
  absl::StatusOr<std::vector<Slot>> Run(const ir::Function& function,
                                        absl::Span<const Slot> parameters,
                                        const Observer* observer);

  // One node, not fused.
  absl::StatusOr<Slot> Evaluate(const ir::Node& node, absl::Span<const Slot> operands);

 private:
  // What is known of a function before it runs.
  struct Schedule {
    std::vector<const ir::Node*> nodes;
    std::vector<std::vector<const ir::Value*>> dying;  // by node: values it uses last
  };
  const Schedule& ScheduleOf(const ir::Function& function);
  absl::Status RunNode(const ir::Node& node, Slots& values, const Observer* observer);
  absl::StatusOr<Tensor> Compute(const ir::Node& node, absl::Span<const Slot> operands);
  absl::StatusOr<Tensor> ComputeState(const ir::Node& node, absl::Span<const Slot> operands);
  // The declared shape of a result, with unknown symbols taken from `elements` where that is
  // possible.
  absl::StatusOr<std::vector<int64_t>> Shape(const ir::Type& type, int64_t elements) const;
  absl::Status CheckResult(const ir::Type& type, const Slot& slot);

  Context context_;
  std::vector<ir::Symbol> symbols_;
  const ir::Function* folded_ = nullptr;
  const Slots* constants_ = nullptr;
  std::vector<int64_t> dims_;
  absl::flat_hash_map<const ir::Function*, std::unique_ptr<Schedule>> schedules_;
};

// Sets the symbols that a value of this type and shape implies; checks rank and the other sizes.
// `what` names the value in errors.
absl::Status BindShape(absl::string_view what, const ir::Type& type,
                       absl::Span<const int64_t> shape, absl::Span<const ir::Symbol> symbols,
                       std::vector<int64_t>& dims);

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_EVALUATOR_H_
