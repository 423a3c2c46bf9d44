// The largest value of each panel of a linear's row, and its column.
// Tested by tests/codegen_argmax_test.cc.
#ifndef NINFER_CODEGEN_ARGMAX_H_
#define NINFER_CODEGEN_ARGMAX_H_

#include "codegen/emitter.h"

namespace ninfer::codegen {

// Stores what max_parts and argmax_parts, where they are results of the linear, say of panels
// [panel, panel + group) at `row`, whose columns are stored already. `n`: columns of the result.
void EmitPanelParts(Emitter& e, LV row, LV panel, int group, int64_t n);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_ARGMAX_H_
