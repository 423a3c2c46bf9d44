// What graph passes share: the count of rewrites, a sweep of uses, and a few questions about nodes.
// Tested by tests/passes_golden_test.cc.
#ifndef NINFER_PASSES_REWRITE_H_
#define NINFER_PASSES_REWRITE_H_

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "ir/module.h"
#include "passes/pass.h"

namespace ninfer::passes {

// Counts the rewrites of one pass. A pass asks before each and, told no, returns at once, so that
// any number of its rewrites can be had alone.
class Rewrites {
 public:
  explicit Rewrites(const PassOptions& options) : options_(options) {}
  bool Next() {
    if (options_.may_rewrite && !options_.may_rewrite()) return false;
    ++made_;
    return true;
  }
  int made() const { return made_; }

 private:
  const PassOptions& options_;
  int made_ = 0;
};

// Every use in a function, found in one sweep. Stale after a change of the graph.
class Uses {
 public:
  explicit Uses(const ir::Function& function);
  // One entry for each operand that is the value.
  const std::vector<ir::Node*>& of(const ir::Value* value) const;
  bool is_result(const ir::Value* value) const { return results_.contains(value); }
  // The node that alone uses the value, once; null when there are more uses or a result is one.
  ir::Node* OnlyUser(const ir::Value* value) const;

 private:
  absl::flat_hash_map<const ir::Value*, std::vector<ir::Node*>> users_;
  absl::flat_hash_set<const ir::Value*> results_;
};

// Attention's result is named after the probabilities that it mixes: "attention.3.mixed". Naive
// attention's buffer of probabilities gets its name back from it.
inline constexpr absl::string_view kMixedSuffix = ".mixed";

// Positions in the list of nodes.
absl::flat_hash_map<const ir::Node*, int> Positions(const ir::Function& function);

// The producer when it is an `op`, else null.
ir::Node* ProducerIf(const ir::Value* value, ir::Op op);

// The value of a `constant` node.
absl::optional<double> ScalarConstant(const ir::Value* value);

// The value of an expression of scalar constants, in f32 as eager computes it. Only operations that
// IEEE 754 rounds correctly are evaluated (+ - * / negation, square root), so that the result is
// the same bits everywhere; none when the result is not finite, or more than so many ops lie
// between it and a constant (the fold pass goes in program order and leaves none).
inline constexpr int kMaxScalarDepth = 16;
absl::optional<float> EvaluateScalar(const ir::Value* value);

// True for a node that multiplies or divides one tensor by a scalar constant, of which it tells the
// tensor and the factor.
bool MatchScaling(const ir::Node* node, ir::Value** tensor, double* factor);

// Values that depend on weights and constants alone.
absl::flat_hash_set<const ir::Value*> ConstantValues(const ir::Function& function);

// Moves the producer of a constant expression, and what it depends on, before `before`.
void HoistConstant(ir::Function& function, ir::Value* value, const ir::Node* before);

// The axis whose dimension is the symbol; -1 when there is none, -2 when there are several.
int AxisOf(const ir::Type& type, int symbol);

// True when every row of the results along the symbol's axis depends on the same row of the
// operands alone: the node may be computed for some rows without the others. False when in doubt.
bool IsRowByRow(const ir::Node& node, int symbol);

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_REWRITE_H_
