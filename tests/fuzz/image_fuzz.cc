// Any bytes as a picture: refused or read, and what was read has the pixels that it claims. The
// checksums of PNG's chunks are mended, so that mutations reach what stands behind them.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "image/picture.h"
#include "image/processor.h"
#include "zlib.h"

namespace {

constexpr size_t kSignature = 8;

uint32_t BigEndian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

std::string WithChecksums(std::string png) {
  size_t at = kSignature;
  while (at + 12 <= png.size()) {
    const uint64_t length = BigEndian(png, at);
    if (length > png.size() - at - 12) break;
    const auto* chunk = reinterpret_cast<const Bytef*>(png.data() + at + 4);
    const auto sum = static_cast<uint32_t>(crc32(0, chunk, static_cast<uInt>(length + 4)));
    for (int i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
  return png;
}

void Read(absl::string_view bytes) {
  const auto picture = ninfer::image::Decode(bytes);
  if (!picture.ok()) return;
  const int64_t pixels = picture->width * picture->height;
  if (pixels < 1 || picture->pixels.size() != static_cast<size_t>(pixels) * 3) std::abort();
  if (pixels > 10000) return;
  ninfer::image::ProcessorSettings settings;
  settings.longest_edge = 32;
  settings.max_image_size = 16;
  const auto frames = ninfer::image::Process(*picture, settings);
  if (frames.ok() && frames->pixels.size() != static_cast<size_t>(frames->count()) * 3 * 256) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Read(bytes);
  if (size > kSignature && bytes[0] == '\x89') Read(WithChecksums(bytes));
  return 0;
}
