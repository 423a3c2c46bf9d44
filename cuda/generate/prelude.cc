// The texts that stand before the kernels. The first is for cards alone: what the hardware does,
// under names that cuda/host_shim/shim.h has too. The second is plain C++ over these names.
// Tested by tests/cuda_shim_test.cc, tests/cuda_nvrtc_test.cc.
#include "cuda/generate/prelude.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/quantise.h"
#include "cuda/generate/generate.h"

namespace ninfer::cuda {
namespace {

constexpr char kIntrinsics[] = R"cuda(// --- instructions of the card ---

struct bf16 {
  unsigned short bits;
};
struct f16 {
  unsigned short bits;
};

__device__ inline bf16 ToBf16(float x) {  // to nearest even
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
__device__ inline f16 ToF16(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
__device__ inline float Widen(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

// 16 bytes of weights, which are read once and need no place in L1.
__device__ inline uint4 LoadWeights(const uint4* p) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(p));
  return v;
}

// c [16 rows][8 columns] += a [16][16] b [16][8], spread over a warp as mma.m16n8k16 has it: lane l
// holds rows l / 4 and l / 4 + 8 of a and c, column l / 4 of b.
__device__ inline void Mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
)cuda";

constexpr char kPrelude[] = R"cuda(
// --- what all kernels share ---

#define kInfinity __int_as_float(0x7f800000)
#define kNaN __int_as_float(0x7fc00000)

__device__ inline float Widen(float x) { return x; }
__device__ inline float Widen(signed char x) { return (float)x; }
__device__ inline float Widen(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

template <typename T>
__device__ inline T Round(float x);
template <>
__device__ inline float Round<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 Round<bf16>(float x) {
  return ToBf16(x);
}
template <>
__device__ inline f16 Round<f16>(float x) {
  return ToF16(x);
}

// 16 bytes as the numbers that they hold.
__device__ inline void Unpack(uint4 v, float (&y)[4], float) {
  y[0] = __uint_as_float(v.x), y[1] = __uint_as_float(v.y);
  y[2] = __uint_as_float(v.z), y[3] = __uint_as_float(v.w);
}
template <typename T>
__device__ inline void Unpack(uint4 v, float (&y)[8], T) {
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 4; ++i) {
    T low, high;
    low.bits = (unsigned short)(words[i] & 0xffff);
    high.bits = (unsigned short)(words[i] >> 16);
    y[2 * i] = Widen(low), y[2 * i + 1] = Widen(high);
  }
}

__device__ inline void Unpack(uint4 v, float (&y)[16], signed char) {
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 16; ++i) y[i] = (float)(signed char)(words[i / 4] >> 8 * (i % 4));
}

// kCount neighbours: by 16 bytes at a time, at a multiple of these, where they fill them.
template <int kCount, typename T>
__device__ inline void LoadRow(const T* x, float (&y)[kCount]) {
  constexpr int kChunk = 16 / (int)sizeof(T);
  if constexpr (kCount % kChunk == 0) {
    for (int i = 0; i < kCount; i += kChunk) {
      float numbers[kChunk];
      Unpack(*(const uint4*)(x + i), numbers, T{});
      for (int j = 0; j < kChunk; ++j) y[i + j] = numbers[j];
    }
  } else {
    for (int i = 0; i < kCount; ++i) y[i] = Widen(x[i]);
  }
}

// Over the lanes of a warp; all get the result.
__device__ inline float WarpSum(float x) {
  for (int mask = 16; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffffu, x, mask);
  return x;
}
__device__ inline float WarpMax(float x) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, x, mask);
    x = x < other ? other : x;
  }
  return x;
}

