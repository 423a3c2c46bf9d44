// JPEG through libjpeg-turbo, with its own way of failing (longjmp) kept inside: nothing that has a
// destructor lives in a frame that is jumped over. A file that ends before its pixels do is
// refused, as Pillow does; libjpeg alone would paint the rest grey. Tested by
// tests/image_decode_test.cc.
#include <cstdio>
// libjpeg's header wants <cstdio> before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <string>
#include <utility>

#include "absl/strings/strip.h"
#include "base/status.h"
#include "image/picture.h"

namespace ninfer::image {
namespace {

// The largest component has at least one bit for each of its blocks of 64.
constexpr int64_t kMostPixelsPerByte = 512;
constexpr int kMostScans = 500;  // a progressive picture has ten or so
constexpr absl::string_view kExif("Exif\0\0", 6);
constexpr absl::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);

struct Errors {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  bool in_header = true;  // the picture's own properties cannot be asked for yet
  char message[JMSG_LENGTH_MAX] = "";
};

void Fail(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  jpeg->err->format_message(jpeg, errors->message);
  std::longjmp(errors->jump, 1);
}

// Warnings are of damaged data: libjpeg would go on with what it guesses. That the mark of the end
// is missing is none by itself where there is one scan: another follows where pixels are missing.
void Warn(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  const bool in_header = reinterpret_cast<Errors*>(jpeg->err)->in_header;
  const bool ends = jpeg->err->msg_code == JWRN_JPEG_EOF;
  if (ends && !in_header && !jpeg_has_multiple_scans(decompress)) return;
  Fail(jpeg);
}

void CountScans(j_common_ptr jpeg) {
  auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  if (decompress->input_scan_number <= kMostScans) return;
  std::snprintf(errors->message, sizeof(errors->message), "more than %d scans", kMostScans);
  std::longjmp(errors->jump, 1);
}

bool ReadHeader(jpeg_decompress_struct* jpeg, absl::string_view bytes, Errors* errors) {
  if (setjmp(errors->jump)) return false;
  jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
  jpeg_mem_src(jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(jpeg, TRUE);
  errors->in_header = false;
  const bool inks = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = inks ? JCS_CMYK : JCS_RGB;
  jpeg_calc_output_dimensions(jpeg);
  return true;
}

bool ReadRows(jpeg_decompress_struct* jpeg, uint8_t* pixels, size_t row_bytes, Errors* errors) {
  if (setjmp(errors->jump)) return false;
  jpeg_start_decompress(jpeg);
  while (jpeg->output_scanline < jpeg->output_height) {
    JSAMPROW row = pixels + jpeg->output_scanline * row_bytes;
    jpeg_read_scanlines(jpeg, &row, 1);
  }
  return true;  // the mark of the end may be missing
}

// Of inks to colours with Pillow's integers. As Adobe stores them, 255 is no ink; Pillow takes
// every file for one of Adobe's, whether or not a marker says so.
std::vector<uint8_t> FromInks(const std::vector<uint8_t>& inks) {
  std::vector<uint8_t> colours(inks.size() / 4 * 3);
  for (size_t i = 0; i < inks.size() / 4; ++i) {
    const auto ink = [&](size_t c) -> int { return 255 - inks[i * 4 + c]; };
    const int white = 255 - ink(3);
    for (size_t c = 0; c < 3; ++c) {
      const int product = ink(c) * white + 128;
      const int covered = ((product >> 8) + product) >> 8;
      colours[i * 3 + c] = static_cast<uint8_t>(std::clamp(white - covered, 0, 255));
    }
  }
  return colours;
}

int OrientationOf(const jpeg_decompress_struct& jpeg) {
  int exif = 0, xmp = 0;
  for (const auto* marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
    absl::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (exif == 0 && absl::ConsumePrefix(&data, kExif)) exif = ExifOrientation(data);
    if (xmp == 0 && absl::ConsumePrefix(&data, kXmp)) xmp = XmpOrientation(data);
  }
  return exif != 0 ? exif : xmp;
}

absl::StatusOr<Picture> ReadPicture(jpeg_decompress_struct* jpeg, absl::string_view bytes,
                                    Errors* errors, int* orientation) {
  if (!ReadHeader(jpeg, bytes, errors)) return InvalidArgument("JPEG: ", errors->message);
  const int64_t width = jpeg->output_width, height = jpeg->output_height;
  const auto most = static_cast<int64_t>(bytes.size()) * kMostPixelsPerByte;
  NINFER_RETURN_IF_ERROR(Annotate(CheckSize(width, height, most), "JPEG"));
  *orientation = OrientationOf(*jpeg);
  const bool inks = jpeg->out_color_space == JCS_CMYK;
  const size_t row_bytes = static_cast<size_t>(width) * jpeg->output_components;
  Picture picture{width, height, std::vector<uint8_t>(row_bytes * height)};
  if (!ReadRows(jpeg, picture.pixels.data(), row_bytes, errors)) {
    return InvalidArgument("JPEG: ", errors->message);
  }
  if (inks) picture.pixels = FromInks(picture.pixels);
  return picture;
}

}  // namespace

absl::StatusOr<Picture> DecodeJpeg(absl::string_view bytes, int* orientation) {
  jpeg_decompress_struct jpeg;
  Errors errors;
  jpeg.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = &Fail;
  errors.manager.emit_message = &Warn;
  jpeg_create_decompress(&jpeg);
  jpeg_progress_mgr progress{};
  progress.progress_monitor = &CountScans;
  jpeg.progress = &progress;
  absl::StatusOr<Picture> picture = ReadPicture(&jpeg, bytes, &errors, orientation);
  jpeg_destroy_decompress(&jpeg);
  return picture;
}

}  // namespace ninfer::image
