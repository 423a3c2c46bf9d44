// Writes the arithmetic of a body's values at a place: one row, one column. A value of type [rows,
// a, b] is seen as rows of a * b columns; views become arithmetic on the column. Reductions along a
// row are written before the columns are visited, by all threads of the block.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_GENERATE_ROW_WRITER_H_
#define NINFER_CUDA_GENERATE_ROW_WRITER_H_

#include <functional>
#include <string>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "cuda/generate/kernel_writer.h"

namespace ninfer::cuda {

class RowWriter {
 public:
  // For a block of `threads`.
  RowWriter(KernelWriter& writer, int threads) : w_(writer), threads_(threads) {}

  // `value` is computed by `function`, from a row's and a column's text, instead.
  using Evaluator = std::function<std::string(const std::string& row, const std::string& column)>;
  void Override(const ir::Value* value, Evaluator function);

  // Shared memory that PrepareRow's text needs. Call once, at the function's beginning.
  void DeclareShared(const std::vector<const ir::Value*>& values);
  // The reductions that `value` needs at `row`.
  void PrepareRow(const ir::Value* value, const std::string& row);

  // Statements that compute the value there; returns its name.
  std::string Evaluate(const ir::Value* value, const std::string& row, const std::string& column);

  // for (c of the value's columns, dealt to the block's threads) body(c)
  void ForColumns(int64_t columns, const std::function<void(const std::string& column)>& body);

  // What is computed while it lives is known no longer behind it.
  class Scope {
   public:
    explicit Scope(RowWriter& rows) : rows_(rows), saved_(rows.evaluated_) {}
    ~Scope() { rows_.evaluated_ = std::move(saved_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    RowWriter& rows_;
    absl::flat_hash_map<std::tuple<const ir::Value*, std::string, std::string>, std::string> saved_;
  };

 private:
  struct Statistics {
    std::string shift, scale;  // "" where there is none; of heads the names of arrays
    int64_t head_columns = 0;  // 0: of the whole row
  };
  std::string Define(const ir::Value* value, const std::string& expression);
  std::string EvaluateParameter(const ir::Value* value, const std::string& row,
                                const std::string& column);
  std::string EvaluateNode(const ir::Node& node, const std::string& row, const std::string& column);
  std::string EvaluateOperand(const ir::Node& node, int operand, const std::string& row,
                              const std::string& column);
  std::string EvaluateRope(const ir::Node& node, const std::string& row, const std::string& column);
  std::string EvaluateNormalised(const ir::Node& node, const std::string& row,
                                 const std::string& column);
  std::string EvaluateWeightedSum(const ir::Node& node, const std::string& row,
                                  const std::string& column);
  std::string EmbeddingAt(const ir::Node& node, const std::string& row, const std::string& column);
  std::string RowOfGather(const ir::Node& node, const std::string& row, const std::string& column);
  void PrepareReduction(const ir::Node& node, const std::string& row);
  void ReduceRow(const ir::Node& node, const std::string& row);
  void ReduceHeads(const ir::Node& node, const std::string& row);
  // for (each column, dealt to `threads` threads from `first`) name = accumulate(x there)
  void Accumulate(const ir::Node& node, const std::string& row, const std::string& begin,
                  const std::string& first, int64_t columns, int threads, const std::string& name,
                  const std::function<std::string(const std::string& x)>& accumulate);

  KernelWriter& w_;
  const int threads_;
  absl::flat_hash_map<const ir::Value*, Evaluator> overrides_;
  absl::flat_hash_set<std::pair<const ir::Value*, std::string>> prepared_;
  absl::flat_hash_map<const ir::Node*, Statistics> statistics_;
  absl::flat_hash_map<std::tuple<const ir::Value*, std::string, std::string>, std::string>
      evaluated_;
};

// The operation applied to one number, or "" where it is none of these.
std::string UnaryText(ir::Op op, const std::string& x);
// a op b; "" likewise.
std::string BinaryText(ir::Op op, const std::string& a, const std::string& b);
// "row * 576 + c" and the like, of a size that no int overflows.
std::string ElementText(const std::string& row, const std::string& stride,
                        const std::string& column);
// column + offset, column % period and so on, simplified where it is easy.
std::string Plus(const std::string& a, int64_t b);
std::string Times(const std::string& a, int64_t b);
std::string Modulo(const std::string& a, int64_t b);
std::string Over(const std::string& a, int64_t b);

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_ROW_WRITER_H_
