// A plan that runs: a toy language model whose kernels are functions of the test program, copied
// out of a section of their own. Token t adds weight[t] to a running sum kept in the cache; the
// logits are the sum and the token's own row. Used to test the executor without a compiler.
#ifndef NINFER_TESTS_RUNTIME_EXAMPLE_H_
#define NINFER_TESTS_RUNTIME_EXAMPLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace ninfer::runtime {

inline constexpr int64_t kToyVocab = 5, kToyStride = 32, kToyContext = 200;
inline constexpr int64_t kToyTokens = 24, kToySequences = 4, kToyRows = 8, kToyPages = 4;

// Plans with a cache, valid for this CPU whatever it is.
std::shared_ptr<plan::LoadedPlan> ToyPlan();

// The logits after the last of `text`, computed directly.
std::vector<float> ToyLogits(const std::vector<int32_t>& text);

}  // namespace ninfer::runtime

#endif  // NINFER_TESTS_RUNTIME_EXAMPLE_H_
