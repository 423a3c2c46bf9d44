// See processor.h. Sizes are computed in the types in which transformers computes them, so that
// they round alike.
#include "image/processor.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "image/resize.h"

namespace ninfer::image {
namespace {

constexpr int64_t kLargestEdge = 4096;  // transformers' MAX_IMAGE_SIZE
constexpr int64_t kMostFrames = 4096;

struct Size {
  int64_t width = 0, height = 0;
};

double AspectOf(const Size& size) {
  return static_cast<double>(size.width) / static_cast<double>(size.height);
}

// The longer edge becomes `edge`, the other follows and is made even.
Size WithLongestEdge(const Size& size, int64_t edge) {
  Size result{edge, edge};
  if (size.width >= size.height) {
    result.height = static_cast<int64_t>(static_cast<double>(edge) / AspectOf(size));
    result.height += result.height % 2;
  } else {
    result.width = static_cast<int64_t>(static_cast<double>(edge) * AspectOf(size));
    result.width += result.width % 2;
  }
  return {std::max<int64_t>(result.width, 1), std::max<int64_t>(result.height, 1)};
}

Size AtMostLargest(Size size) {
  const double aspect = AspectOf(size);
  if (size.width >= size.height && size.width > kLargestEdge) {
    size.width = kLargestEdge;
    size.height = static_cast<int64_t>(static_cast<double>(size.width) / aspect);
  } else if (size.height > size.width && size.height > kLargestEdge) {
    size.height = kLargestEdge;
    size.width = static_cast<int64_t>(static_cast<double>(size.height) * aspect);
  }
  return {std::max<int64_t>(size.width, 1), std::max<int64_t>(size.height, 1)};
}

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Both edges become multiples of a frame's, the longer one first.
Size WholeFrames(const Size& size, int64_t edge) {
  const double aspect = AspectOf(size);
  Size result;
  if (size.width >= size.height) {
    result.width = RoundUp(size.width, edge);
    const auto height = static_cast<int64_t>(static_cast<double>(result.width) / aspect);
    result.height = RoundUp(std::max<int64_t>(height, 1), edge);
  } else {
    result.height = RoundUp(size.height, edge);
    const auto width = static_cast<int64_t>(static_cast<double>(result.height) * aspect);
    result.width = RoundUp(std::max<int64_t>(width, 1), edge);
  }
  return result;
}

// The frame whose upper left pixel is (x, y), as three planes of numbers.
void AppendFrame(const Picture& picture, int64_t x, int64_t y, const ProcessorSettings& settings,
                 Frames& frames) {
  for (int c = 0; c < 3; ++c) {
    const auto mean = static_cast<float>(settings.image_mean[c]);
    const auto deviation = static_cast<float>(settings.image_std[c]);
    std::array<float, 256> numbers;
    for (int i = 0; i < 256; ++i) {
      auto value = static_cast<float>(i);
      if (settings.do_rescale) value = static_cast<float>(i * settings.rescale_factor);
      numbers[i] = settings.do_normalize ? (value - mean) / deviation : value;
    }
    for (int64_t row = y; row < y + frames.edge; ++row) {
      const uint8_t* from = &picture.pixels[(row * picture.width + x) * 3 + c];
      for (int64_t i = 0; i < frames.edge; ++i) frames.pixels.push_back(numbers[from[i * 3]]);
    }
  }
}

}  // namespace

absl::Status CheckSettings(const ProcessorSettings& settings) {
  if (settings.max_image_size < 1 || settings.max_image_size > kLargestEdge) {
    return InvalidArgument("max_image_size: expected 1 to ", kLargestEdge, ", found ",
                           settings.max_image_size);
  }
  // Pictures are held to kLargestEdge whatever stands here.
  if (settings.longest_edge < 1 || settings.longest_edge > (int64_t{1} << 20)) {
    return InvalidArgument("size: longest_edge: expected 1 to ", int64_t{1} << 20, ", found ",
                           settings.longest_edge);
  }
  for (double deviation : settings.image_std) {
    if (!(std::abs(deviation) > 0)) {
      return InvalidArgument("image_std: expected numbers other than 0, found ", deviation);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Frames> Process(const Picture& picture, const ProcessorSettings& settings) {
  const int64_t edge = settings.max_image_size;
  Size size{picture.width, picture.height};
  if (settings.do_resize) size = AtMostLargest(WithLongestEdge(size, settings.longest_edge));
  // Each resizing rounds to bytes, so none can be left out.
  Picture resized = settings.do_resize ? Resize(picture, size.width, size.height) : picture;
  Frames frames;
  frames.edge = edge;
  if (settings.do_image_splitting) {
    const Size whole = WholeFrames(size, edge);
    const int64_t cols = whole.width / edge, rows = whole.height / edge;
    if (cols > kMostFrames / std::max<int64_t>(rows, 1)) {
      return InvalidArgument("expected a picture of at most ", kMostFrames, " frames, found ", rows,
                             " by ", cols);
    }
    if (whole.width > kMostPixels / whole.height) {
      return InvalidArgument("expected frames of at most ", kMostPixels, " pixels in all, found ",
                             rows, " by ", cols, " of ", edge, " by ", edge);
    }
    resized = Resize(resized, whole.width, whole.height);
    if (cols > 1 || rows > 1) {
      frames.rows = rows;
      frames.cols = cols;
    }
  }
  frames.pixels.reserve(frames.count() * 3 * edge * edge);
  for (int64_t row = 0; row < frames.rows; ++row) {
    for (int64_t col = 0; col < frames.cols; ++col) {
      AppendFrame(resized, col * edge, row * edge, settings, frames);
    }
  }
  AppendFrame(Resize(resized, edge, edge), 0, 0, settings, frames);
  return frames;
}

}  // namespace ninfer::image
