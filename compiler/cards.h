// What a plan holds for CUDA cards: targets by name, places of weights, and code. Tested by
// tests/cuda_driver_test.cc.
#ifndef NINFER_COMPILER_CARDS_H_
#define NINFER_COMPILER_CARDS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cuda/generate/nvrtc.h"
#include "plan/plan.h"
#include "program/program.h"

namespace ninfer::compiler {

// "cuda", "cuda:sm_90" or "cuda:native", among the targets.
bool IsCardTarget(absl::string_view target);

// The architectures that the targets ask for, each once, the oldest first: "cuda" is one of each
// generation, "cuda:native" the one of this machine's first card.
absl::StatusOr<std::vector<cuda::Architecture>> CardArchitectures(
    const std::vector<std::string>& targets);

// Writes into `plan` where the weights lie on a card, behind those for CPUs, or alone where CPUs
// have no code; plan->weight_bytes becomes the sum.
void PlaceCards(const program::Program& program, bool alone, plan::Plan* plan);

// Fills in plan->cards' functions, source and images: code for each architecture, and PTX of the
// newest, for cards to come.
absl::Status GenerateCards(const program::Program& program,
                           const std::vector<cuda::Architecture>& architectures,
                           const std::function<bool(double done)>& progress, plan::Plan* plan);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_CARDS_H_
