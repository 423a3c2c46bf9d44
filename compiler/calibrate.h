// Weights rounded with the linear's inputs in view: texts go through the graph in f32, and what
// comes to each linear decides how its weight is rounded (compiler/error_compensation.h).
// Tested by tests/compiler_calibrate_test.cc.
#ifndef NINFER_COMPILER_CALIBRATE_H_
#define NINFER_COMPILER_CALIBRATE_H_

#include "absl/status/status.h"
#include "compiler/compile.h"
#include "compiler/options.h"
#include "compiler/run_text.h"

namespace ninfer::compiler {

// Rounds every weight that is to be stored with a table and that a linear multiplies, on `texts`.
// Left as they are: experts; and the head, where the error of all logits alike counts for little
// beside that of the few likely tokens, and calibration was found to harm. The rounded values join
// the source's weights under names of their own, which go into `pass_options`; they lie in a file
// without a name while they are used.
absl::Status Calibrate(const Texts& texts, int threads, const Callbacks& callbacks, Source* source,
                       passes::PassOptions* pass_options);

// Calibrate on the texts that Options::calibrate names, with a line to the log.
absl::Status CalibrateAsAsked(const Options& options, const std::string& serialized_tokenizer,
                              const Callbacks& callbacks, Source* source,
                              passes::PassOptions* pass_options);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_CALIBRATE_H_
