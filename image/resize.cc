// Separable: one direction, rounded to bytes, then the other. An output pixel is a weighted sum of
// the input pixels under the filter, which is stretched where the picture shrinks. Weights are
// integers of 22 bits behind the point, as in Pillow's Resample.c, so that results are the same to
// the bit.
#include "image/resize.h"

#include <algorithm>
#include <cmath>

namespace ninfer::image {
namespace {

constexpr int kBits = 32 - 8 - 2;  // a byte, and two bits for the negative lobes' overshoot
constexpr double kSupport = 3;
constexpr double kPi = 3.14159265358979323846;

double Sinc(double x) { return x == 0 ? 1 : std::sin(x * kPi) / (x * kPi); }
double Lanczos(double x) {
  return x >= -kSupport && x < kSupport ? Sinc(x) * Sinc(x / kSupport) : 0;
}

// The input pixels under one output pixel.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

std::vector<Taps> TapsOf(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0), support = kSupport * stretch;
  std::vector<Taps> all(to);
  std::vector<double> weights;
  for (int64_t i = 0; i < to; ++i) {
    const double middle = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(middle - support + 0.5), 0);
    const int64_t end = std::min(static_cast<int64_t>(middle + support + 0.5), from);
    weights.clear();
    double sum = 0;
    for (int64_t x = first; x < end; ++x) {
      weights.push_back(Lanczos((static_cast<double>(x) - middle + 0.5) * (1.0 / stretch)));
      sum += weights.back();
    }
    all[i].first = first;
    for (double weight : weights) {
      if (sum != 0) weight /= sum;
      const double scaled = weight * (1 << kBits);
      all[i].weights.push_back(static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return all;
}

// `stride` bytes lie between an input pixel's byte and the next one's.
uint8_t Sum(const Taps& taps, const uint8_t* from, int64_t stride) {
  from += taps.first * stride;
  int64_t sum = int64_t{1} << (kBits - 1);
  for (int32_t weight : taps.weights) {
    sum += int64_t{weight} * *from;
    from += stride;
  }
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> kBits, 0, 255));
}

Picture ResizeColumns(const Picture& picture, int64_t width) {
  const std::vector<Taps> taps = TapsOf(picture.width, width);
  Picture result{width, picture.height, {}};
  result.pixels.resize(width * picture.height * 3);
  uint8_t* to = result.pixels.data();
  for (int64_t y = 0; y < picture.height; ++y) {
    const uint8_t* row = &picture.pixels[y * picture.width * 3];
    for (int64_t x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) *to++ = Sum(taps[x], row + c, 3);
    }
  }
  return result;
}

Picture ResizeRows(const Picture& picture, int64_t height) {
  const std::vector<Taps> taps = TapsOf(picture.height, height);
  const int64_t row_bytes = picture.width * 3;
  Picture result{picture.width, height, {}};
  result.pixels.resize(row_bytes * height);
  uint8_t* to = result.pixels.data();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < row_bytes; ++x) {
      *to++ = Sum(taps[y], &picture.pixels[x], row_bytes);
    }
  }
  return result;
}

}  // namespace

Picture Resize(const Picture& picture, int64_t width, int64_t height) {
  if (width == picture.width && height == picture.height) return picture;
  if (height == picture.height) return ResizeColumns(picture, width);
  if (width == picture.width) return ResizeRows(picture, height);
  // Pillow's rule from version 13 on: rows first where they become fewer by far.
  const int64_t fewer = picture.height - height;
  if (fewer > 0 && fewer > 2 * (picture.width - width)) {
    return ResizeColumns(ResizeRows(picture, height), width);
  }
  return ResizeRows(ResizeColumns(picture, width), height);
}

}  // namespace ninfer::image
