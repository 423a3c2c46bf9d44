// A short text through the interpreters, one sequence, cut into steps as the graph allows: what
// comparisons are made with, and what `ninfer-opt --run` shows. Not for generation: see
// EagerExecutor. Tested by tests/compiler_verify_test.cc.
#ifndef NINFER_COMPILER_RUN_TEXT_H_
#define NINFER_COMPILER_RUN_TEXT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "ir/module.h"
#include "ir/weights.h"
#include "program/program.h"

namespace ninfer::compiler {

struct TextLogits {
  std::vector<float> values;  // [tokens, vocab]
  int64_t vocab = 0;
};

// With a cache, the last `singles` tokens go one at a time, so that it is both filled and extended;
// those before them by as many as a step takes.
absl::StatusOr<TextLogits> RunGraph(const ir::Module& module,
                                    std::shared_ptr<const ir::WeightSource> weights,
                                    const std::vector<int32_t>& ids, int64_t singles, int threads);

// The same for a program at any of its stages.
absl::StatusOr<TextLogits> RunProgram(const program::Program& program,
                                      const ir::WeightSource& weights,
                                      const std::vector<int32_t>& ids, int64_t singles,
                                      int threads);

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_RUN_TEXT_H_
