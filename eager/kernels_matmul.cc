// Matrix products, through a library's sgemm: one thread each, on the columns or heads that the
// pool deals out. Tested by tests/eager_ops_test.cc.
#include <algorithm>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "eager/kernels.h"
#include "eager/streamed_constant.h"

namespace ninfer::eager {
namespace {

constexpr int64_t kColumnBlock = 32;  // columns of an output are dealt in blocks of this many

}  // namespace

Tensor Linear(const Context& context, const Tensor& x, const Tensor& w, int64_t turned_rows) {
  const bool turned = turned_rows > 0;
  const int64_t k = w.shape[turned ? 0 : 1], n = turned ? turned_rows : w.shape[0];
  const int64_t ld = w.shape[1];
  const int64_t m = x.elements() / std::max<int64_t>(k, 1);
  std::vector<int64_t> shape = x.shape;
  shape.back() = n;
  Tensor y = context.workspace->Floats(std::move(shape));
  const int64_t blocks = (n + kColumnBlock - 1) / kColumnBlock;
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, m * k * kColumnBlock));
  context.threads->For(blocks, grain, [&](int64_t begin, int64_t end) {
    const int64_t n0 = begin * kColumnBlock, n1 = std::min(end * kColumnBlock, n);
    Gemm(!turned, m, n1 - n0, k, 1.0f, x.floats->data(), k,
         w.floats->data() + (turned ? n0 : n0 * ld), ld, y.floats->data() + n0, n);
  });
  return y;
}

absl::StatusOr<Tensor> GroupedLinear(const Context& context, const Tensor& x, const Tensor& w,
                                     const Tensor& ids) {
  const int64_t experts = w.shape[0], n = w.shape[1], k = w.shape[2];  // w [E, N, K]
  const int64_t rows = ids.shape[0], chosen = ids.shape[1];
  const bool shared = x.shape.size() == 2;           // x [T, K], the same for all chosen
  std::vector<std::vector<int64_t>> users(experts);  // flat indices (t, j) of each expert
  for (int64_t i = 0; i < rows * chosen; ++i) {
    const int32_t id = (*ids.ints)[i];
    if (id < 0 || id >= experts) {
      return InvalidArgument("expert ", id, ": expected 0 to ", experts - 1);
    }
    users[id].push_back(i);
  }
  Tensor y = context.workspace->Floats({rows, chosen, n});
  context.threads->For(experts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t expert = begin; expert < end; ++expert) {
      const int64_t count = static_cast<int64_t>(users[expert].size());
      if (count == 0) continue;
      std::vector<float> in(count * k), out(count * n);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = shared ? users[expert][i] / chosen : users[expert][i];
        std::copy_n(x.floats->data() + row * k, k, in.data() + i * k);
      }
      Gemm(/*transpose_b=*/true, count, n, k, 1.0f, in.data(), k, w.floats->data() + expert * n * k,
           k, out.data(), n);
      for (int64_t i = 0; i < count; ++i) {
        std::copy_n(out.data() + i * n, n, y.floats->data() + users[expert][i] * n);
      }
    }
  });
  return y;
}

// sgemm sums a column in the same order whatever columns lie beside it, for the few rows of a text
// that something is checked with at least: so this gives the bits that Linear gives on the whole.
absl::StatusOr<Tensor> Linear(const Context& context, const Tensor& x, const StreamedConstant& w) {
  NINFER_CHECK(w.turned());
  const int64_t n = w.shape()[0], k = w.shape()[1];
  const int64_t m = x.elements() / std::max<int64_t>(k, 1);
  std::vector<int64_t> shape = x.shape;
  shape.back() = n;
  Tensor y = context.workspace->Floats(std::move(shape));
  const Tiles tiles(context, n, k);
  const int64_t ld = TurnedStride(tiles.most_rows());
  NINFER_RETURN_IF_ERROR(context.threads->ForEach(tiles.count, [&](int64_t i) {
    const int64_t n0 = tiles.begin(i), n1 = tiles.end(i);
    const Tensor tile = w.memory()->Floats({k, ld});
    NINFER_RETURN_IF_ERROR(w.ReadTurned(n0, n1, ld, tile.floats->data()));
    Gemm(false, m, n1 - n0, k, 1.0f, x.floats->data(), k, tile.floats->data(), ld,
         y.floats->data() + n0, n);
    return absl::OkStatus();
  }));
  return y;
}

absl::StatusOr<Tensor> MatMul(const Context& context, const Tensor& a, const Tensor& b,
                              bool transpose_b) {
  // a [H, M, K], b [H, N, K] with transpose_b, else [H, K, N]
  const int64_t heads = a.shape[0], m = a.shape[1], k = a.shape[2];
  const int64_t n = b.shape[transpose_b ? 1 : 2];
  if (b.shape[0] != heads || b.shape[transpose_b ? 2 : 1] != k) {
    return InvalidArgument("operands [", absl::StrJoin(a.shape, ","), "] and [",
                           absl::StrJoin(b.shape, ","), "] do not multiply");
  }
  Tensor y = context.workspace->Floats({heads, m, n});
  context.threads->For(heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      Gemm(transpose_b, m, n, k, 1.0f, a.floats->data() + h * m * k, k,
           b.floats->data() + h * n * k, transpose_b ? k : n, y.floats->data() + h * m * n, n);
    }
  });
  return y;
}

}  // namespace ninfer::eager
