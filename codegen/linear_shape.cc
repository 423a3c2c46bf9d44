// See linear_shape.h. Tested by tests/codegen_linear_test.cc, tests/codegen_experts_test.cc.
#include "codegen/linear_shape.h"

#include <climits>

#include "base/status.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::codegen {
namespace {

QuantisedRows RowsOf(const ir::Node& linear) {
  const ir::Node* quantiser = program::InputQuantiser(linear);
  if (quantiser == nullptr) return QuantisedRows::kFloats;
  const QuantiseScheme& scheme = *FindQuantiseScheme(quantiser->attr_string("scheme"));
  return scheme.group == 0 ? QuantisedRows::kWhole : QuantisedRows::kByBlock;
}

LinearShape::Input InputOf(const Emitter& e, const ir::Value* x) {
  const absl::optional<program::ColumnRange> range = program::ResolveColumns(x);
  NINFER_CHECK(range.has_value()) << e.kernel().name;
  const int64_t columns = program::RowColumns(range->root->type());
  return {range->root, program::LeadingDimension(columns), range->offset, x->type().dtype};
}

}  // namespace

LinearShape::LinearShape(const Emitter& e)
    : linear(program::LinearOf(e.body())), target_(e.target()) {
  NINFER_CHECK(linear != nullptr) << e.kernel().name;
  const ir::Type& weight = linear->operand(1)->type();
  const program::KernelParam& info = e.ParameterInfo(linear->operand(1));
  k = weight.shape.back().offset;
  grouped = linear->op() == ir::Op::kGroupedLinear;
  if (grouped) {
    experts = info.segments;
    n = weight.shape[1].offset;
    chosen = linear->operand(2)->type().shape[1].offset;
    own_inputs = linear->operand(0)->type().rank() == 3;
  } else {
    segments = info.segments;
    n = weight.shape[0].offset / segments;
  }
  format = info.format;
  input = InputOf(e, program::LinearInput(*linear));
  product.weights = formats::InfoOf(format).scheme;
  product.rows = RowsOf(*linear);
  product.few_blocks = k <= 2 * kQuantiseBlock;
  if (!Quantised()) mode = DotModeOf(target_, format, input.dtype);
}

int LinearShape::LargestRows() const {
  return Quantised() ? LargestQuantisedTile(target_, product).rows
                     : LargestTile(target_, mode).rows;
}

int LinearShape::RowsOfOneTile() const {
  return Quantised() ? RowsOfOneQuantisedTile(target_, product)
                     : codegen::RowsOfOneTile(target_, mode);
}

int LinearShape::RowsOfPairs() const {
  if (target_.vector_bits < 512 || segments > 1) return 0;
  const auto is_wide = [&](int rows) {
    const TileShape tile =
        Quantised() ? QuantisedTileFor(target_, product, rows) : TileFor(target_, mode, rows);
    return tile.slots * target_.vector_bits / 32 > formats::kPanelColumns;
  };
  if (is_wide(LargestRows())) return INT_MAX;
  int rows = LargestRows() - 1;
  while (rows > 0 && !is_wide(rows)) --rows;
  return rows;
}

int64_t LinearShape::PreparedBytes() const {
  if (!Quantised()) return program::LeadingDimension(k) * DTypeSize(PreparedType());
  return product.widened() ? WidenedRowBytes(k) : PreparedRowBytes(target_, k);
}

int64_t LinearShape::ChoicesAt() const {
  const int64_t sliced = program::kLinearSumsBytes + program::kLinearSliceBytes;
  return program::kLinearTileBytes + (Slices() ? sliced : 0);
}

}  // namespace ninfer::codegen
