// See weights.h.
// Tested by tests/cuda_weights_test.cc.
#include "cuda/generate/weights.h"

#include "base/status.h"

namespace ninfer::cuda {

bool HasLayout(formats::Format format) { return formats::InfoOf(format).scheme == nullptr; }

TileLayout TilesOf(formats::Format format, const formats::PackedShape& shape) {
  return {shape.n, shape.k, shape.segments, DTypeSize(formats::InfoOf(format).dtype)};
}

int64_t CardBytes(formats::Format format, const formats::PackedShape& shape) {
  if (!formats::InfoOf(format).is_panel) return formats::PackedBytes(format, shape);
  return TilesOf(format, shape).bytes();
}

void PackCardRows(formats::Format format, const formats::PackedShape& shape, int64_t segment,
                  int64_t n0, int64_t n1, const float* rows, void* packed) {
  const formats::FormatInfo& info = formats::InfoOf(format);
  if (!info.is_panel) return formats::PackRows(format, shape, segment, n0, n1, rows, packed);
  NINFER_CHECK(HasLayout(format)) << std::string(info.name);
  const TileLayout layout = TilesOf(format, shape);
  uint8_t* bytes = static_cast<uint8_t*>(packed);
  for (int64_t n = n0; n < n1; ++n, rows += shape.k) {
    for (int64_t k = 0; k < shape.k; k += layout.chunk()) {
      const int64_t count = std::min(layout.chunk(), shape.k - k);
      ConvertFromFloat(rows + k, info.dtype, bytes + layout.ElementAt(segment, n, k) * layout.size,
                       count);
    }
  }
}

WeightPlaces PlaceWeights(const program::Program& program) {
  WeightPlaces places;
  for (const program::PackedWeight& weight : program.weights) {
    places.offsets.push_back(places.bytes);
    const int64_t bytes = CardBytes(weight.format, weight.shape);
    places.bytes += (bytes + kTileBytes - 1) / kTileBytes * kTileBytes;
  }
  return places;
}

}  // namespace ninfer::cuda
