// Which type each weight is stored in: the user's choice for all, and rules for some by name.
// Tested by tests/passes_golden_test.cc (tests/passes/precision.ir),
// tests/compiler_options_test.cc.
#ifndef NINFER_PASSES_WEIGHT_TYPES_H_
#define NINFER_PASSES_WEIGHT_TYPES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/quantise.h"
#include "passes/pass.h"

namespace ninfer::passes {

struct WeightType {
  const QuantiseScheme* scheme = nullptr;  // null: floats
  DType dtype = DType::kF32;
  int rule = -1;  // of PassOptions::weight_rules, which chose it; -1: none did

  bool SameAs(const WeightType& other) const {
    return scheme == other.scheme && dtype == other.dtype;
  }
};

// "int4:128" or "bf16"; refuses other names, listing those that there are.
absl::StatusOr<WeightType> ParseWeightType(absl::string_view name);
std::string WeightTypeNames();  // "f32, bf16, f16, int8, ..."

// Whether the rule's pattern (* and ? stand for any characters) is the tensor's name, with or
// without ".weight" at its end.
bool MatchesTensor(absl::string_view pattern, absl::string_view tensor);

// The rule that weights of this pattern have this type.
WeightRule RuleFor(absl::string_view pattern, const WeightType& type);

// Of a constant expression: what the last rule says that matches one of its tensors, else the
// choice for all.
WeightType WeightTypeOf(const PassOptions& options, const ir::Value* expression);
// The last rule that matches the tensor, an index of PassOptions::weight_rules; -1: none does.
int RuleOf(const PassOptions& options, absl::string_view tensor);

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_WEIGHT_TYPES_H_
