// How weights lie on the card, and their packing.
//
// A linear's weight [segments][N][K] is cut into tiles of 8 output rows by 128 bytes of K,
//   [N / 8][segment][K / tile_k][8][8 chunks of 16 bytes]
// and in row r of a tile chunk c lies at place c ^ r. Both padded with zeros. So
// - a warp streams its 8 rows from end to end: two 128-bit loads of each lane take a tile of 1 KiB,
//   32 lanes side by side, and a sum crosses 8 lanes alone;
// - a tile is what the tensor cores' loads want without conflicts of banks: the rows of ldmatrix,
//   and the 128-byte swizzle of wgmma's shared memory, which a bulk copy then fills as it lies.
// The panels of the CPU (32 columns side by side) would stream as well, but neither ldmatrix nor
// wgmma can read them.
//
// Integers (formats with a scheme) lie likewise, 128 bytes of a row's K to a tile: of 8 bits with
// their sign; of 4 bits their levels, where byte i of a word holds element i of eight in its low
// half and element i + 4 in its high one. Behind a tile's bytes stand, row by row, an entry for
// each block of 32 of its K: the scale in f16 and, of shifted groups, the zero in 16 bits. One
// stream holds both.
//
// What is no linear's operand lies as the program says (plain rows).
// Tested by tests/cuda_weights_test.cc.
#ifndef NINFER_CUDA_GENERATE_WEIGHTS_H_
#define NINFER_CUDA_GENERATE_WEIGHTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/quantise.h"
#include "program/program.h"

namespace ninfer::cuda {

inline constexpr int64_t kTileRows = 8;
inline constexpr int64_t kTileBytes = 1024;
inline constexpr int64_t kChunkBytes = 16;

// Tiles of a panel format.
struct TileLayout {
  int64_t n = 0, k = 0, segments = 1;
  int64_t bits = 32;        // of an element
  int64_t entry_bytes = 0;  // of a block's entry; 0: none

  int64_t chunk() const { return 8 * kChunkBytes / bits; }  // elements
  int64_t tile_k() const { return 8 * chunk(); }
  int64_t blocks() const { return tile_k() / kQuantiseBlock; }  // of a row of a tile
  int64_t tile_bytes() const { return kTileBytes + kTileRows * blocks() * entry_bytes; }
  int64_t groups() const { return (n + kTileRows - 1) / kTileRows; }
  int64_t tiles() const { return (k + tile_k() - 1) / tile_k(); }  // along K
  int64_t bytes() const { return groups() * segments * tiles() * tile_bytes(); }
  int64_t TileAt(int64_t segment, int64_t row, int64_t column) const {
    return ((row / kTileRows * segments + segment) * tiles() + column / tile_k()) * tile_bytes();
  }
  // The byte where the element's chunk begins; it is element column % chunk() there.
  int64_t ChunkAt(int64_t segment, int64_t row, int64_t column) const {
    const int64_t place = (column % tile_k() / chunk()) ^ (row % kTileRows);
    return TileAt(segment, row, column) + row % kTileRows * 128 + place * kChunkBytes;
  }
  int64_t EntryAt(int64_t segment, int64_t row, int64_t column) const {
    const int64_t block = column % tile_k() / kQuantiseBlock;
    return TileAt(segment, row, column) + kTileBytes +
           (row % kTileRows * blocks() + block) * entry_bytes;
  }
};
TileLayout TilesOf(formats::Format format, const formats::PackedShape& shape);

int64_t CardBytes(formats::Format format, const formats::PackedShape& shape);
// Rows [n0, n1) of one segment, given as f32 [n1 - n0, K], into the whole packed weight, which was
// zeroed before.
void PackCardRows(formats::Format format, const formats::PackedShape& shape, int64_t segment,
                  int64_t n0, int64_t n1, const float* rows, void* packed);

// What the generated source calls a format's elements: "bf16", "Int4Shifted".
std::string ElementName(formats::Format format);

// Where each weight of the program begins on the card, and in the end the size of all.
struct WeightPlaces {
  std::vector<int64_t> offsets;  // multiples of 1024
  int64_t bytes = 0;
};
WeightPlaces PlaceWeights(const program::Program& program);

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_WEIGHTS_H_
