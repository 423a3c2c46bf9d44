// What a model of the Idefics3 kind (SmolVLM) sees of a picture: the picture is enlarged or shrunk,
// cut into frames of one size, with the whole once more at the end, and its bytes become numbers
// about zero. Agrees with transformers' SmolVLMImageProcessorPil.
// Tested by tests/image_processor_test.cc.
#ifndef NINFER_IMAGE_PROCESSOR_H_
#define NINFER_IMAGE_PROCESSOR_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "image/picture.h"

namespace ninfer::image {

// As preprocessor_config.json names them.
struct ProcessorSettings {
  bool do_resize = true, do_image_splitting = true, do_rescale = true, do_normalize = true;
  int64_t longest_edge = 4 * 364;  // "size": of the picture before it is cut
  int64_t max_image_size = 364;    // of a frame, in both directions
  double rescale_factor = 1.0 / 255;
  std::array<double, 3> image_mean = {0.5, 0.5, 0.5};
  std::array<double, 3> image_std = {0.5, 0.5, 0.5};
};

// Edges that are no size, or larger than any use of them, and a standard deviation of zero.
absl::Status CheckSettings(const ProcessorSettings& settings);

struct Frames {
  int64_t rows = 0, cols = 0;  // of the cut; 0 and 0: the picture was not cut
  int64_t edge = 0;            // of a frame
  // [rows * cols + 1, 3, edge, edge]: row by row, the whole picture last.
  std::vector<float> pixels;

  int64_t count() const { return rows * cols + 1; }
};

// `settings` must be checked. Refuses a picture that would be more than a few thousand frames, or
// whose frames would have more than kMostPixels in all.
absl::StatusOr<Frames> Process(const Picture& picture, const ProcessorSettings& settings);

}  // namespace ninfer::image

#endif  // NINFER_IMAGE_PROCESSOR_H_
