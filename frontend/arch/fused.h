// Projections that a checkpoint stores in one matrix, in whatever order of heads and parts: each
// part is a linear of its own over a view of the rows, which merge-linears puts together again in
// the order that the kernels like. Tested by tests/frontend_test.cc, tests/goldens_test.cc.
#ifndef NINFER_FRONTEND_ARCH_FUSED_H_
#define NINFER_FRONTEND_ARCH_FUSED_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "frontend/arch/common.h"

namespace ninfer::frontend {

// The rows of a matrix counted by `dims`, and of these [begin, end) along `axis`.
struct RowPart {
  std::vector<int64_t> dims;
  int64_t axis;
  int64_t begin, end;
};

// x [T, in] -> [T, rows of the part], with the part of NAME.weight [product of dims, in] and, if
// asked, of NAME.bias.
ir::Value* LinearPart(ModelBuilder& m, ir::Value* x, absl::string_view name, int64_t in,
                      const RowPart& part, bool bias);

// q, k and v, each [T, heads * head_dim], of NAME, whose rows are [heads, 3, head_dim].
struct FusedQkv {
  ir::Value* q;
  ir::Value* k;
  ir::Value* v;
};
FusedQkv QkvByHead(ModelBuilder& m, ir::Value* x, absl::string_view name, int64_t in, int64_t heads,
                   int64_t head_dim, bool bias);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_FUSED_H_
