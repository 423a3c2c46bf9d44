// Resampling with Lanczos' filter, with the very integers of Pillow's Image.resize.
// Tested by tests/image_processor_test.cc.
#ifndef NINFER_IMAGE_RESIZE_H_
#define NINFER_IMAGE_RESIZE_H_

#include "image/picture.h"

namespace ninfer::image {

// The picture in `width` by `height` pixels, both at least 1.
Picture Resize(const Picture& picture, int64_t width, int64_t height);

}  // namespace ninfer::image

#endif  // NINFER_IMAGE_RESIZE_H_
