// How keys and values lie on the card. A page holds 64 positions of every KV head; head g's part:
// - keys [head_dim / chunk][64][chunk]: 16 bytes of neighbouring columns of one position, so that
//   a lane for each position reads 128 bits at a time, side by side, and no sum of a score crosses
//   lanes; the same eight positions by 16 bytes are what ldmatrix reads;
// - values [64][head_dim]: a position's columns are read side by side by neighbouring lanes;
// - of i8, float [2][64]: the scales of the keys' rows, then of the values' (kCacheScheme).
// `chunk` is as many elements as 16 bytes hold, or 1 where head_dim is no multiple of that. What
// lies behind a text's last position is never read, so that pages need no zeroing.
// Tested by tests/cuda_shim_test.cc.
#ifndef NINFER_CUDA_GENERATE_KV_LAYOUT_H_
#define NINFER_CUDA_GENERATE_KV_LAYOUT_H_

#include <cstdint>

#include "program/program.h"

namespace ninfer::cuda {

struct KvPage {
  explicit KvPage(const program::KvLayout& kv)
      : heads(kv.heads),
        head_dim(kv.head_dim),
        size(DTypeSize(kv.dtype)),
        integers(kv.integers()) {}
  int64_t heads, head_dim, size;
  bool integers;

  static constexpr int64_t kPositions = program::KvLayout::kPagePositions;
  int64_t chunk() const { return head_dim * size % 16 == 0 ? 16 / size : 1; }
  int64_t part() const { return kPositions * head_dim; }  // elements of a head's keys, or values
  // Of a head; an element of integers is a byte.
  int64_t head() const { return 2 * part() + (integers ? 2 * kPositions * int64_t{4} : 0); }
  int64_t elements() const { return heads * head(); }
  int64_t bytes() const { return elements() * size; }
};

}  // namespace ninfer::cuda

#endif  // NINFER_CUDA_GENERATE_KV_LAYOUT_H_
