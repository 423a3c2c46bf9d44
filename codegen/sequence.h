// What kv_append and attention share: which rows a unit has, which sequence a row belongs to, and
// where its pages lie.
// Tested by tests/codegen_kv_test.cc.
#ifndef NINFER_CODEGEN_SEQUENCE_H_
#define NINFER_CODEGEN_SEQUENCE_H_

#include "absl/strings/string_view.h"
#include "codegen/emitter.h"

namespace ninfer::codegen {

// The units of both are those of a block of rows after those of another: a KV head after the other,
// and of each program::kAttentionParts parts of the block's rows. So the thread that appends a
// row's head is the one that attends to it (program::Barrier::kPrefill).
struct RowBlock {
  LV first, count;
};
// The rows of the block whose turn it is, of `rows` rows.
RowBlock RowBlockOf(Emitter& e, const ir::Dim& rows, LV turn);
// The first row of a part, which may be empty.
LV PartBegin(Emitter& e, const RowBlock& block, LV part);

// The index of a program's symbol, which must be there.
int SymbolIndex(const program::Program& program, absl::string_view name);

// The sequence s with bounds[s] <= row < bounds[s + 1].
LV FindSequence(Emitter& e, LV bounds, LV row);

// The byte offset in the pool of page `index` of `sequence`.
LV PageOf(Emitter& e, LV table, LV sequence, LV index, int64_t page_bytes);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_SEQUENCE_H_