// The first of the largest numbers, and its column. A NaN is taken for -inf.
struct Largest {
  float value;
  int column;
};
__device__ inline Largest WarpLargest(float value, int column) {
  Largest largest = {value > -kInfinity ? value : -kInfinity, column};
  for (int mask = 16; mask > 0; mask /= 2) {
    const Largest other = {__shfl_xor_sync(0xffffffffu, largest.value, mask),
                           __shfl_xor_sync(0xffffffffu, largest.column, mask)};
    const bool first = other.value == largest.value && other.column < largest.column;
    if (other.value > largest.value || first) largest = other;
  }
  return largest;
}

// The scale with which numbers up to `most` become integers up to `levels`.
__device__ inline float ScaleOfMost(float most, float levels) {
  const float scale = most / levels;
  return scale >= 1e-30f ? scale : 0.0f;
}
__device__ inline int RoundToScale(float x, float scale, float levels) {
  const float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
  return (int)rintf(fminf(fmaxf(-levels, x * inverse), levels));
}

// Over the threads of a block, warp after warp; `partial` holds a number for each warp.
template <int kWarps>
__device__ inline float BlockSum(float x, float* partial) {
  x = WarpSum(x);
  __syncthreads();  // what is there may still be read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = partial[0];
  for (int warp = 1; warp < kWarps; ++warp) sum += partial[warp];
  return sum;
}
template <int kWarps>
__device__ inline float BlockMax(float x, float* partial) {
  x = WarpMax(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  float most = partial[0];
  for (int warp = 1; warp < kWarps; ++warp) most = most < partial[warp] ? partial[warp] : most;
  return most;
}

// Sine (quarter 0) or cosine (1), reduced in double precision to [-pi/4, pi/4].
__device__ inline float SineOfQuarter(float x, int quarter) {
  const double n = rint((double)x * 0.63661977236758134308);
  double reduced = fma(n, -1.57079632679489655800, (double)x);
  reduced = fma(n, -6.12323399573676603587e-17, reduced);
  const float r = (float)reduced, r2 = r * r;
  const int quadrant = (int)(long long)n + quarter;
  float sine = fmaf(fmaf(-1.9515295891e-4f, r2, 8.3321608736e-3f), r2, -1.6666654611e-1f);
  sine = fmaf(sine * r2, r, r);
  float cosine = fmaf(2.443315711809948e-5f, r2, -1.388731625493765e-3f);
  cosine = fmaf(fmaf(cosine, r2, 4.166664568298827e-2f), r2, -0.5f);
  cosine = fmaf(cosine, r2, 1.0f);
  const float y = quadrant & 1 ? cosine : sine;
  return quadrant & 2 ? -y : y;
}
__device__ inline float Sine(float x) { return SineOfQuarter(x, 0); }
__device__ inline float Cosine(float x) { return SineOfQuarter(x, 1); }

__device__ inline float Sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ inline float Silu(float x) { return x / (1.0f + expf(-x)); }
__device__ inline float Gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}
__device__ inline float GeluTanh(float x) {  // x/2 (1 + tanh u) = x / (1 + e^-2u)
  return x / (1.0f + expf(-1.5957691216f * fmaf(x * x * x, 0.044715f, x)));
}

// The sequence that a row of the step belongs to: the last whose first row is at most this one.
__device__ inline int SequenceOf(const int* seq_bounds, int sequences, int row) {
  int found = 0;
  for (int s = 1; s < sequences; ++s) {
    if (seq_bounds[s] <= row) found = s;
  }
  return found;
}

// Element `column` of row `row` of a weight of floats in tiles of 8 rows by 8 chunks.
template <typename T>
__device__ inline float TileElement(const T* w, int row, int column, int tiles) {
  constexpr int kChunk = 16 / (int)sizeof(T), kTileK = 8 * kChunk;
  const size_t tile = (size_t)(row / 8) * tiles + column / kTileK;
  const int place = (column % kTileK / kChunk) ^ (row % 8);
  return Widen(w[(tile * 64 + row % 8 * 8 + place) * kChunk + column % kChunk]);
}

