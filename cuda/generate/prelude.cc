// The texts that stand before the kernels. The first is for cards alone: what the hardware does,
// under names that cuda/host_shim/shim.h has too. The second is plain C++ over these names.
// Tested by tests/cuda_shim_test.cc, tests/cuda_nvrtc_test.cc.
#include "cuda/generate/prelude.h"

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

// Element `column` of row `row` of a weight in tiles of 8 rows by 8 chunks.
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

}  // namespace

const char* Intrinsics() { return kIntrinsics; }
const char* Prelude() { return kPrelude; }

}  // namespace ninfer::cuda
