// Models that see, with what Hugging Face transformers makes of pictures, for tests.
#ifndef NINFER_TESTS_VISION_MODELS_H_
#define NINFER_TESTS_VISION_MODELS_H_

#include <string>
#include <vector>

#include "eager/eager.h"
#include "image/patches.h"
#include "tests/eager_models.h"

namespace ninfer {

// Those of GoldenModelFolders() whose goldens hold pictures.
inline std::vector<std::string> VisionModelFolders() {
  std::vector<std::string> folders;
  for (const std::string& folder : GoldenModelFolders()) {
    const auto golden = frontend::Checkpoint::OpenFile(folder + "/golden.safetensors");
    if (golden.ok() && (*golden)->Find("pixel_values") != nullptr) folders.push_back(folder);
  }
  return folders;
}

inline image::PatchGeometry GeometryOf(const frontend::VisionInfo& vision) {
  return {vision.channels, vision.patch_size, vision.grid, vision.scale_factor};
}

// Of pixel_values [1, pictures, 3, edge, edge] with their mask.
inline std::vector<image::Patches> GoldenPatches(const GoldenModel& model) {
  const frontend::StoredTensor* pixels = model.golden->Find("pixel_values");
  const frontend::StoredTensor* mask = model.golden->Find("pixel_attention_mask");
  const int64_t pictures = pixels->shape[1], edge = pixels->shape[3], area = edge * edge;
  const std::vector<float> values = model.Floats("pixel_values");
  std::vector<image::Patches> all;
  for (int64_t i = 0; i < pictures; ++i) {
    auto patches = image::CutPatches({values.data() + i * 3 * area, static_cast<size_t>(3 * area)},
                                     {mask->data + i * area, static_cast<size_t>(area)}, edge,
                                     GeometryOf(model.imported->info.vision));
    EXPECT_TRUE(patches.ok()) << patches.status();
    if (patches.ok()) all.push_back(*std::move(patches));
  }
  return all;
}

inline eager::StepArguments VisionArguments(const image::Patches& patches) {
  eager::StepArguments arguments;
  arguments.pixels = patches.pixels;
  arguments.patch_ids = patches.patch_ids;
  arguments.visible = patches.visible;
  arguments.shuffle = patches.shuffle;
  return arguments;
}

// Rows of patches, padding last, in the order of the picture.
inline std::vector<float> InPatchOrder(const std::vector<float>& rows,
                                       const image::Patches& patches,
                                       const frontend::VisionInfo& vision) {
  const int64_t columns = static_cast<int64_t>(rows.size()) / patches.count();
  const int64_t scale = vision.scale_factor;
  int64_t side = 1;
  while (side * side < patches.count()) ++side;
  std::vector<float> ordered(rows.size());
  for (int64_t i = 0; i < patches.count(); ++i) {
    const int64_t row = i / (scale * scale), inside = i % (scale * scale);
    const int64_t y = row / (side / scale) * scale + inside / scale;
    const int64_t x = row % (side / scale) * scale + inside % scale;
    std::copy_n(rows.begin() + patches.shuffle[i] * columns, columns,
                ordered.begin() + (y * side + x) * columns);
  }
  return ordered;
}

}  // namespace ninfer

#endif  // NINFER_TESTS_VISION_MODELS_H_
