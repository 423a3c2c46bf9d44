// See the header.
// Tested by tests/frontend_vision_test.cc.
#include "frontend/picture_processor.h"

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "base/status.h"
#include "frontend/config.h"

namespace ninfer::frontend {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 24;
constexpr int64_t kLanczos = 1;  // Pillow's number
constexpr int64_t kMaxEdge = 4096;

// Null where there is no such file.
absl::StatusOr<std::unique_ptr<ConfigReader>> Open(const std::string& folder, const char* name) {
  const std::string path = JoinPath(folder, name);
  if (!FileExists(path)) return nullptr;
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  return ConfigReader::Parse(path, text);
}

int64_t ReadLongestEdge(ConfigReader& config, absl::string_view key, int64_t fallback,
                        int64_t most) {
  ConfigReader* size = config.Object(key);
  if (size == nullptr) return fallback;
  for (const char* other : {"shortest_edge", "height", "width"}) {
    if (size->Has(other)) size->Refuse(other, "longest_edge alone");
  }
  return size->Int("longest_edge", 1, most);
}

void ReadThree(ConfigReader& config, absl::string_view key, bool divides,
               std::array<double, 3>& numbers) {
  if (!config.Has(key)) return;
  const std::vector<double> found = config.Numbers(key);
  const bool zero = divides && std::find(found.begin(), found.end(), 0.0) != found.end();
  if (found.size() != 3 || zero) {
    config.Refuse(key, divides ? "three numbers other than 0" : "three numbers");
    return;
  }
  std::copy(found.begin(), found.end(), numbers.begin());
}

void ReadSettings(ConfigReader& config, VisionInfo& vision) {
  vision.has_processor = true;
  vision.do_resize = config.BoolOr("do_resize", true);
  vision.do_image_splitting = config.BoolOr("do_image_splitting", true);
  vision.do_rescale = config.BoolOr("do_rescale", true);
  vision.do_normalize = config.BoolOr("do_normalize", true);
  vision.rescale_factor = config.NumberOr("rescale_factor", 1.0 / 255);
  vision.longest_edge = ReadLongestEdge(config, "size", 4 * 364, 1 << 20);
  vision.max_image_size = ReadLongestEdge(config, "max_image_size", 364, kMaxEdge);
  ReadThree(config, "image_mean", /*divides=*/false, vision.image_mean);
  ReadThree(config, "image_std", /*divides=*/true, vision.image_std);
  if (config.IntOr("resample", kLanczos, 0, 5) != kLanczos) config.Refuse("resample", "1, Lanczos");
  if (!config.BoolOr("do_convert_rgb", true)) config.Refuse("do_convert_rgb", "true");
  const int64_t patches = vision.max_image_size / vision.patch_size;
  if (vision.max_image_size % vision.patch_size != 0 || patches > vision.grid ||
      patches % vision.scale_factor != 0) {
    config.Refuse("max_image_size",
                  absl::StrCat("a longest_edge of at most ", vision.grid * vision.patch_size,
                               " that ", vision.patch_size * vision.scale_factor, " divides"));
  }
}

// The number of rows that a frame becomes, where the file says it.
void CheckSequenceLength(ConfigReader& config, const VisionInfo& vision) {
  const int64_t side = vision.max_image_size / vision.patch_size / vision.scale_factor;
  const auto length = config.OptionalInt("image_seq_len", 1, INT32_MAX);
  if (length.has_value() && *length != side * side) {
    config.Refuse("image_seq_len", absl::StrCat(side * side, ", what max_image_size gives"));
  }
}

void ReadTokens(ConfigReader& config, VisionInfo& vision) {
  const std::pair<const char*, std::string*> tokens[] = {
      {"image_token", &vision.image_token},
      {"fake_image_token", &vision.fake_image_token},
      {"global_image_token", &vision.global_image_token}};
  for (const char* place : {"", "extra_special_tokens", "model_specific_special_tokens"}) {
    const nlohmann::json* object = *place == '\0' ? nullptr : config.Peek(place);
    if (*place != '\0' && (object == nullptr || !object->is_object())) continue;
    for (const auto& [key, token] : tokens) {
      const nlohmann::json* value = nullptr;
      if (object == nullptr) {
        value = config.Peek(key);
      } else if (const auto found = object->find(key); found != object->end()) {
        value = &*found;
      }
      if (value != nullptr && value->is_object()) {
        const auto content = value->find("content");
        value = content == value->end() ? nullptr : &*content;
      }
      if (value != nullptr && value->is_string()) *token = value->get<std::string>();
    }
  }
}

}  // namespace

absl::Status ReadPictureProcessor(const std::string& folder, VisionInfo& vision) {
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<ConfigReader> own,
                          Open(folder, "preprocessor_config.json"));
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<ConfigReader> processor,
                          Open(folder, "processor_config.json"));
  // Where both say it, transformers takes the processor's.
  ConfigReader* settings = nullptr;
  if (processor != nullptr) settings = processor->Object("image_processor");
  if (settings == nullptr) settings = own.get();
  if (settings == nullptr) return absl::OkStatus();
  ReadSettings(*settings, vision);
  NINFER_RETURN_IF_ERROR(settings->status());
  if (processor != nullptr) {
    CheckSequenceLength(*processor, vision);
    NINFER_RETURN_IF_ERROR(processor->status());
  }
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<ConfigReader> tokenizer,
                          Open(folder, "tokenizer_config.json"));
  if (tokenizer != nullptr) ReadTokens(*tokenizer, vision);
  return absl::OkStatus();
}

}  // namespace ninfer::frontend
