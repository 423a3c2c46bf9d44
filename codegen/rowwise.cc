// The rowwise family: norms, rope, embeddings, gathers and elementwise arithmetic, one row at a
// time, every output in a sweep over its columns. Tested by tests/codegen_test.cc.
#include "codegen/emitter.h"
#include "codegen/row_evaluator.h"

namespace ninfer::codegen {

void EmitRowwise(Emitter& e) {
  RowEvaluator rows(e);
  const std::vector<ir::Value*>& results = e.body().results();
  e.For(e.begin(), e.end(), 1, [&](LV row) {
    for (const ir::Value* result : results) rows.PrepareRow(result, row);
    for (size_t i = 0; i < results.size(); ++i) {
      const ir::Type& type = results[i]->type();
      const DType dtype = type.dtype;
      const int64_t ld = program::LeadingDimension(RowColumns(type));
      LV base = e.Offset(e.OutputAddress(static_cast<int>(i)),
                         e.b().CreateMul(row, e.I64(ld * DTypeSize(dtype))));
      const ir::Value* source = WithoutFinalCast(results[i]);
      rows.ForEachColumn(results[i], row, [&](const Place& place, LV column) {
        LV address = e.Offset(base, e.b().CreateMul(column, e.I64(DTypeSize(dtype))));
        e.StoreFloat(rows.Evaluate(source, place, column), address, dtype, place.lanes);
      });
    }
  });
  e.Finish();
}

}  // namespace ninfer::codegen
