// The pictures of ninfer-run: --image, and image parts of messages. Tested by
// tests/vision_run_test.py.
#ifndef NINFER_TOOLS_COMMON_PICTURE_FLAGS_H_
#define NINFER_TOOLS_COMMON_PICTURE_FLAGS_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "image/processor.h"
#include "runtime/chat.h"
#include "runtime/model.h"
#include "runtime/session.h"

namespace ninfer::tools {

// The files of a conversation's image parts, in order: {"type": "image"} with the file as "path",
// "url" or "image", or with none of these, which takes the next of `images`. All of those must be
// taken.
absl::StatusOr<std::vector<std::string>> PicturesIn(const nlohmann::ordered_json& messages,
                                                    const std::vector<std::string>& images);

// What the model sees of the files; refuses a model that sees none, if there are any.
absl::StatusOr<std::vector<image::Frames>> ReadPictures(const std::vector<std::string>& paths,
                                                        const runtime::Executor& executor);

// Puts the pictures in the place of the marks in the text, of which there must be as many.
absl::Status PutPictures(const std::vector<image::Frames>& pictures, const plan::Vision& vision,
                         std::string* text);

// Has the model look at them, unless the prompt is too long for it anyway.
absl::Status SeePictures(const std::vector<image::Frames>& pictures,
                         const std::vector<int32_t>& prompt, runtime::Model* model,
                         runtime::GenerateOptions* options);

}  // namespace ninfer::tools

#endif  // NINFER_TOOLS_COMMON_PICTURE_FLAGS_H_
