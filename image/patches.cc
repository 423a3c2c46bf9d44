// See patches.h.
#include "image/patches.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace ninfer::image {
namespace {

class Cutter {
 public:
  Cutter(absl::Span<const float> frame, absl::Span<const uint8_t> mask, int64_t edge,
         const PatchGeometry& geometry)
      : frame_(frame), mask_(mask), edge_(edge), g_(geometry), side_(edge / geometry.patch_size) {}

  absl::StatusOr<Patches> Cut() {
    FindReal();
    if (real_count_ == 0) return InvalidArgument("frame: expected pixels, found padding alone");
    Patches out;
    std::vector<int32_t> place(side_ * side_);  // in the order of rows
    for (const bool real : {true, false}) {
      for (int64_t i = 0; i < side_ * side_; ++i) {
        if (real_[i] != real) continue;
        place[i] = static_cast<int32_t>(out.patch_ids.size());
        AppendPixels(i / side_, i % side_, out.pixels);
        out.patch_ids.push_back(real ? PatchId(i / side_, i % side_) : 0);
      }
    }
    out.visible.assign(side_ * side_, static_cast<int32_t>(real_count_ - 1));
    const int64_t scale = g_.scale_factor;
    for (int64_t y = 0; y < side_; y += scale) {
      for (int64_t x = 0; x < side_; x += scale) {
        for (int64_t i = 0; i < scale * scale; ++i) {
          out.shuffle.push_back(place[(y + i / scale) * side_ + x + i % scale]);
        }
      }
    }
    return out;
  }

 private:
  void FindReal() {
    real_.assign(side_ * side_, mask_.empty());
    for (int64_t i = 0; i < static_cast<int64_t>(mask_.size()); ++i) {
      const int64_t y = i / edge_ / g_.patch_size, x = i % edge_ / g_.patch_size;
      if (mask_[i] != 0 && y < side_ && x < side_) real_[y * side_ + x] = true;
    }
    real_count_ = std::count(real_.begin(), real_.end(), true);
    // As many as the first column and the first row have.
    for (int64_t i = 0; i < side_; ++i) {
      real_rows_ += real_[i * side_];
      real_cols_ += real_[i];
    }
  }

  void AppendPixels(int64_t row, int64_t col, std::vector<float>& pixels) const {
    const int64_t patch = g_.patch_size;
    for (int64_t c = 0; c < g_.channels; ++c) {
      for (int64_t y = 0; y < patch; ++y) {
        const float* from = frame_.data() + (c * edge_ + row * patch + y) * edge_ + col * patch;
        pixels.insert(pixels.end(), from, from + patch);
      }
    }
  }

  // How many of the boundaries 1/grid, 2/grid, ... below 1 lie at or before the i-th of `count`
  // places, all in f32 as torch.arange and torch.bucketize have them.
  int64_t Bucket(int64_t i, int64_t count) const {
    const float step = 1.0f / static_cast<float>(std::max<int64_t>(count, 1));
    const float at = std::min(static_cast<float>(i) * step, static_cast<float>(1.0 - 1e-6));
    const double width = 1.0 / static_cast<double>(g_.grid);
    int64_t bucket = 0;
    // torch.arange(width, 1, width) has ceil((1 - width) / width) numbers, and makes each in
    // double.
    const auto boundaries = static_cast<int64_t>(std::ceil((1.0 - width) / width));
    while (bucket < boundaries &&
           static_cast<float>(width + static_cast<double>(bucket) * width) <= at) {
      ++bucket;
    }
    return bucket;
  }

  int32_t PatchId(int64_t row, int64_t col) const {
    return static_cast<int32_t>(Bucket(row, real_rows_) * g_.grid + Bucket(col, real_cols_));
  }

  absl::Span<const float> frame_;
  absl::Span<const uint8_t> mask_;
  const int64_t edge_;
  const PatchGeometry& g_;
  const int64_t side_;  // patches on a side of the frame
  std::vector<bool> real_;
  int64_t real_count_ = 0, real_rows_ = 0, real_cols_ = 0;
};

}  // namespace

absl::StatusOr<Patches> CutPatches(absl::Span<const float> frame, absl::Span<const uint8_t> mask,
                                   int64_t edge, const PatchGeometry& geometry) {
  const int64_t block = geometry.patch_size * geometry.scale_factor;
  if (edge < block || edge % block != 0 || edge / geometry.patch_size > geometry.grid) {
    return InvalidArgument("frame: expected an edge of at most ",
                           geometry.grid * geometry.patch_size, " that ", block, " divides, found ",
                           edge);
  }
  const auto pixels = static_cast<uint64_t>(edge) * edge;
  if (frame.size() != pixels * geometry.channels || (!mask.empty() && mask.size() != pixels)) {
    return InvalidArgument("frame: expected ", pixels, " pixels of ", geometry.channels,
                           " numbers and a mask of as many, found ", frame.size(), " and ",
                           mask.size());
  }
  return Cutter(frame, mask, edge, geometry).Cut();
}

}  // namespace ninfer::image
