// Language models that stand in the text_config of models that see: their files read them from the
// configuration that the builder has. Tested by tests/eager_models_test.cc.
#ifndef NINFER_FRONTEND_ARCH_LLAVA_H_
#define NINFER_FRONTEND_ARCH_LLAVA_H_

#include "frontend/arch/decoder.h"

namespace ninfer::frontend {

Decoder ReadGemma3(ModelBuilder& m);
Decoder ReadMinistral3(ModelBuilder& m);
Decoder ReadMistral(ModelBuilder& m);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_LLAVA_H_
