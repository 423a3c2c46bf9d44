// How a model's pictures are to be processed, from preprocessor_config.json (or
// processor_config.json, where newer folders keep it) and the tokens of tokenizer_config.json.
// Tested by tests/frontend_vision_test.cc.
#ifndef NINFER_FRONTEND_PICTURE_PROCESSOR_H_
#define NINFER_FRONTEND_PICTURE_PROCESSOR_H_

#include <string>

#include "absl/status/status.h"
#include "frontend/frontend.h"

namespace ninfer::frontend {

// Sets what VisionInfo says of the processor; leaves it without one where the folder has none. What
// the files ask for and is not done is refused by its key and value.
absl::Status ReadPictureProcessor(const std::string& folder, VisionInfo& vision);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_PICTURE_PROCESSOR_H_
