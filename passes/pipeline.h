// The pipeline with room for passes that are not in it; see pass.h for the one that users call.
// Tested by tests/passes_runner_test.cc, tests/planted_test.cc.
#ifndef NINFER_PASSES_PIPELINE_H_
#define NINFER_PASSES_PIPELINE_H_

#include "passes/runner.h"

namespace ninfer::passes {

// RunPipeline with extra passes, each after the pass that it names.
absl::StatusOr<PipelineResult> RunPipelineWith(ir::Module module, const PassOptions& options,
                                               absl::Span<const ExtraPass> extras);

}  // namespace ninfer::passes

#endif  // NINFER_PASSES_PIPELINE_H_
