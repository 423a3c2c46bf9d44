// A picture's frames as the arguments of a model's @vision: patches, where they stand, and which of
// them make a row. Agrees with transformers' SmolVLMVisionEmbeddings and pixel_shuffle.
// Tested by tests/image_patches_test.cc, tests/eager_vision_test.cc.
#ifndef NINFER_IMAGE_PATCHES_H_
#define NINFER_IMAGE_PATCHES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ninfer::image {

struct PatchGeometry {
  int64_t channels = 3, patch_size = 1;
  int64_t grid = 1;          // positions on a side
  int64_t scale_factor = 1;  // patches on a side that become one row
};

// One frame. Patches come in order but for those that are padding, which come last: a row looks at
// the first `visible + 1` patches.
struct Patches {
  std::vector<float> pixels;                         // [T, channels * patch * patch]
  std::vector<int32_t> patch_ids, visible, shuffle;  // [T], [T], [R, scale * scale]

  int64_t count() const { return static_cast<int64_t>(patch_ids.size()); }
  int64_t rows(const PatchGeometry& geometry) const {
    return count() / (geometry.scale_factor * geometry.scale_factor);
  }
};

// `frame` is [channels, edge, edge]; `mask` [edge, edge] is 0 where it is padding, or empty where
// nothing is. A patch is real when any of its pixels is. Positions of a frame that is smaller than
// the grid, or cut, are stretched over the grid, in f32. Refuses an edge that the geometry does not
// divide, and a frame that is padding alone.
absl::StatusOr<Patches> CutPatches(absl::Span<const float> frame, absl::Span<const uint8_t> mask,
                                   int64_t edge, const PatchGeometry& geometry);

}  // namespace ninfer::image

#endif  // NINFER_IMAGE_PATCHES_H_
