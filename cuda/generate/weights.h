// How weights lie on the card, and their packing.
//
// A linear's weight [segments][N][K] is cut into tiles of 8 output rows by 128 bytes of K,
//   [N / 8][segment][K / tile_k][8][8 chunks of 16 bytes]
// and in row r of a tile chunk c lies at place c ^ r. Both padded with zeros. So
// - a warp streams its 8 rows from end to end: two 128-bit loads of each lane take a tile of 1 KiB,
//   32 lanes side by side, and a sum crosses 8 lanes alone;
// - a tile is what the tensor cores' loads want without conflicts of banks: the rows of an
// ldmatrix,
//   and the 128-byte swizzle of wgmma's shared memory, which a bulk copy then fills as it lies.
// The panels of the CPU (32 columns side by side) would stream as well, but neither ldmatrix nor
// wgmma can read them.
//
// What is no linear's operand lies as the program says (plain rows).
// Tested by tests/cuda_weights_test.cc.
#ifndef NINFER_CUDA_GENERATE_WEIGHTS_H_
#define NINFER_CUDA_GENERATE_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "program/program.h"

namespace ninfer::cuda {

inline constexpr int64_t kTileRows = 8;
inline constexpr int64_t kTileBytes = 1024;
inline constexpr int64_t kChunkBytes = 16;

// Tiles of a panel format without a scheme.
struct TileLayout {
  int64_t n = 0, k = 0, segments = 1;
  int64_t size = 4;  // bytes of an element

  int64_t chunk() const { return kChunkBytes / size; }  // elements
  int64_t tile_k() const { return 8 * chunk(); }
  int64_t groups() const { return (n + kTileRows - 1) / kTileRows; }
  int64_t tiles() const { return (k + tile_k() - 1) / tile_k(); }  // along K
  int64_t bytes() const { return groups() * segments * tiles() * kTileBytes; }
  // In elements.
  int64_t ElementAt(int64_t segment, int64_t row, int64_t column) const {
    const int64_t tile = (row / kTileRows * segments + segment) * tiles() + column / tile_k();
    const int64_t place = (column % tile_k() / chunk()) ^ (row % kTileRows);
    return (tile * 64 + row % kTileRows * 8 + place) * chunk() + column % chunk();
  }
};
TileLayout TilesOf(formats::Format format, const formats::PackedShape& shape);

// What Generate refuses of a weight's format, too.
bool HasLayout(formats::Format format);
int64_t CardBytes(formats::Format format, const formats::PackedShape& shape);
// Rows [n0, n1) of one segment, given as f32 [n1 - n0, K], into the whole packed weight, which was
// zeroed before.
void PackCardRows(formats::Format format, const formats::PackedShape& shape, int64_t segment,
                  int64_t n0, int64_t n1, const float* rows, void* packed);

// Where each weight of the program begins on the card, and in the end the size of all.
struct WeightPlaces {
  std::vector<int64_t> offsets;  // multiples of 1024
  int64_t bytes = 0;
};
WeightPlaces PlaceWeights(const program::Program& program);

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_WEIGHTS_H_
