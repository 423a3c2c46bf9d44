// The ops on concrete tensors, one small function each, in files by class. Shapes have been checked
// by the verifier as far as they are symbolic; what only data can show (an id outside its table) is
// a status.
// Tested by tests/eager_ops_test.cc.
#ifndef NINFER_EAGER_KERNELS_H_
#define NINFER_EAGER_KERNELS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/quantise.h"
#include "eager/eager.h"
#include "eager/kv_store.h"
#include "eager/thread_pool.h"
#include "eager/workspace.h"
#include "ir/module.h"

namespace ninfer::eager {

class StreamedConstant;

struct Context {
  ThreadPool* threads;
  Workspace* workspace;
};

// kernels_elementwise.cc
absl::StatusOr<Tensor> Binary(const Context& context, ir::Op op, const Tensor& a, const Tensor& b);
Tensor Unary(const Context& context, ir::Op op, const Tensor& x);
Tensor Rope(const Context& context, const Tensor& x, const Tensor& cos, const Tensor& sin,
            bool half);
absl::StatusOr<Tensor> Cast(const Context& context, const Tensor& x, DType dtype);
Tensor Quantise(const Context& context, const Tensor& x, const QuantiseScheme& scheme);
// As the op `alibi`; `round` rounds slopes, positions and their products to bf16.
absl::StatusOr<Tensor> Alibi(const Context& context, const Tensor& scores, const Tensor& slopes,
                             const Tensor& key_bounds, double scale, bool round);
// Window 0: none.
absl::StatusOr<Tensor> CausalMask(const Context& context, const Tensor& scores,
                                  const Tensor& positions, const Tensor& seq_bounds,
                                  const Tensor& key_bounds, int64_t window);
// scale * slope * position, as transformers computes it.
float AlibiBias(float slope, int64_t position, float scale, bool round);

// kernels_reduce.cc
void SoftmaxRow(const float* x, int64_t count, float* y);  // y may be x
Tensor Softmax(const Context& context, const Tensor& x);
Tensor RmsNorm(const Context& context, const Tensor& x, const Tensor& w, double eps);
Tensor LayerNorm(const Context& context, const Tensor& x, const Tensor& w, const Tensor& b,
                 double eps);
Tensor WeightedSum(const Context& context, const Tensor& x, const Tensor& w);
Tensor TopK(const Context& context, const Tensor& x, int64_t k);
Tensor Argmax(const Tensor& x);
Tensor MaxParts(const Context& context, const Tensor& x, int64_t columns);
Tensor ArgmaxParts(const Tensor& x, int64_t columns);
Tensor ArgmaxOf(const Tensor& parts, const Tensor& ids);

// kernels_matmul.cc. A weight with `turned_rows` = N > 0 is held as [K, N and padding].
void Gemm(bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc);
Tensor Linear(const Context& context, const Tensor& x, const Tensor& w, int64_t turned_rows);
absl::StatusOr<Tensor> GroupedLinear(const Context& context, const Tensor& x, const Tensor& w,
                                     const Tensor& ids);
absl::StatusOr<Tensor> Linear(const Context& context, const Tensor& x,
                              const StreamedConstant& w);  // which is turned
absl::StatusOr<Tensor> MatMul(const Context& context, const Tensor& a, const Tensor& b,
                              bool transpose_b);

// kernels_view.cc
absl::StatusOr<Tensor> Embedding(const Context& context, const Tensor& ids, const Tensor& table,
                                 int64_t turned_rows);
absl::StatusOr<Tensor> Embedding(const Context& context, const Tensor& ids,
                                 const StreamedConstant& table);
absl::StatusOr<Tensor> GatherRows(const Context& context, const Tensor& x, const Tensor& rows);
absl::StatusOr<Tensor> TakeColumns(const Context& context, const Tensor& x, const Tensor& ids);
Tensor Transpose(const Context& context, const Tensor& x, absl::Span<const int64_t> perm);
Tensor Slice(const Context& context, const Tensor& x, int64_t axis, int64_t begin, int64_t end);
Tensor Concat(const Context& context, absl::Span<const Tensor> operands, int64_t axis);
Tensor Repeat(const Context& context, const Tensor& x, int64_t axis, int64_t times);

// kernels_attention.cc. What an attention op's attributes and slopes ask for.
struct ScoreRule {
  double scale = 1;
  int64_t window = 0;              // 0: none
  double softcap = 0;              // 0: none
  const Tensor* slopes = nullptr;  // [H], with alibi
  double alibi_scale = 1;
  bool round_alibi = false;
};
absl::StatusOr<Tensor> Attention(const Context& context, const Tensor& q, const Tensor& k,
                                 const Tensor& v, const Tensor& positions, const Tensor& seq_bounds,
                                 const Tensor& key_bounds, const ScoreRule& rule);
absl::StatusOr<Tensor> PagedAttention(const Context& context, const Tensor& queries,
                                      const KvStore& kv, const Tensor& positions,
                                      const Tensor& seq_bounds, const Tensor& page_table,
                                      const ScoreRule& rule);

// kernels_state.cc
absl::Status KvAppend(KvStore* kv, const Tensor& k, const Tensor& v, const Tensor& positions,
                      const Tensor& seq_bounds, const Tensor& page_table, bool from_start);
Tensor KvBounds(const Context& context, const Tensor& cached_lens, const Tensor& seq_bounds);
// [C, heads, head_dim]; zeros where the table names no page, which a mask must hide.
absl::StatusOr<Tensor> KvRows(const Context& context, KvPart part, const KvStore& kv,
                              const Tensor& key_bounds, const Tensor& page_table);
// Rows of `pages` entries; entries after a text's last page are 0.
absl::StatusOr<Tensor> ScratchPages(const Context& context, const Tensor& seq_bounds,
                                    int64_t pages);
// Page of a sequence's position, checked against table and cache.
absl::StatusOr<int64_t> PageOf(const KvStore& kv, const Tensor& page_table, int64_t sequence,
                               int64_t position);
// That bounds ascend from 0 to `last`.
absl::Status CheckBounds(const char* what, const Tensor& bounds, int64_t last);
// That no position is negative.
absl::Status CheckPositions(const Tensor& positions);

}  // namespace ninfer::eager

#endif  // NINFER_EAGER_KERNELS_H_
