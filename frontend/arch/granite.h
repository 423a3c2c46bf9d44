// What Granite and GraniteMoE have in common: a decoder with multipliers.
// Tested by tests/eager_models_test.cc.
#ifndef NINFER_FRONTEND_ARCH_GRANITE_H_
#define NINFER_FRONTEND_ARCH_GRANITE_H_

#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

Decoder ReadGranite(ModelBuilder& m);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_GRANITE_H_
