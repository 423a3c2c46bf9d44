// What PNG and JPEG share: which of them it is, sizes, Exif's orientation.
#include "image/picture.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace ninfer::image {
namespace {

constexpr absl::string_view kPng("\x89PNG\r\n\x1a\n", 8);
constexpr absl::string_view kJpeg("\xff\xd8\xff", 3);
constexpr int kOrientationTag = 0x0112, kLong = 4;

// A number of a TIFF header, whose byte order the header says; 0 behind its end.
uint32_t Number(absl::string_view tiff, uint64_t at, int bytes) {
  if (at + bytes > tiff.size()) return 0;
  const bool big = tiff[0] == 'M';
  uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) {
    const auto byte = static_cast<uint8_t>(tiff[at + (big ? i : bytes - 1 - i)]);
    value = value << 8 | byte;
  }
  return value;
}

std::string FirstBytes(absl::string_view bytes) {
  std::string text;
  for (char c : bytes.substr(0, 4)) absl::StrAppendFormat(&text, " %02x", static_cast<uint8_t>(c));
  return text.empty() ? " nothing" : text;
}

}  // namespace

absl::StatusOr<Picture> Decode(absl::string_view bytes) {
  int orientation = 1;
  if (absl::StartsWith(bytes, kPng)) {
    NINFER_ASSIGN_OR_RETURN(Picture picture, DecodePng(bytes, &orientation));
    return Upright(std::move(picture), orientation);
  }
  if (absl::StartsWith(bytes, kJpeg)) {
    NINFER_ASSIGN_OR_RETURN(Picture picture, DecodeJpeg(bytes, &orientation));
    return Upright(std::move(picture), orientation);
  }
  return InvalidArgument("expected a PNG or a JPEG, found a file that begins with",
                         FirstBytes(bytes));
}

int ExifOrientation(absl::string_view tiff) {
  if (tiff.size() < 8 || (tiff.substr(0, 2) != "II" && tiff.substr(0, 2) != "MM")) return 0;
  if (Number(tiff, 2, 2) != 42) return 0;
  const uint64_t directory = Number(tiff, 4, 4);
  const uint32_t entries = Number(tiff, directory, 2);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + uint64_t{12} * i;
    if (entry + 12 > tiff.size()) break;
    if (Number(tiff, entry, 2) != kOrientationTag) continue;
    const uint32_t value = Number(tiff, entry + 8, Number(tiff, entry + 2, 2) == kLong ? 4 : 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 0;
}

// As an attribute or an element, found as Pillow finds it.
int XmpOrientation(absl::string_view packet) {
  constexpr absl::string_view kName = "tiff:Orientation";
  for (size_t at = packet.find(kName); at != packet.npos; at = packet.find(kName, at)) {
    at += kName.size();
    absl::string_view rest = packet.substr(at);
    if (!absl::ConsumePrefix(&rest, "=\"") && !absl::ConsumePrefix(&rest, ">")) continue;
    if (rest.empty() || !absl::ascii_isdigit(rest[0])) continue;
    return rest[0] >= '1' && rest[0] <= '8' ? rest[0] - '0' : 1;
  }
  return 0;
}

// Orientations 5 to 8 lie on their side; of the others, and of the columns and rows they come from,
// each is turned round or not.
Picture Upright(Picture picture, int orientation) {
  if (orientation <= 1 || orientation > 8) return picture;
  const bool swapped = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Picture turned;
  turned.width = swapped ? picture.height : picture.width;
  turned.height = swapped ? picture.width : picture.height;
  turned.pixels.resize(picture.pixels.size());
  uint8_t* to = turned.pixels.data();
  for (int64_t y = 0; y < turned.height; ++y) {
    for (int64_t x = 0; x < turned.width; ++x, to += 3) {
      int64_t from_x = swapped ? y : x, from_y = swapped ? x : y;
      if (flip_x) from_x = picture.width - 1 - from_x;
      if (flip_y) from_y = picture.height - 1 - from_y;
      const uint8_t* from = &picture.pixels[(from_y * picture.width + from_x) * 3];
      for (int c = 0; c < 3; ++c) to[c] = from[c];
    }
  }
  return turned;
}

absl::Status CheckSize(int64_t width, int64_t height, int64_t most_pixels) {
  if (width < 1 || height < 1) {
    return InvalidArgument("expected a picture, found ", width, " by ", height, " pixels");
  }
  if (width > kMostPixels / height) {
    return InvalidArgument("expected at most ", kMostPixels, " pixels, found ", width, " by ",
                           height);
  }
  if (width * height > most_pixels) {
    return InvalidArgument("expected the bytes of ", width, " by ", height,
                           " pixels, found a file too short for them");
  }
  return absl::OkStatus();
}

}  // namespace ninfer::image
