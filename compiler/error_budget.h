// Types of weights, chosen one by one under a budget of quality (`--error-budget`): the plan of the
// fewest bytes whose predictions, on texts that the model itself draws, stay within a divergence of
// those in f32. Tested by tests/compiler_error_budget_test.cc.
#ifndef NINFER_COMPILER_ERROR_BUDGET_H_
#define NINFER_COMPILER_ERROR_BUDGET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "compiler/compile.h"
#include "compiler/options.h"

namespace ninfer::compiler {

// "0.5%" or "0.005" -> 0.005: how much the perplexity of the model's own texts may grow. As KL
// divergence, in nats a token, that is log(1 + share).
absl::StatusOr<double> ParseErrorBudget(absl::string_view text);

// A weight in one type: the bytes it takes, and the divergence it causes alone.
struct TypeCost {
  double bytes, divergence;
};
// A weight gets a type: indices into UpgradeOrder's argument.
struct Upgrade {
  size_t weight, type;
};
// Of weights whose types stand from the fewest bytes on: the order in which they leave their first
// types, what saves the most divergence a byte before the rest. A type beside which others save
// more a byte is passed over. Every beginning of this order is the choice of the least divergence
// for its bytes, as far as divergences add up.
std::vector<Upgrade> UpgradeOrder(const std::vector<std::vector<TypeCost>>& weights);

// Chooses among nu4, int8, bf16 (where weights are stored in f32) and the stored type for every
// weight that a linear multiplies and that no rule of the user names, and adds rules that say so to
// `pass_options`. Each weight's divergence in nu4 alone is measured, that of other types is this
// one times the ratio of the squared errors of the linear's output; what counts in the end is the
// measured divergence of the whole, activations and cache as chosen. Logs the curve of bits and
// divergence. An error where activations and cache alone exceed the budget.
absl::Status SpendErrorBudget(const Options& options, const Source& source,
                              const Callbacks& callbacks, passes::PassOptions* pass_options);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_ERROR_BUDGET_H_
