// The slow interpreter of kernel programs: launch by launch in the planned arena, poisoned with
// NaN, through the packed weights and the paged KV layout, so that layout, schedule and buffers are
// checked by value. Not for production: linked into the compiler for verification and into tests.
// Tested by tests/program_interpreter_test.cc.
#ifndef NINFER_EAGER_PROGRAM_INTERPRETER_H_
#define NINFER_EAGER_PROGRAM_INTERPRETER_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "eager/eager.h"
#include "program/program.h"

namespace ninfer::eager {

class ProgramInterpreter {
 public:
  // `packed` is the weights section as PackWeights makes it (program.weight_bytes large). `threads`
  // virtual threads are simulated one after the other: each has its replica of replicated buffers.
  // Works before schedule and plan-buffers too: then every buffer has memory of its own.
  static absl::StatusOr<std::unique_ptr<ProgramInterpreter>> Create(const program::Program* program,
                                                                    const uint8_t* packed,
                                                                    int threads, int64_t kv_pages);
  ~ProgramInterpreter();

  // Runs one step on the interpreter's own KV pools; returns the logits [R, vocab].
  absl::StatusOr<Tensor> Run(const StepArguments& arguments);
  // The ids [R] of the largest logits that the last step found; no tensor where the program does
  // not look for them.
  absl::StatusOr<Tensor> Argmax() const;

 private:
  struct State;
  explicit ProgramInterpreter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Evaluates and packs every weight of the program into `target` (program.weight_bytes, zeroed), on
// `threads` threads, calling `progress(bytes done)` from time to time.
absl::Status PackWeights(const program::Program& program, const ir::WeightSource& weights,
                         int threads, absl::FunctionRef<void(int64_t)> progress, uint8_t* target);

// The same without packing: `take` is called by several threads at once, and gets rows [n0, n1) of
// a segment of one of the program's weights, [n1 - n0, K]; n0 is a multiple of a panel's columns.
using TakeRows = absl::FunctionRef<void(const program::PackedWeight& weight, int64_t segment,
                                        int64_t n0, int64_t n1, const float* rows)>;
absl::Status EvaluateWeights(const program::Program& program, const ir::WeightSource& weights,
                             int threads, absl::FunctionRef<void(int64_t)> progress, TakeRows take);

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_PROGRAM_INTERPRETER_H_
