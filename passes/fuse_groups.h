// Which nodes go into one region: the decisions of the fuse pass, without the change.
// Tested by tests/passes_golden_test.cc (tests/passes/fuse.ir), tests/passes_model_test.cc.
#ifndef NINFER_PASSES_FUSE_GROUPS_H_
#define NINFER_PASSES_FUSE_GROUPS_H_

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "ir/module.h"
#include "passes/rewrite.h"
#include "program/program.h"

namespace ninfer::passes {

// A reshape or slice of a computed value: free, and so repeated in every region that looks through
// it.
bool IsFreeView(const ir::Node* node);
// The value behind free views.
ir::Value* BehindViews(ir::Value* value);

// The nodes of one region in program order. Free views and constants on the way in are not listed:
// the body repeats them.
struct FusionGroup {
  program::Family family = program::Family::kRowwise;
  std::vector<ir::Node*> nodes;
  const ir::Node* place = nullptr;  // the region stands where this node stood
  std::vector<ir::Value*> outputs;  // what others look at; none of a group that is dead code
};

// Groups of one function, each node in one group at most, by place in program order.
class GroupFinder {
 public:
  explicit GroupFinder(const ir::Function& function);
  std::vector<FusionGroup> Find();

 private:
  using NodeSet = absl::flat_hash_set<const ir::Node*>;

  void ClaimLinear(ir::Node* linear);
  void ClaimAttention(ir::Node* attention);
  void ClaimAppend(ir::Node* append);
  void ClaimRowwise(ir::Node* node);

  // Elementwise nodes and casts behind `start` that leave one value used outside; empty when no
  // such set holds all of `start`.
  std::vector<ir::Node*> GrowEpilogue(const std::vector<ir::Node*>& start,
                                      const ir::Type& wide) const;
  bool FitsEpilogue(const ir::Node& node, const NodeSet& inside, const ir::Type& wide) const;
  bool MayBecomeInner(const ir::Value* value, const NodeSet& inside, const ir::Type& wide) const;
  bool HasOneOutput(const NodeSet& inside) const;
  // Ropes, casts and norms that lead to an operand and to nothing else.
  void CollectPrologue(ir::Value* operand, const ir::Node* user,
                       std::vector<ir::Node*>& nodes) const;
  // Every use of the value, seen through views, is by these nodes.
  bool UsedOnlyBy(const ir::Value* value, const NodeSet& nodes) const;
  // True when a kernel of these nodes, with free views of what they take in, can compute the value
  // row by row.
  bool IsComputedByRows(const ir::Value* value, const std::vector<ir::Node*>& nodes) const;
  bool MayChain(const FusionGroup& group, const ir::Node& node) const;
  bool MayJoin(const FusionGroup& group, const ir::Node& node) const;
  std::vector<ir::Value*> OutputsOf(const FusionGroup& group) const;
  bool IsFree(const ir::Node* node) const;  // computes something and is in no group yet
  void Add(program::Family family, std::vector<ir::Node*> nodes, const ir::Node* place);

  const ir::Function& function_;
  const Uses uses_;
  const absl::flat_hash_set<const ir::Value*> constants_;
  const absl::flat_hash_map<const ir::Node*, int> positions_;
  std::vector<FusionGroup> groups_;
  absl::flat_hash_map<const ir::Node*, int> group_of_;
};

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_FUSE_GROUPS_H_