// sums[h][r] += (16 bytes of weights of tile row h) * (the same columns of x's row r), for the two
// rows of a tile that a lane holds.
template <typename W, int kRows, typename X>
__device__ inline void MultiplyChunks(const uint4 (&w)[2], const X* x, int ld,
                                      float (&sums)[2][kRows]) {
  constexpr int kChunk = 16 / (int)sizeof(W);
  float weights[2][kChunk];
  Unpack(w[0], weights[0], W{});
  Unpack(w[1], weights[1], W{});
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    float values[kChunk];
    LoadRow(x + row * ld, values);
    for (int i = 0; i < kChunk; ++i) {
      sums[0][row] = fmaf(weights[0][i], values[i], sums[0][row]);
      sums[1][row] = fmaf(weights[1][i], values[i], sums[1][row]);
    }
  }
}
)cuda";

constexpr char kIntegers[] = R"cuda(
// --- weights of integers ---

// Schemes: elements of 16 bytes, and the type of a block's entry behind a tile.
struct Int8 {
  static constexpr int kChunk = 16;
  using Entry = unsigned short;
};
struct Int4 {
  static constexpr int kChunk = 32;
  using Entry = unsigned short;
};
struct Int4Shifted {
  static constexpr int kChunk = 32;
  using Entry = unsigned;
};
struct Nu4 {
  static constexpr int kChunk = 32;
  using Entry = unsigned short;
};

template <typename Entry>
__device__ inline float ScaleOf(Entry entry) {
  f16 scale;
  scale.bits = (unsigned short)(entry & 0xffff);
  return Widen(scale);
}

// Four levels of 4 bits, one in each byte, as bytes with their sign.
__device__ inline unsigned SignedBytes(unsigned levels, unsigned, Int4) {
  return ((levels | 0x80808080u) - 0x08080808u) ^ 0x80808080u;
}
__device__ inline unsigned SignedBytes(unsigned levels, unsigned entry, Int4Shifted) {
  return ((levels | 0x80808080u) - (entry >> 16) * 0x01010101u) ^ 0x80808080u;
}
// The places of a table of sixteen: eight in each pair of words.
__device__ inline unsigned SignedBytes(unsigned levels, unsigned, Nu4) {
  const unsigned low = levels & 0x07070707u;
  const unsigned places = (low & 7) | (low >> 4 & 0x70) | (low >> 8 & 0x700) | (low >> 12 & 0x7000);
  const unsigned upper = (levels >> 3 & 0x01010101u) * 0xff;
  const unsigned below = __byte_perm($table0, $table1, places);
  const unsigned above = __byte_perm($table2, $table3, places);
  return (below & ~upper) | (above & upper);
}

// 16 bytes of weights as words of four signed bytes, in the order of K.
__device__ inline void Expand(uint4 v, unsigned, unsigned (&words)[4], Int8) {
  words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
}
template <typename W>
__device__ inline void Expand(uint4 v, unsigned entry, unsigned (&words)[8], W) {
  const unsigned halves[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 4; ++i) {
    words[2 * i] = SignedBytes(halves[i] & 0x0f0f0f0fu, entry, W{});
    words[2 * i + 1] = SignedBytes(halves[i] >> 4 & 0x0f0f0f0fu, entry, W{});
  }
}
__device__ inline float ByteOf(unsigned word, int i) {
  return (float)(signed char)(word >> 8 * i & 0xff);
}

