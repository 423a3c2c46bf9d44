// A picture in memory, and how it is read from the bytes of a file.
// Tested by tests/image_decode_test.cc.
#ifndef NINFER_IMAGE_PICTURE_H_
#define NINFER_IMAGE_PICTURE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ninfer::image {

// Rows from the top, pixels from the left, three bytes each: red, green, blue.
struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3]
};

// Larger pictures are refused: as many pixels as Pillow opens.
constexpr int64_t kMostPixels = int64_t{2} * 89478485;

// Reads a PNG or a JPEG as Pillow does: grey and palettes become colours, what is transparent lies
// on white, samples of 16 bits keep the upper eight, and the orientation that the file states (in
// Exif, else in XMP) is applied, as transformers' load_image does. Errors say what was expected and
// what was found; the caller knows the file's name.
absl::StatusOr<Picture> Decode(absl::string_view bytes);

// The two kinds; `orientation` receives Exif's number, 1 (upright) to 8, or 0 where none is said.
absl::StatusOr<Picture> DecodePng(absl::string_view bytes, int* orientation);
absl::StatusOr<Picture> DecodeJpeg(absl::string_view bytes, int* orientation);

// The orientation in a TIFF header as Exif has it, or in an XMP packet; 0 where there is none, 1
// where it makes no sense.
int ExifOrientation(absl::string_view tiff);
int XmpOrientation(absl::string_view packet);
// The picture as it is to be seen.
Picture Upright(Picture picture, int orientation);

// Refuses sizes of nothing, and more than kMostPixels or `most_pixels`, which so short a file
// cannot hold.
absl::Status CheckSize(int64_t width, int64_t height, int64_t most_pixels);

}  // namespace ninfer::image

#endif  // NINFER_IMAGE_PICTURE_H_
