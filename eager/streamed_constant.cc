// Turning by registers of four by four; sixteen rows at a time, which together with the lines that
// they are written to stay in the first cache.
// Tested by tests/eager_streamed_test.cc.
#include "eager/streamed_constant.h"

#include <xmmintrin.h>

#include <algorithm>

#include "base/status.h"

namespace ninfer::eager {
namespace {

constexpr int64_t kBlockElements = 1 << 18;  // of a whole constant, converted at a time
constexpr int64_t kTileElements = 1 << 17;   // half a MiB
constexpr int64_t kColumnBlock = 32;  // a tile's rows, which are columns of a linear's result
constexpr int64_t kTurnedRows = 16;

// Rows of `columns` elements become columns.
void Turn(const float* in, int64_t rows, int64_t columns, int64_t ld, float* out) {
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t c = 0; c < whole_columns; c += 4) {
    for (int64_t r = 0; r < whole_rows; r += 4) {
      const float* from = in + r * columns + c;
      __m128 x0 = _mm_loadu_ps(from), x1 = _mm_loadu_ps(from + columns);
      __m128 x2 = _mm_loadu_ps(from + 2 * columns), x3 = _mm_loadu_ps(from + 3 * columns);
      _MM_TRANSPOSE4_PS(x0, x1, x2, x3);
      float* to = out + c * ld + r;
      _mm_storeu_ps(to, x0);
      _mm_storeu_ps(to + ld, x1);
      _mm_storeu_ps(to + 2 * ld, x2);
      _mm_storeu_ps(to + 3 * ld, x3);
    }
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = c < whole_columns ? whole_rows : 0; r < rows; ++r) {
      out[c * ld + r] = in[r * columns + c];
    }
  }
}

}  // namespace

StreamedConstant::StreamedConstant(const ir::Type& type, bool turned, Workspace* memory)
    : dtype_(type.dtype), turned_(turned), memory_(memory) {
  for (const ir::Dim& dim : type.shape) shape_.push_back(dim.offset);
}

absl::Status StreamedConstant::ReadTurned(int64_t row0, int64_t row1, int64_t ld,
                                          float* out) const {
  const int64_t columns = shape_[1];
  const Tensor block = memory_->Floats({std::min(kTurnedRows, row1 - row0), columns});
  for (int64_t row = row0; row < row1; row += kTurnedRows) {
    const int64_t end = std::min(row + kTurnedRows, row1);
    NINFER_RETURN_IF_ERROR(ReadRows(row, end, block.floats->data()));
    Turn(block.floats->data(), end - row, columns, ld, out + row - row0);
  }
  return absl::OkStatus();
}

absl::StatusOr<Tensor> ReadWhole(const Context& context, const StreamedConstant& constant) {
  Tensor tensor = constant.memory()->Floats(constant.shape(), constant.dtype());
  const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
  const int64_t columns = rows == 0 ? 0 : tensor.elements() / rows;
  const int64_t step = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, columns));
  NINFER_RETURN_IF_ERROR(context.threads->ForEach((rows + step - 1) / step, [&](int64_t i) {
    return constant.ReadRows(i * step, std::min(rows, (i + 1) * step),
                             tensor.floats->data() + i * step * columns);
  }));
  return tensor;
}

absl::StatusOr<Tensor> ReadWholeTurned(const Context& context, const StreamedConstant& constant) {
  const int64_t n = constant.shape()[0], k = constant.shape()[1];
  const int64_t ld = TurnedStride(n);
  const Tiles tiles(context, n, k);
  Tensor tensor = constant.memory()->Floats({k, ld}, constant.dtype());
  NINFER_RETURN_IF_ERROR(context.threads->ForEach(tiles.count, [&](int64_t i) {
    return constant.ReadTurned(tiles.begin(i), tiles.end(i), ld,
                               tensor.floats->data() + tiles.begin(i));
  }));
  return tensor;
}

int64_t TurnedStride(int64_t rows) {
  return (rows + kColumnBlock - 1) / kColumnBlock * kColumnBlock + 16;  // an odd number of lines
}

Tiles::Tiles(const Context& context, int64_t n_rows, int64_t k) : n(n_rows) {
  const int64_t threads = context.threads->threads();
  const int64_t fit = kTileElements / std::max<int64_t>(1, k) / kColumnBlock;
  const int64_t share = (n + threads * kColumnBlock - 1) / (threads * kColumnBlock);
  rows = std::max<int64_t>(1, std::min(fit, share)) * kColumnBlock;
  // What is left for a last one of less than a block goes with the one before.
  count = std::max<int64_t>(1, (n + rows - kColumnBlock) / rows);
}

}  // namespace ninfer::eager
