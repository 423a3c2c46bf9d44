// See the header.
// Tested by tests/frontend_test.cc, tests/goldens_test.cc.
#include "frontend/arch/fused.h"

#include "absl/strings/str_cat.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

// The part of a weight [rows, in], or of a bias [rows] when `in` is 0.
Value* PartOf(ModelBuilder& m, Value* weight, const RowPart& part, int64_t in) {
  std::vector<ir::Dim> counted, flat;
  int64_t rows = 1;
  for (size_t i = 0; i < part.dims.size(); ++i) {
    counted.push_back(ir::Dim::Static(part.dims[i]));
    rows *= static_cast<int64_t>(i) == part.axis ? part.end - part.begin : part.dims[i];
  }
  flat.push_back(ir::Dim::Static(rows));
  if (in > 0) {
    counted.push_back(ir::Dim::Static(in));
    flat.push_back(ir::Dim::Static(in));
  }
  Value* sliced = m.ops().Slice(m.ops().Reshape(weight, counted), part.axis, part.begin, part.end);
  return m.ops().Reshape(sliced, flat);
}

}  // namespace

Value* LinearPart(ModelBuilder& m, Value* x, absl::string_view name, int64_t in,
                  const RowPart& part, bool bias) {
  int64_t rows = 1;
  for (int64_t size : part.dims) rows *= size;
  m.Scope(name);
  Value* weight = m.Weight(absl::StrCat(name, ".weight"), {rows, in});
  Value* y = m.ops().Linear(x, PartOf(m, weight, part, in));
  if (!bias) return y;
  Value* stored = m.Weight(absl::StrCat(name, ".bias"), {rows});
  return m.ops().Add(y, m.AsF32(PartOf(m, stored, part, 0)));
}

FusedQkv QkvByHead(ModelBuilder& m, Value* x, absl::string_view name, int64_t in, int64_t heads,
                   int64_t head_dim, bool bias) {
  const auto part = [&](int64_t i) {
    return LinearPart(m, x, name, in, {{heads, 3, head_dim}, 1, i, i + 1}, bias);
  };
  FusedQkv qkv;
  qkv.q = part(0);
  qkv.k = part(1);
  qkv.v = part(2);
  return qkv;
}

}  // namespace ninfer::frontend
