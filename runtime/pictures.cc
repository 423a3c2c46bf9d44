// Tested by tests/runtime_pictures_test.cc.
#include "runtime/pictures.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "image/patches.h"

namespace ninfer::runtime {
namespace {

constexpr uint64_t kFileLimit = uint64_t{1} << 30;

void AppendFrame(const plan::Vision& vision, absl::string_view name, int64_t rows,
                 std::string* text) {
  absl::StrAppend(text, vision.fake_image_token, name);
  for (int64_t i = 0; i < rows; ++i) text->append(vision.image_token);
}

std::string TextOf(const image::Frames& frames, const plan::Vision& vision) {
  const int64_t rows = RowsOfFrame(vision, frames.edge);
  std::string text;
  for (int64_t row = 1; row <= frames.rows; ++row) {
    for (int64_t col = 1; col <= frames.cols; ++col) {
      AppendFrame(vision, absl::StrCat("<row_", row, "_col_", col, ">"), rows, &text);
    }
    text += '\n';
  }
  if (frames.rows > 0) text += '\n';
  AppendFrame(vision, vision.global_image_token, rows, &text);
  return text + vision.fake_image_token;
}

int64_t CountMarks(absl::string_view text, absl::string_view mark) {
  int64_t count = 0;
  for (size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + mark.size())) {
    ++count;
  }
  return count;
}

}  // namespace

absl::StatusOr<image::ProcessorSettings> PictureSettings(const Executor& executor) {
  const plan::Vision* vision = executor.vision();
  if (vision == nullptr) {
    return InvalidArgument("--image: expected a model that sees, found one of text alone");
  }
  if (!vision->has_processor) {
    return InvalidArgument(
        "--image: expected a model with preprocessor_config.json, found one without");
  }
  image::ProcessorSettings settings;
  settings.do_resize = vision->do_resize;
  settings.do_image_splitting = vision->do_image_splitting;
  settings.do_rescale = vision->do_rescale;
  settings.do_normalize = vision->do_normalize;
  settings.longest_edge = vision->longest_edge;
  settings.max_image_size = vision->max_image_size;
  settings.rescale_factor = vision->rescale_factor;
  std::copy_n(vision->image_mean.begin(), 3, settings.image_mean.begin());
  std::copy_n(vision->image_std.begin(), 3, settings.image_std.begin());
  NINFER_RETURN_IF_ERROR(Annotate(image::CheckSettings(settings), "the model's pictures"));
  return settings;
}

absl::StatusOr<image::Frames> ReadPicture(const std::string& path,
                                          const image::ProcessorSettings& settings) {
  NINFER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kFileLimit));
  const absl::StatusOr<image::Picture> picture = image::Decode(bytes);
  NINFER_RETURN_IF_ERROR(Annotate(picture.status(), path));
  absl::StatusOr<image::Frames> frames = image::Process(*picture, settings);
  NINFER_RETURN_IF_ERROR(Annotate(frames.status(), path));
  return frames;
}

int64_t RowsOfFrame(const plan::Vision& vision, int64_t edge) {
  const int64_t side = edge / vision.patch_size / vision.scale_factor;
  return side * side;
}

absl::StatusOr<std::string> ExpandMarks(absl::string_view text,
                                        const std::vector<image::Frames>& pictures,
                                        const plan::Vision& vision) {
  const std::string& mark = vision.image_token;
  const int64_t marks = mark.empty() ? 0 : CountMarks(text, mark);
  const auto count = static_cast<int64_t>(pictures.size());
  if (marks != count && count == 0) {
    return InvalidArgument("prompt: expected --image for each mark ", mark, ", found none for ",
                           marks);
  }
  if (marks != count) {
    return InvalidArgument("prompt: expected a mark ", mark, " for each of ", count,
                           count == 1 ? " picture" : " pictures", ", found ", marks);
  }
  std::string out;
  for (const image::Frames& picture : pictures) {
    const size_t at = text.find(mark);
    absl::StrAppend(&out, text.substr(0, at), TextOf(picture, vision));
    text.remove_prefix(at + mark.size());
  }
  return absl::StrCat(out, text);
}

std::string WithMarks(absl::string_view text, int64_t count, const plan::Vision& vision) {
  std::string out;
  if (vision.image_token.empty() || CountMarks(text, vision.image_token) == 0) {
    for (int64_t i = 0; i < count; ++i) out += vision.image_token;
  }
  return absl::StrCat(out, text);
}

absl::StatusOr<std::vector<float>> SeePictures(const std::vector<image::Frames>& pictures,
                                               Executor* executor) {
  const plan::Vision& vision = *executor->vision();
  const image::PatchGeometry geometry{vision.channels, vision.patch_size, vision.grid,
                                      vision.scale_factor};
  std::vector<float> rows;
  for (const image::Frames& picture : pictures) {
    const int64_t size = geometry.channels * picture.edge * picture.edge;
    for (int64_t i = 0; i < picture.count(); ++i) {
      const auto frame = absl::MakeConstSpan(picture.pixels).subspan(i * size, size);
      NINFER_ASSIGN_OR_RETURN(const image::Patches patches,
                              image::CutPatches(frame, {}, picture.edge, geometry));
      const size_t before = rows.size();
      rows.resize(before + patches.rows(geometry) * vision.columns);
      NINFER_RETURN_IF_ERROR(
          executor->See({patches.pixels, patches.patch_ids, patches.visible, patches.shuffle},
                        rows.data() + before));
    }
  }
  return rows;
}

}  // namespace ninfer::runtime
