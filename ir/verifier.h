// Checks a module against the rules of its stage. The default is no: what no rule accepts is an
// error. The list of properties checked, and of those not checked, stands at the head of
// verifier.cc. Tested by tests/ir_verifier_test.cc.
#ifndef NINFER_IR_VERIFIER_H_
#define NINFER_IR_VERIFIER_H_

#include "absl/status/status.h"
#include "ir/module.h"

namespace ninfer::ir {

// The message names function, node (printed), its line or provenance, expected and found.
absl::Status Verify(const Module& module);
// A function by itself, such as a kernel's body: it may name no weights.
absl::Status VerifyFunction(const Function& function, absl::Span<const Symbol> symbols,
                            Stage stage);

}  // namespace ninfer::ir

#endif  // NINFER_IR_VERIFIER_H_
