// The op-at-a-time interpreter of graphs: the oracle, and the honest eager side of the benchmark.
// f32 arithmetic throughout (casts round where the graph says so), matmul through oneDNN, many
// threads. Runs any module at any stage. Never called by the runtime except as an executor of its
// own.
// Tested by tests/eager_test.cc.
#ifndef NINFER_EAGER_EAGER_H_
#define NINFER_EAGER_EAGER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/module.h"
#include "ir/weights.h"

namespace ninfer::eager {

// A concrete tensor. Float dtypes are held as f32 (rounded to the dtype where a cast says so); i32
// as int32_t. Copies share the data.
struct Tensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::shared_ptr<std::vector<float>> floats;
  std::shared_ptr<std::vector<int32_t>> ints;

  static Tensor Floats(std::vector<int64_t> shape, std::vector<float> data);
  static Tensor Ints(std::vector<int64_t> shape, std::vector<int32_t> data);
  int64_t elements() const;
};

// The KV cache of one layer in eager's own layout: [page][K, V][heads][64][head_dim], rounded to
// the state's dtype.
struct KvPool {
  DType dtype = DType::kF32;
  int64_t heads = 0, head_dim = 0, pages = 0;
  std::vector<float> data;
};

// The arguments of one step, by the names of @step's parameters; absent ones are derived where they
// can be (see runtime/executor.h for their meaning).
struct StepArguments {
  std::vector<int32_t> tokens, positions, seq_bounds, cached_lens, page_table, rows, rope_len;
  // Of layers with a window, in the order of @step's parameters; page_table in place of absent
  // ones. Entries before a window may be kNoPage.
  std::vector<std::vector<int32_t>> window_tables;
  // Rows that take the place of embeddings, [T, columns], where is_picture [T] is 1.
  std::vector<float> pictures;
  std::vector<int32_t> is_picture;
  // Of @vision, in place of tokens (see image/patches.h).
  std::vector<float> pixels;
  std::vector<int32_t> patch_ids, visible, shuffle;
};

// Called after every op when set: dumps, comparisons, poisoning checks. What is not OK ends the
// run.
using Observer =
    absl::FunctionRef<absl::Status(const ir::Node& node, absl::Span<const Tensor> results)>;

// What becomes of the f32 copies that weights, and expressions of them alone, are converted to.
enum class WeightCopies {
  kHeld,      // all, from creation on: for many steps
  kStreamed,  // a tile at a time, gone once the op has read it: the same values, for a few steps
};

// Runs steps of a module, which must outlive the interpreter.
class Interpreter {
 public:
  static absl::StatusOr<std::unique_ptr<Interpreter>> Create(
      const ir::Module* module, std::shared_ptr<const ir::WeightSource> weights, int threads,
      WeightCopies copies = WeightCopies::kHeld);
  ~Interpreter();

  // Runs @step. `kv` holds one pool for each kv parameter, in order, and is updated in place (the
  // states are used linearly). Returns the results that are tensors: logits first.
  absl::StatusOr<std::vector<Tensor>> Run(const StepArguments& arguments, std::vector<KvPool>* kv,
                                          const Observer* observer = nullptr);

  // Most bytes of intermediates alive at once in the last Run.
  int64_t peak_scratch_bytes() const;
  // Most bytes of converted weights alive at once since creation.
  int64_t peak_weight_bytes() const;

 private:
  struct State;
  explicit Interpreter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Evaluates one function on given operands. Symbols take the values that the parameters' shapes
// imply.
absl::StatusOr<std::vector<Tensor>> RunFunction(const ir::Function& function,
                                                absl::Span<const ir::Symbol> symbols,
                                                absl::Span<const Tensor> parameters,
                                                int threads = 1);

// Rows [row0, row1) of a constant expression (weights, and concat, transpose, reshape, cast, slice
// and quantise of them; small ones with arithmetic too), as f32. Rows are all dimensions but the
// last, flattened; of a vector, its elements. What is larger than the rows is not made as a whole.
// Used to pack weights.
absl::Status EvaluateRows(const ir::Value* value, const ir::Module& module,
                          const ir::WeightSource& weights, int64_t row0, int64_t row1, float* out);

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_EAGER_H_