// As MultiplyChunks, against bytes with a scale for each block of 32: exact within the chunk.
template <typename W, int kRows>
__device__ inline void MultiplyIntegers(const uint4 (&w)[2], const unsigned (&entries)[2],
                                        const signed char* x, int ld, const float* scales,
                                        int ld_scales, float (&sums)[2][kRows]) {
  unsigned words[2][W::kChunk / 4];
  Expand(w[0], entries[0], words[0], W{});
  Expand(w[1], entries[1], words[1], W{});
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    int dots[2] = {0, 0};
    for (int i = 0; i < W::kChunk / 16; ++i) {
      const uint4 v = *(const uint4*)(x + row * ld + 16 * i);
      const unsigned values[4] = {v.x, v.y, v.z, v.w};
      for (int j = 0; j < 4; ++j) {
        dots[0] = __dp4a((int)words[0][4 * i + j], (int)values[j], dots[0]);
        dots[1] = __dp4a((int)words[1][4 * i + j], (int)values[j], dots[1]);
      }
    }
    const float scale = scales[row * ld_scales];
    sums[0][row] = fmaf((float)dots[0], ScaleOf(entries[0]) * scale, sums[0][row]);
    sums[1][row] = fmaf((float)dots[1], ScaleOf(entries[1]) * scale, sums[1][row]);
  }
}
// The same against floats, eight columns at a time.
template <typename W, int kRows, typename X>
__device__ inline void MultiplyWidened(const uint4 (&w)[2], const unsigned (&entries)[2],
                                       const X* x, int ld, float (&sums)[2][kRows]) {
  unsigned words[2][W::kChunk / 4];
  Expand(w[0], entries[0], words[0], W{});
  Expand(w[1], entries[1], words[1], W{});
  const float scales[2] = {ScaleOf(entries[0]), ScaleOf(entries[1])};
#pragma unroll
  for (int first = 0; first < W::kChunk; first += 8) {
    float weights[2][8];
    for (int i = 0; i < 8; ++i) {
      weights[0][i] = ByteOf(words[0][(first + i) / 4], i % 4) * scales[0];
      weights[1][i] = ByteOf(words[1][(first + i) / 4], i % 4) * scales[1];
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      float values[8];
      LoadRow(x + row * ld + first, values);
      for (int i = 0; i < 8; ++i) {
        sums[0][row] = fmaf(weights[0][i], values[i], sums[0][row]);
        sums[1][row] = fmaf(weights[1][i], values[i], sums[1][row]);
      }
    }
  }
}

// A block of 32 neighbours, one a lane, rounded to a byte times the block's scale.
__device__ inline int QuantiseLane(float x, float* scale) {
  *scale = ScaleOfMost(WarpMax(fabsf(x)), 127.0f);
  return RoundToScale(x, *scale, 127.0f);
}

// Element `column` of row `row` of a weight of integers, `tile_bytes` from tile to tile.
template <typename W>
__device__ inline float TileInteger(const unsigned char* w, int row, int column, int tiles,
                                    int tile_bytes) {
  constexpr int kTileK = 8 * W::kChunk;
  const unsigned char* tile = w + ((size_t)(row / 8) * tiles + column / kTileK) * tile_bytes;
  const int place = (column % kTileK / W::kChunk) ^ (row % 8), i = column % W::kChunk;
  const typename W::Entry* entries = (const typename W::Entry*)(tile + 1024);
  const unsigned entry = entries[row % 8 * (kTileK / 32) + column % kTileK / 32];
  unsigned words[W::kChunk / 4];
  Expand(*(const uint4*)(tile + row % 8 * 128 + place * 16), entry, words, W{});
  float y = 0.0f;
#pragma unroll
  for (int j = 0; j < W::kChunk; ++j) y = j == i ? ByteOf(words[j / 4], j % 4) : y;
  return y * ScaleOf(entry);
}
)cuda";

// Four of the table's sixteen integers, as bytes of a word.
std::string TableWord(int first) {
  uint32_t word = 0;
  for (int i = 0; i < 4; ++i) {
    word |= uint32_t{static_cast<uint8_t>(kQuantiseTable[first + i])} << (8 * i);
  }
  return absl::StrFormat("0x%08xu", word);
}

}  // namespace

const char* Intrinsics() { return kIntrinsics; }
const char* Prelude() { return kPrelude; }

std::string IntegerPrelude() {
  return absl::StrReplaceAll(kIntegers, {{"$table0", TableWord(0)},
                                         {"$table1", TableWord(4)},
                                         {"$table2", TableWord(8)},
                                         {"$table3", TableWord(12)}});
}

}  // namespace ninfer::cuda
