// A constant whose f32 copy never exists as a whole: an op reads the rows that it needs, the thread
// that multiplies with them converts them, in tiles that stay in its core's cache. Costs a
// conversion for each use; saves a copy of the model in f32. Not for an interpreter that runs many
// steps: that one holds its constants (see WeightCopies).
// Tested by tests/eager_streamed_test.cc.
#ifndef NINFER_EAGER_STREAMED_CONSTANT_H_
#define NINFER_EAGER_STREAMED_CONSTANT_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eager/kernels.h"

namespace ninfer::eager {

class StreamedConstant {
 public:
  // `memory` lends and counts what is converted; it outlives the constant. A linear reads tiles
  // where `turned`, else the whole: sgemm's sums depend on which way its operand lies, so a
  // constant is read as it would be held (see Slot).
  StreamedConstant(const ir::Type& type, bool turned, Workspace* memory);
  virtual ~StreamedConstant() = default;

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  bool turned() const { return turned_; }
  Workspace* memory() const { return memory_; }

  // Rows [row0, row1) of the first dimension as f32, from any thread.
  virtual absl::Status ReadRows(int64_t row0, int64_t row1, float* out) const = 0;
  // The same rows of a matrix as columns of `out`, whose rows are `ld` long.
  virtual absl::Status ReadTurned(int64_t row0, int64_t row1, int64_t ld, float* out) const;

 private:
  DType dtype_;
  std::vector<int64_t> shape_;
  bool turned_;
  Workspace* memory_;
};

// All rows, converted by all threads, in memory from `constant.memory()`.
absl::StatusOr<Tensor> ReadWhole(const Context& context, const StreamedConstant& constant);

// All rows of a matrix [N, K] as [K, TurnedStride(N)]: sgemm reads it fastest so, and rows whose
// length is no power of two do not fall into the same cache sets.
absl::StatusOr<Tensor> ReadWholeTurned(const Context& context, const StreamedConstant& constant);

// The length of a row that holds `rows` rows turned.
int64_t TurnedStride(int64_t rows);

// A matrix of n rows of k in tiles that stay in a core's cache, at least one for each thread where
// there are rows enough. None is a single row, which sgemm would sum in another order.
struct Tiles {
  Tiles(const Context& context, int64_t n, int64_t k);
  int64_t begin(int64_t tile) const { return tile * rows; }
  int64_t end(int64_t tile) const { return tile + 1 == count ? n : begin(tile + 1); }
  int64_t most_rows() const { return std::max(rows, n - begin(count - 1)); }

  int64_t n, rows, count;
};

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_STREAMED_CONSTANT_H_
