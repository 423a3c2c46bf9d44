#include "tools/common/picture_flags.h"

#include "base/status.h"
#include "runtime/pictures.h"

namespace ninfer::tools {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Empty where the part names none.
std::string FileOf(const OrderedJson& part) {
  for (const char* key : {"path", "url", "image"}) {
    const auto found = part.find(key);
    if (found != part.end() && found->is_string()) return found->get<std::string>();
  }
  return "";
}

// A template would leave out what it does not know, without a word.
absl::Status CheckPart(const std::string& type) {
  for (const char* kind : {"image_url", "input_image", "video", "video_url", "audio", "audio_url",
                           "input_audio", "file", "input_file"}) {
    if (type != kind) continue;
    return InvalidArgument("messages: expected parts of type \"text\" or \"image\", found \"", type,
                           "\"");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> PicturesIn(const OrderedJson& messages,
                                                    const std::vector<std::string>& images) {
  std::vector<std::string> paths;
  size_t taken = 0;
  for (const OrderedJson& message : messages) {
    if (!message.is_object() || !message.contains("content")) continue;
    const OrderedJson& content = message["content"];
    if (!content.is_array()) continue;
    for (const OrderedJson& part : content) {
      const auto type = part.is_object() ? part.find("type") : part.end();
      if (!part.is_object() || type == part.end() || !type->is_string()) continue;
      NINFER_RETURN_IF_ERROR(CheckPart(type->get<std::string>()));
      if (*type != "image") continue;
      std::string path = FileOf(part);
      if (path.empty() && taken < images.size()) path = images[taken++];
      if (path.empty()) {
        return InvalidArgument("messages: expected --image for each image part without a path");
      }
      paths.push_back(std::move(path));
    }
  }
  if (taken == images.size()) return paths;
  return InvalidArgument("--image: expected as many as there are image parts without a path, ",
                         taken, ", found ", images.size());
}

absl::StatusOr<std::vector<image::Frames>> ReadPictures(const std::vector<std::string>& paths,
                                                        const runtime::Executor& executor) {
  std::vector<image::Frames> pictures;
  if (paths.empty()) return pictures;
  NINFER_ASSIGN_OR_RETURN(const image::ProcessorSettings settings,
                          runtime::PictureSettings(executor));
  for (const std::string& path : paths) {
    NINFER_ASSIGN_OR_RETURN(image::Frames frames, runtime::ReadPicture(path, settings));
    pictures.push_back(std::move(frames));
  }
  return pictures;
}

absl::Status PutPictures(const std::vector<image::Frames>& pictures, const plan::Vision& vision,
                         std::string* text) {
  if (!vision.has_processor) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(*text, runtime::ExpandMarks(*text, pictures, vision));
  return absl::OkStatus();
}

absl::Status SeePictures(const std::vector<image::Frames>& pictures,
                         const std::vector<int32_t>& prompt, runtime::Model* model,
                         runtime::GenerateOptions* options) {
  const int64_t longest = runtime::LongestText(model->executor()->limits());
  if (pictures.empty() || static_cast<int64_t>(prompt.size()) > longest) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(options->pictures, runtime::SeePictures(pictures, model->executor()));
  return absl::OkStatus();
}

}  // namespace ninfer::tools
