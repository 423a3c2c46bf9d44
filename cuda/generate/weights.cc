// See weights.h.
// Tested by tests/cuda_weights_test.cc.
#include "cuda/generate/weights.h"

#include <algorithm>

#include "cuda/generate/text.h"

namespace ninfer::cuda {

namespace {

// Element i of a chunk's 16 bytes.
void StoreInteger(const QuantiseScheme& scheme, uint8_t* chunk, int64_t i, int integer, int zero) {
  if (scheme.bits == 8) {
    chunk[i] = static_cast<uint8_t>(integer);
    return;
  }
  uint8_t& byte = chunk[i / 8 * 4 + i % 4];
  byte = static_cast<uint8_t>(byte | LevelOf(scheme, integer, zero) << (i % 8 / 4 * 4));
}

void PackGroup(const QuantiseScheme& scheme, const TileLayout& layout, int64_t segment, int64_t n,
               int64_t k, int64_t count, const float* values, uint8_t* bytes) {
  std::vector<int8_t> integers(count);
  const QuantisedGroup group = QuantiseGroup(scheme, values, count, integers.data());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t column = k + i;
    StoreInteger(scheme, bytes + layout.ChunkAt(segment, n, column), column % layout.chunk(),
                 integers[i], group.zero);
    if (i % kQuantiseBlock != 0) continue;
    uint8_t* entry = bytes + layout.EntryAt(segment, n, column);
    ConvertFromFloat(&group.scale, DType::kF16, entry, 1);
    if (layout.entry_bytes > 2) entry[2] = static_cast<uint8_t>(group.zero);
  }
}

}  // namespace

TileLayout TilesOf(formats::Format format, const formats::PackedShape& shape) {
  const formats::FormatInfo& info = formats::InfoOf(format);
  TileLayout layout{shape.n, shape.k, shape.segments, 8 * DTypeSize(info.dtype), 0};
  if (info.scheme != nullptr) {
    layout.bits = info.scheme->bits;
    layout.entry_bytes = info.scheme->grid == QuantiseGrid::kShifted ? 4 : 2;
  }
  return layout;
}

int64_t CardBytes(formats::Format format, const formats::PackedShape& shape) {
  if (!formats::InfoOf(format).is_panel) return formats::PackedBytes(format, shape);
  return TilesOf(format, shape).bytes();
}

void PackCardRows(formats::Format format, const formats::PackedShape& shape, int64_t segment,
                  int64_t n0, int64_t n1, const float* rows, void* packed) {
  const formats::FormatInfo& info = formats::InfoOf(format);
  if (!info.is_panel) return formats::PackRows(format, shape, segment, n0, n1, rows, packed);
  const TileLayout layout = TilesOf(format, shape);
  const int64_t group = info.scheme == nullptr ? layout.chunk() : info.scheme->GroupOf(shape.k);
  uint8_t* bytes = static_cast<uint8_t*>(packed);
  for (int64_t n = n0; n < n1; ++n, rows += shape.k) {
    for (int64_t k = 0; k < shape.k; k += group) {
      const int64_t count = std::min(group, shape.k - k);
      if (info.scheme != nullptr) {
        PackGroup(*info.scheme, layout, segment, n, k, count, rows + k, bytes);
      } else {
        ConvertFromFloat(rows + k, info.dtype, bytes + layout.ChunkAt(segment, n, k), count);
      }
    }
  }
}

std::string ElementName(formats::Format format) {
  const formats::FormatInfo& info = formats::InfoOf(format);
  if (info.scheme == nullptr) return TypeName(info.dtype);
  if (info.scheme->bits == 8) return "Int8";
  switch (info.scheme->grid) {
    case QuantiseGrid::kSymmetric:
      return "Int4";
    case QuantiseGrid::kShifted:
      return "Int4Shifted";
    case QuantiseGrid::kTable:
      return "Nu4";
  }
  return "";
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
