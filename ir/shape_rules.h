// What shape rules, verifier and builder share: the check of a node's signature against its row.
// Tested by tests/ir_verifier_test.cc.
#ifndef NINFER_IR_SHAPE_RULES_H_
#define NINFER_IR_SHAPE_RULES_H_

#include <vector>

#include "absl/status/status.h"
#include "ir/module.h"

namespace ninfer::ir {

// The number of operands, and attributes present, of the right kind and known.
absl::Status CheckSignature(const OpInfo& info, int num_operands, const std::vector<Attr>& attrs);

}  // namespace ninfer::ir

#endif  // NINFER_IR_SHAPE_RULES_H_
