// Which columns of a row a body's values can be computed together: asked by fuse before it forms a
// region, by the verifier, and by the emitters, which visit a row so. A value of type [rows, a, b]
// is seen as rows of a * b columns.
// Tested by tests/program_columns_test.cc, tests/codegen_rowwise_test.cc.
#ifndef NINFER_PROGRAM_COLUMNS_H_
#define NINFER_PROGRAM_COLUMNS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "ir/module.h"

namespace ninfer::program {

// Neighbouring columns may be computed together as long as they lie between the same two multiples
// of `columns`, which divides the value's columns; 0: anywhere.
struct ColumnPeriod {
  int64_t columns = 0;
  // Where rope turns the value, `columns` is a head, and (i, i + rotated) are its pairs for i below
  // `rotated`; 0: it does not.
  int64_t rotated = 0;
  bool single = false;  // one column at a time
};

// A node that cannot be computed row by row with the others, and what could be in its place.
struct ColumnRefusal {
  const ir::Node* node = nullptr;
  absl::string_view expected;
};

using ValuePredicate = absl::FunctionRef<bool(const ir::Value*)>;

// Follows `value` back to what is `at_hand`: parameters at the latest. `by_element` says of an
// embedding's table whether a row of it lies scattered, as in panels. None when the value is not
// computed row by row, and `refusal`, unless it is null, says why.
absl::optional<ColumnPeriod> PeriodOf(const ir::Value* value, ValuePredicate at_hand,
                                      ValuePredicate by_element, ColumnRefusal* refusal);

// True when the first dimension is a row dimension (symbolic).
bool HasRows(const ir::Type& type);
// Elements of a value in one row; of all its elements when it has no row dimension.
int64_t RowColumns(const ir::Type& type);
// Elements of the axes behind `axis`.
int64_t TrailingColumns(const ir::Type& type, int64_t axis);

}  // namespace ninfer::program

#endif  // NINFER_PROGRAM_COLUMNS_H_
