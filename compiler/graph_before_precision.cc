// See compile.h.
// Tested by tests/compiler_quality_test.cc.
#include "base/status.h"
#include "compiler/compile.h"

namespace ninfer::compiler {

absl::StatusOr<ir::Module> GraphBeforePrecision(const Source& source,
                                                const passes::PassOptions& options) {
  passes::PassOptions quiet;
  quiet.attention = options.attention;
  quiet.context_length = options.context_length;
  quiet.disabled = options.disabled;
  quiet.weight_scheme = options.weight_scheme;  // what is of one type is merged
  quiet.weight_rules = options.weight_rules;
  quiet.weights = options.weights;
  quiet.max_tokens = quiet.max_rows = options.context_length;
  quiet.stop_after = "attention";  // what stands before precision
  NINFER_ASSIGN_OR_RETURN(passes::PipelineResult result,
                          passes::RunPipeline(source.model.module.Clone(), quiet));
  return std::move(result.module);
}

}  // namespace ninfer::compiler
