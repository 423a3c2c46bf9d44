// The order of the passes, to be read from top to bottom. Every pass runs on every model and for
// every target; one that does not apply changes nothing. Tested by tests/passes_runner_test.cc.
#include "passes/pipeline.h"

#include "base/status.h"
#include "program/verifier.h"

namespace ninfer::passes {

absl::StatusOr<PipelineResult> RunPipelineWith(ir::Module module, const PassOptions& options,
                                               absl::Span<const ExtraPass> extras) {
  absl::optional<program::Program> program;
  Runner run(&module, &program, options, extras);
  run.Begin();

  // First, so that every pattern below meets one spelling of each thing.
  run.Run(PassId::kCanonicalise);
  // Behind canonicalise, which brings constants together; before cse, which then sees them equal.
  run.Run(PassId::kFoldConstants);
  // Before all that count uses: two equal values must be one by then.
  run.Run(PassId::kEliminateCommonSubexpressions);
  // While attention is still spelled out, so that only its keys and values change places.
  run.Run(PassId::kKvCache);
  // Behind kv-cache, which looks at every row of the step; before the head meets any other pass.
  run.Run(PassId::kLastRows);
  // Before precision, so that a merged weight is cast once, and before fuse, which pairs its
  // halves.
  run.Run(PassId::kMergeLinears);
  // Behind kv-cache, whose reads of the cache it takes in. From here on no mask may be left.
  run.Run(PassId::kFormAttention);
  // When q, k, v and every linear have their final operands; before fuse takes the casts in.
  run.Run(PassId::kSettlePrecision);
  // Behind last-rows and precision: of the logits as they are given to the caller.
  run.Run(PassId::kFindArgmax);
  // Last on the graph: a region is never opened again.
  run.Run(PassId::kFuse);
  // The graph says all there is to compute; now it becomes kernels and launches.
  run.Run(PassId::kLower);
  // As soon as there are kernels, since these say which layout each weight has.
  run.Run(PassId::kLayOutWeights);
  // Order and barriers decide how long buffers live.
  run.Run(PassId::kSchedule);
  // Separate code from the schedule's: every conflict that the launches have is ordered.
  run.Check(&program::CheckOrder);
  // Last: lifetimes are known.
  run.Run(PassId::kPlanBuffers);
  // Separate code from the planner's: every read finds the value it wants.
  run.Check(&program::CheckBuffers);
  // And once more: values that now share bytes must not meet.
  run.Check(&program::CheckOrder);

  NINFER_RETURN_IF_ERROR(run.status());
  const bool lowered = program.has_value();
  return PipelineResult{run.TakeRecords(), std::move(module),
                        lowered ? std::move(*program) : program::Program(), lowered};
}

absl::StatusOr<PipelineResult> RunPipeline(ir::Module module, const PassOptions& options) {
  return RunPipelineWith(std::move(module), options, {});
}

}  // namespace ninfer::passes
