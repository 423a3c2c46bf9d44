// PNG through libpng, with its own way of failing (longjmp) kept inside: nothing that has a
// destructor lives in a frame that is jumped over. Tested by tests/image_decode_test.cc.
#include "png.h"

#include <csetjmp>
#include <cstring>
#include <string>
#include <utility>

#include "base/status.h"
#include "image/picture.h"

namespace ninfer::image {
namespace {

constexpr int64_t kMostDeflated = 1032;  // bytes that zlib makes of one
constexpr int kChannels = 4;
constexpr absl::string_view kXmp = "XML:com.adobe.xmp";  // the key of a text that is an XMP packet

struct Reader {
  absl::string_view bytes;
  size_t at = 0;
  char message[160] = "";
};

void Fail(png_structp png, png_const_charp message) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(reader->message, message, sizeof(reader->message) - 1);
  png_longjmp(png, 1);
}

void Ignore(png_structp, png_const_charp) {}

void Read(png_structp png, png_bytep to, size_t count) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader->bytes.size() - reader->at) png_error(png, "the file ends too early");
  std::memcpy(to, reader->bytes.data() + reader->at, count);
  reader->at += count;
}

bool ReadHeader(png_structp png, png_infop info, png_uint_32* width, png_uint_32* height,
                int64_t* bits) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
  png_read_info(png, info);
  *width = png_get_image_width(png, info);
  *height = png_get_image_height(png, info);
  *bits = int64_t{png_get_bit_depth(png, info)} * png_get_channels(png, info);
  return true;
}

// The transformations that give eight-bit red, green, blue, alpha. Takes memory for rows.
bool Transform(png_structp png, png_infop info) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_gray_to_rgb(png);
  png_set_add_alpha(png, 0xff, PNG_FILLER_AFTER);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  return true;
}

bool ReadRows(png_structp png, uint8_t** rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_read_image(png, rows);
  return true;
}

// What stands behind the pixels, as far as it is there.
void ReadEnd(png_structp png, png_infop info) {
  if (setjmp(png_jmpbuf(png))) return;
  png_read_end(png, info);
}

// Over white, with the integers that Pillow's alpha_composite uses.
uint8_t OverWhite(int colour, int alpha) {
  if (alpha == 0) return 255;
  constexpr int kBits = 7;
  const int weight = alpha << kBits;
  const int sum = colour * weight + 255 * ((255 << kBits) - weight) + (0x80 << kBits);
  return static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> kBits);
}

int OrientationOf(png_structp png, png_infop info) {
  png_bytep exif = nullptr;
  png_uint_32 bytes = 0;
  if (png_get_eXIf_1(png, info, &bytes, &exif) != 0 && exif != nullptr) {
    const int said = ExifOrientation({reinterpret_cast<const char*>(exif), bytes});
    if (said != 0) return said;
  }
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(png, info, &texts, &count);
  for (int i = 0; i < count; ++i) {
    if (texts[i].text == nullptr || absl::string_view(texts[i].key) != kXmp) continue;
    return XmpOrientation(texts[i].text);
  }
  return 0;
}

absl::StatusOr<Picture> ReadPicture(png_structp png, png_infop info, Reader& reader,
                                    int* orientation) {
  png_uint_32 width = 0, height = 0;
  int64_t bits = 1;
  if (!ReadHeader(png, info, &width, &height, &bits)) {
    return InvalidArgument("PNG: ", reader.message);
  }
  const auto most = static_cast<int64_t>(reader.bytes.size()) * kMostDeflated * 8 / bits;
  NINFER_RETURN_IF_ERROR(Annotate(CheckSize(width, height, most), "PNG"));
  if (!Transform(png, info)) return InvalidArgument("PNG: ", reader.message);
  if (png_get_rowbytes(png, info) != size_t{width} * kChannels) {
    return InvalidArgument("PNG: expected rows of ", width, " pixels of four bytes, found ",
                           png_get_rowbytes(png, info), " bytes");
  }
  std::vector<uint8_t> pixels(size_t{width} * height * kChannels);
  std::vector<uint8_t*> rows(height);
  for (size_t y = 0; y < height; ++y) rows[y] = pixels.data() + y * width * kChannels;
  if (!ReadRows(png, rows.data())) return InvalidArgument("PNG: ", reader.message);
  ReadEnd(png, info);
  *orientation = OrientationOf(png, info);
  Picture picture{width, height, {}};
  picture.pixels.resize(size_t{width} * height * 3);
  for (size_t i = 0; i < size_t{width} * height; ++i) {
    const uint8_t* from = &pixels[i * kChannels];
    for (int c = 0; c < 3; ++c) picture.pixels[i * 3 + c] = OverWhite(from[c], from[3]);
  }
  return picture;
}

}  // namespace

absl::StatusOr<Picture> DecodePng(absl::string_view bytes, int* orientation) {
  Reader reader{bytes};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, &Fail, &Ignore);
  png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    return absl::ResourceExhaustedError("PNG: no memory");
  }
  png_set_read_fn(png, &reader, &Read);
  absl::StatusOr<Picture> picture = ReadPicture(png, info, reader, orientation);
  png_destroy_read_struct(&png, &info, nullptr);
  return picture;
}

}  // namespace ninfer::image
