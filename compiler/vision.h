// The second function of a model that sees: @vision goes through the passes, the code generator and
// the comparisons that @step goes through, and becomes a plan inside the plan. It has dimensions,
// buffers and code of its own; its weights lie behind the step's in the same data.
// Tested by tests/vision_test.cc.
#ifndef NINFER_COMPILER_VISION_H_
#define NINFER_COMPILER_VISION_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "compiler/compile.h"
#include "eager/eager.h"
#include "runtime/executor.h"

namespace ninfer::compiler {

// What a plan says of pictures, without the function; none for a model that does not see.
absl::optional<plan::Vision> VisionOf(const frontend::ModelInfo& info);

eager::StepArguments VisionArguments(const runtime::VisionInput& input);

// One frame through the interpreters: rows [R, columns].
absl::StatusOr<std::vector<float>> SeeWithGraph(const ir::Module& module,
                                                std::shared_ptr<const ir::WeightSource> weights,
                                                const eager::StepArguments& frame, int threads,
                                                const eager::Observer* observer = nullptr);
absl::StatusOr<std::vector<float>> SeeWithProgram(const program::Program& program,
                                                  const ir::WeightSource& weights,
                                                  const eager::StepArguments& frame, int threads);

// A frame of random numbers on which @vision is compared: several rows, the last patches padding.
eager::StepArguments ComparisonFrame(const frontend::VisionInfo& vision);

// The choice as it is for @vision, of what is chosen for both functions. Rules for weights by name
// that hold for weights of @vision alone leave `step`; what holds for none of either stays there,
// to be refused.
passes::PassOptions TakeVisionOptions(const frontend::ImportedModel& model,
                                      passes::PassOptions* step);

struct LoweredVision {
  ir::Module graph{""};  // which the program was made from
  program::Program program;
  plan::Plan plan;  // without code; its weights' places are from 0 on
  std::vector<passes::PassRecord> records;
  std::string pass_table;
};
// Compares after every pass when the options ask for it. Stops where they say, as the step does.
absl::StatusOr<LoweredVision> LowerVision(const Options& options, const Source& source,
                                          const passes::PassOptions& choice,
                                          const Callbacks& callbacks);

// Compares what eager and the plan's code make of a frame, and writes the result into the
// function's plan: with the imported graph, which tells what the types that were chosen lose; and
// with `settled`, which the code was made from, where more than the bound is an error.
absl::Status GatherVisionEvidence(const Source& source, const passes::PassOptions& choice,
                                  const ir::Module& settled, const Callbacks& callbacks,
                                  int threads, Compiled* compiled);
std::string VisionEvidenceLine(const plan::Evidence& evidence);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_VISION_H_
