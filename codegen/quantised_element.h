// One element of a quantised weight, for embeddings whose table is a linear's too: the panels are
// laid out for the linear. Tested by tests/codegen_quantised_test.cc.
#ifndef NINFER_CODEGEN_QUANTISED_ELEMENT_H_
#define NINFER_CODEGEN_QUANTISED_ELEMENT_H_

#include <cstdint>

#include "codegen/emitter.h"
#include "formats/formats.h"

namespace ninfer::codegen {

// weight[row, column] in f32, of a weight [N, `columns`] whose first panel is at `base`.
LV LoadQuantisedElement(Emitter& e, const formats::FormatInfo& format, int64_t columns, LV base,
                        LV row, LV column);

}  // namespace ninfer::codegen

#endif  // NINFER_CODEGEN_QUANTISED_ELEMENT_H_
