// Evaluates a body's values at a place: one row, some neighbouring columns. A value of type [rows,
// a, b] is seen as rows of a * b columns; views become arithmetic on the column. Reductions along a
// row are prepared before the columns are visited. Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_ROW_EVALUATOR_H_
#define NINFER_CODEGEN_ROW_EVALUATOR_H_

#include <functional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "codegen/emitter.h"
#include "ir/module.h"

namespace ninfer::codegen {

// Where a vector of `lanes` columns lies. Inside a rotated head, `phase` says which part of the
// head (first or second partner, or beyond the rotated columns) and `pair` the index of the first
// angle.
struct Place {
  LV row = nullptr;
  int lanes = 1;
  int phase = 0;
  LV pair = nullptr;
};

class RowEvaluator {
 public:
  explicit RowEvaluator(Emitter& e) : e_(e) {}

  // Whether the body's values can be evaluated this way; the message names the op that cannot.
  absl::Status Check(const ir::Value* value) const;

  // `value` is computed by `function` instead (a linear's accumulators, attention's output).
  void Override(const ir::Value* value, std::function<LV(const Place&, LV column)> function);

  // Emits the reductions that `value` needs at `row`. Call before ForEachColumn on that row.
  void PrepareRow(const ir::Value* value, LV row);

  // Visits all columns of `value` at `row`, whole vectors and single columns, in an order that
  // never splits a vector over a head or a broadcast period.
  void ForEachColumn(const ir::Value* value, LV row,
                     const std::function<void(const Place&, LV column)>& visit);

  LV Evaluate(const ir::Value* value, const Place& place, LV column);

 private:
  struct Statistics {
    LV shift = nullptr;  // mean or maximum
    LV scale = nullptr;  // 1 / deviation or 1 / sum
  };
  struct Period {
    int64_t columns = 0;  // 0: none
    int64_t rotated = 0;  // angles of a rope, 0: none
    bool single_lanes = false;
  };
  void FindPeriod(const ir::Value* value, Period& period) const;
  LV EvaluateParameter(const ir::Value* value, const Place& place, LV column);
  LV EvaluateNode(const ir::Node& node, const Place& place, LV column);
  LV EvaluateOperand(const ir::Node& node, int operand, const Place& place, LV column);
  LV EvaluateRope(const ir::Node& node, const Place& place, LV column);
  LV EvaluateNormalised(const ir::Node& node, const Place& place, LV column);
  LV EvaluateEmbedding(const ir::Node& node, const Place& place, LV column);
  LV LoadRowIndex(const ir::Value* indices, LV row);
  Statistics Reduce(const ir::Node& node, LV row);
  LV SumOverRow(const ir::Value* value, LV row, const std::function<LV(LV, LV)>& accumulate);

  Emitter& e_;
  absl::flat_hash_map<const ir::Value*, std::function<LV(const Place&, LV)>> overrides_;
  absl::flat_hash_map<const ir::Node*, Statistics> statistics_;
};

// Elements of a value in one row; of all its elements when it has no row dimension.
int64_t RowColumns(const ir::Type& type);
// True when the first dimension is a row dimension (symbolic).
bool HasRows(const ir::Type& type);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_ROW_EVALUATOR_H_
