// Evaluates a body's values at a place: one row, some neighbouring columns. A value of type [rows,
// a, b] is seen as rows of a * b columns; views become arithmetic on the column. Reductions along a
// row are prepared before the columns are visited. Tested by tests/codegen_test.cc.
#ifndef NINFER_CODEGEN_ROW_EVALUATOR_H_
#define NINFER_CODEGEN_ROW_EVALUATOR_H_

#include <functional>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "codegen/emitter.h"
#include "ir/module.h"
#include "program/columns.h"

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

// What a store of `value` evaluates: the store rounds, so a final cast from f32 need not round
// first.
const ir::Value* WithoutFinalCast(const ir::Value* value);

class RowEvaluator {
 public:
  explicit RowEvaluator(Emitter& e) : e_(e) {}

  // `value` is computed by `function` instead (a linear's accumulators, attention's output).
  void Override(const ir::Value* value, std::function<LV(const Place&, LV column)> function);

  // Emits the reductions that `value` needs at `row`. Call before the columns of that row are
  // visited.
  void PrepareRow(const ir::Value* value, LV row) { PrepareRow(value, row, nullptr); }

  // Visits all columns of `value` at `row`, whole vectors and single columns, in an order that
  // never splits a vector over a head or a broadcast period.
  void ForEachColumn(const ir::Value* value, LV row,
                     const std::function<void(const Place&, LV column)>& visit);

  // Groups [begin, end) of so many columns of a row.
  struct Groups {
    int64_t columns = 0;
    LV begin = nullptr, end = nullptr;
  };
  // Prepares and visits some groups; the whole row where the order above takes several groups
  // together.
  void ForGroups(const ir::Value* value, LV row, const Groups& groups,
                 const std::function<void(const Place&, LV column)>& visit);

  LV Evaluate(const ir::Value* value, const Place& place, LV column);

 private:
  // Reductions of single heads for the groups alone where they are given.
  void PrepareRow(const ir::Value* value, LV row, const Groups* groups);
  using Key = std::tuple<const ir::Value*, LV, LV, int, int, LV>;  // value, row, column, place

  // Of a row; of single heads they lie in scratch, and these are null.
  struct Statistics {
    LV shift = nullptr;  // mean or maximum
    LV scale = nullptr;  // 1 / deviation or 1 / sum
  };
  // Columns of a value's row that are reduced together.
  struct Stretch {
    LV begin = nullptr;
    int64_t columns = 0;
  };
  // Periods [begin, end) of the row's columns.
  void ForPeriods(const program::ColumnPeriod& period, LV row, LV begin, LV end,
                  const std::function<void(const Place&, LV column)>& visit);
  // How `value` is visited. Its body is one that program::CheckBody accepts.
  program::ColumnPeriod PeriodOf(const ir::Value* value) const;
  LV EvaluateAt(const ir::Value* value, const Place& place, LV column);
  LV EvaluateParameter(const ir::Value* value, const Place& place, LV column);
  LV EvaluateNode(const ir::Node& node, const Place& place, LV column);
  LV EvaluateOperand(const ir::Node& node, int operand, const Place& place, LV column);
  LV EvaluateRope(const ir::Node& node, const Place& place, LV column);
  LV EvaluateNormalised(const ir::Node& node, const Place& place, LV column);
  LV EvaluateSlice(const ir::Node& node, const Place& place, LV column);
  LV EvaluateGathered(const ir::Node& node, const Place& place, LV column);
  LV EvaluateTaken(const ir::Node& node, const Place& place, LV column);
  LV EvaluateWeightedSum(const ir::Node& node, const Place& place, LV column);
  LV EvaluateEmbedding(const ir::Node& node, const Place& place, LV column);
  LV LoadRowIndex(const ir::Value* indices, LV row, LV column);
  void PrepareReduction(const ir::Node& node, LV row, const Groups* groups);
  Statistics Reduce(const ir::Node& node, LV row, const Stretch& stretch);
  Statistics StatisticsAt(const ir::Node& node, LV column);
  LV Sum(const ir::Value* value, LV row, const Stretch& stretch,
         const std::function<LV(LV, LV)>& accumulate);

  Emitter& e_;
  absl::flat_hash_map<const ir::Value*, std::function<LV(const Place&, LV)>> overrides_;
  // Values at rows, and whether of some groups alone.
  absl::flat_hash_set<std::tuple<const ir::Value*, LV, bool>> prepared_;
  absl::flat_hash_map<const ir::Node*, Statistics> statistics_;  // at the row prepared last
  // Of the evaluation under way, so that a value that is used twice is computed once: emission
  // would take twice as long for every such value behind another.
  absl::flat_hash_map<Key, LV> evaluated_;
};

using program::HasRows;
using program::RowColumns;

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_ROW_EVALUATOR_H_
