// See weight_types.h.
// Tested by tests/passes_golden_test.cc (tests/passes/precision.ir),
// tests/compiler_options_test.cc.
#include "passes/weight_types.h"

#include <fnmatch.h>

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "passes/weight_name.h"

namespace ninfer::passes {

std::string WeightTypeNames() {
  return absl::StrCat("f32, bf16, f16, ", absl::StrJoin(ListWeightSchemes(), ", "));
}

absl::StatusOr<WeightType> ParseWeightType(absl::string_view name) {
  WeightType type;
  type.scheme = FindWeightScheme(name);
  if (type.scheme != nullptr) return type;
  const std::optional<DType> dtype = DTypeFromName(name);
  if (dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16) {
    type.dtype = *dtype;
    return type;
  }
  return InvalidArgument("expected ", WeightTypeNames(), ", found '", name, "'");
}

bool MatchesTensor(absl::string_view pattern, absl::string_view tensor) {
  const std::string glob(pattern), name(tensor);
  const std::string stem(absl::StripSuffix(tensor, ".weight"));
  return fnmatch(glob.c_str(), name.c_str(), 0) == 0 || fnmatch(glob.c_str(), stem.c_str(), 0) == 0;
}

WeightRule RuleFor(absl::string_view pattern, const WeightType& type) {
  return {std::string(pattern), type.scheme != nullptr ? std::string(type.scheme->name) : "",
          type.dtype};
}

int RuleOf(const PassOptions& options, absl::string_view tensor) {
  int last = static_cast<int>(options.weight_rules.size()) - 1;
  while (last >= 0 && !MatchesTensor(options.weight_rules[last].pattern, tensor)) --last;
  return last;
}

WeightType WeightTypeOf(const PassOptions& options, const ir::Value* expression) {
  WeightType type;
  type.dtype = options.weights;
  type.scheme = FindQuantiseScheme(options.weight_scheme);
  if (options.weight_rules.empty()) return type;
  for (const ir::Value* tensor : WeightsOf(expression)) {
    type.rule = std::max(type.rule, RuleOf(options, tensor->name()));
  }
  if (type.rule < 0) return type;
  const WeightRule& rule = options.weight_rules[type.rule];
  type.scheme = FindQuantiseScheme(rule.scheme);
  if (rule.scheme.empty()) type.dtype = rule.dtype;
  return type;
}

}  // namespace ninfer::passes
