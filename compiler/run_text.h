// Short texts through the interpreters, cut into steps as the graph allows: what comparisons are
// made with, and what `ninfer-opt --run` shows. Not for generation: see EagerExecutor. Tested by
// tests/compiler_verify_test.cc.
#ifndef NINFER_COMPILER_RUN_TEXT_H_
#define NINFER_COMPILER_RUN_TEXT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "eager/eager.h"
#include "eager/program_interpreter.h"
#include "ir/module.h"
#include "ir/weights.h"
#include "plan/memory.h"
#include "program/program.h"

namespace ninfer::compiler {

using Texts = std::vector<std::vector<int32_t>>;

struct TextLogits {
  std::vector<float> values;  // [tokens, vocab], text after text
  int64_t vocab = 0;
};

// Rows that take the place of the embeddings of one text's tokens; empty for none.
struct TextPictures {
  std::vector<float> rows;          // [tokens, columns]
  std::vector<int32_t> is_picture;  // [tokens]
};

// All texts share steps, as many as a step takes, on pages that lie out of order. With a cache, the
// last `singles` tokens of each text go one at a time, those before them in two pieces (more where
// a step takes fewer), so that it is filled, extended by several tokens and by one. Without a cache
// texts go whole. `observer` sees every op of every step.
absl::StatusOr<TextLogits> RunGraph(const ir::Module& module,
                                    std::shared_ptr<const ir::WeightSource> weights,
                                    const Texts& texts, int64_t singles, int threads,
                                    const eager::Observer* observer = nullptr);
// One text.
absl::StatusOr<TextLogits> RunGraph(const ir::Module& module,
                                    std::shared_ptr<const ir::WeightSource> weights,
                                    const std::vector<int32_t>& ids, int64_t singles, int threads);

// A program at any of its stages, its weights packed for its interpreter alone.
struct PackedProgram {
  static absl::StatusOr<PackedProgram> Create(const program::Program& program,
                                              const ir::WeightSource& weights, int threads,
                                              int64_t pages);

  std::unique_ptr<program::Program> program;
  std::unique_ptr<plan::Memory> weights;
  std::unique_ptr<eager::ProgramInterpreter> interpreter;
};

// The same for a program. `pictures` are empty or one for each text.
absl::StatusOr<TextLogits> RunProgram(const program::Program& program,
                                      const ir::WeightSource& weights, const Texts& texts,
                                      int64_t singles, int threads,
                                      const std::vector<TextPictures>& pictures = {});
absl::StatusOr<TextLogits> RunProgram(const program::Program& program,
                                      const ir::WeightSource& weights,
                                      const std::vector<int32_t>& ids, int64_t singles, int threads,
                                      const TextPictures& pictures = {});

}  // namespace ninfer::compiler

#endif  // NINFER_COMPILER_RUN_TEXT_H_
