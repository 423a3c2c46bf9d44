// The linear family for many rows; see linear.cc.
// Tested by tests/cuda_shim_test.cc.
#include <algorithm>

#include "absl/strings/str_replace.h"
#include "cuda/generate/linear_writer.h"

namespace ninfer::cuda {
namespace {

constexpr int kTile = 64;  // rows, and outputs, of a block

}  // namespace

void LinearWriter::Many() {
  Text& text = w_.text();
  const bool tensor = x_dtype_ == DType::kBF16 && format_.format == formats::Format::kPanelBF16;
  const int threads = tensor ? 128 : kThreads;
  DeviceKernel& device = w_.Begin(tensor ? "mma64x64" : "fma64x64", threads, 2);
  const int64_t outputs = kTile / segments();  // columns of a segment in a block
  device.rows_symbol = rows().symbol;
  device.grid[0] = {(n_ + outputs - 1) / outputs, -1, 1};
  device.grid[1] = {1, rows().symbol, kTile};
  text.Line(tensor ? "using X = bf16;"
                   : absl::StrCat("using W = ", ElementName(format_.format), ";"));
  Constant("kN", n_);
  Constant("kK", tiles_.k);
  Constant("kSegments", segments());
  text.Line("constexpr int kColumns = 64 / kSegments;  // of each segment in a block");
  Constant("kTileK", tiles_.tile_k());
  Constant("kTiles", tiles_.tiles());
  Constant("kGroupsOfN", tiles_.groups());
  if (tensor) {
    text.Line("__shared__ float results[64][65];");
  } else {
    text.Line("__shared__ float tiles[2][64][65];  // of x and of weights, then the results");
    text.Line(
        "float(*x_rows)[65] = tiles[0], (*w_rows)[65] = tiles[1], (*results)[65] = tiles[0];");
  }
  text.Line("const int rows = ", w_.DimText(rows()), ", row0 = blockIdx.y * 64;");
  text.Line("const int group0 = blockIdx.x * (kColumns / 8);");
  text.Line("if (row0 >= rows) return;");
  if (tensor) {
    ManyMma();
  } else {
    ManyFma();
  }
  text.Line("__syncthreads();");
  text.Open("for (int i = threadIdx.x; i < 64 * kColumns; i += ", threads, ")");
  text.Line("const int row = row0 + i / kColumns, n = blockIdx.x * kColumns + i % kColumns;");
  text.Line("if (row >= rows || n >= kN) continue;");
  RowWriter epilogue(w_, threads);
  Epilogue(
      epilogue,
      [&](int64_t segment) {
        const std::string sum = w_.NewName("sum");
        text.Line("const float ", sum, " = results[i / kColumns][",
                  segment == 0 ? "" : absl::StrCat(segment, " * kColumns + "), "i % kColumns];");
        return sum;
      },
      "results[i / kColumns][i % kColumns]");
  text.Close();
  if (FindsParts())
    Parts("results", "blockIdx.x * 64", absl::StrCat(kTile), kTile, threads / kWarpLanes);
  w_.End();
}

// 4 x 4 sums to a thread: rows i, i + 16, ... of x against columns j, j + 16, ..., both in floats.
void LinearWriter::ManyFma() {
  Text& text = w_.text();
  Constant("kStep", std::min<int64_t>(kTile, tiles_.tile_k()));
  text.Line("constexpr int kTileChunks = ", tiles_.tile_bytes() / kChunkBytes, ";");
  const bool integers = format_.scheme != nullptr;
  const char* copies = R"(
    x_rows[r][at % kStep] = row0 + r < rows && k < kK ? Widen($x) : 0.0f;)";
  const std::string rounds = absl::StrCat("\n    ", RoundedText("row0 + r < rows && k < kK"),
                                          "\n    x_rows[r][at % kStep] = (float)integer * scale;");
  const std::string x = XRow("(row0 + r)") + " + k]";
  if (by_row_) RowScales("64", "row0 + r < rows", x);
  const char* widen_floats = R"(
      Unpack(LoadWeights(tile + c % 8 * 8 + place), numbers, W{});)";
  const char* widen_integers = R"(
      const W::Entry* entries = (const W::Entry*)(tile + 64) + c % 8 * (kTileK / 32);
      const unsigned entry = entries[chunk * kChunk / 32];
      unsigned words[kChunk / 4];
      Expand(LoadWeights(tile + c % 8 * 8 + place), entry, words, W{});
      for (int e = 0; e < kChunk; ++e) numbers[e] = ByteOf(words[e / 4], e % 4) * ScaleOf(entry);)";
  const std::string loop =
      absl::StrReplaceAll(R"(
constexpr int kChunk = kTileK / 8;
const int i = threadIdx.x / 16, j = threadIdx.x % 16;
float sums[4][4] = {};
for (int first = 0; first < kTiles * kTileK; first += kStep) {
  if (first > 0) __syncthreads();
  for (int at = threadIdx.x; at < 64 * kStep; at += $threads) {
    const int r = at / kStep, k = first + at % kStep;$stage_x
  }
  for (int at = threadIdx.x; at < 64 * (kStep / kChunk); at += $threads) {
    const int c = at / (kStep / kChunk), s = c / kColumns, group = group0 + c % kColumns / 8;
    const int k = at % (kStep / kChunk) * kChunk, chunk = (first + k) % kTileK / kChunk;
    const int place = chunk ^ c % 8;
    float numbers[kChunk] = {};
    if (group < kGroupsOfN) {
      const uint4* tile =
          (const uint4*)$w +
          (((size_t)group * kSegments + s) * kTiles + first / kTileK) * kTileChunks;$widen
    }
    for (int e = 0; e < kChunk; ++e) w_rows[c][k + e] = numbers[e];
  }
  __syncthreads();
  for (int k = 0; k < kStep; ++k) {
    float a[4], b[4];
    for (int r = 0; r < 4; ++r) a[r] = x_rows[i + 16 * r][k], b[r] = w_rows[j + 16 * r][k];
    for (int r = 0; r < 4; ++r) {
      for (int c = 0; c < 4; ++c) sums[r][c] = fmaf(a[r], b[c], sums[r][c]);
    }
  }
}
__syncthreads();
for (int r = 0; r < 4; ++r) {
  for (int c = 0; c < 4; ++c) results[i + 16 * r][j + 16 * c] = sums[r][c];
})",
                          {{"$stage_x", quantised_ ? rounds : std::string(copies)},
                           {"$widen", integers ? widen_integers : widen_floats}});
  text.Lines(absl::StrReplaceAll(
      loop, {{"$threads", absl::StrCat(kThreads)}, {"$x", x}, {"$w", w_.Name(weight_)}}));
}

// 32 x 32 sums to a warp: two by four products of 16 rows by 8 columns. Rows of 36 words put the
// four pairs of K and eight rows that a load takes into 32 banks.
void LinearWriter::ManyMma() {
  w_.text().Lines(
      absl::StrReplaceAll(R"(
__shared__ __align__(16) unsigned x_rows[64][36], w_rows[64][36];  // pairs of bf16 along K
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int i = warp / 2 * 32 + lane / 4, j = warp % 2 * 32 + lane / 4, pair = lane % 4;
float sums[2][4][4] = {};
for (int t = 0; t < kTiles; ++t) {
  if (t > 0) __syncthreads();
  for (int at = threadIdx.x; at < 64 * 64; at += 128) {
    const int r = at / 64, k = t * 64 + at % 64;
    ((X*)x_rows[r])[at % 64] = row0 + r < rows && k < kK ? $x : X{};
  }
  for (int at = threadIdx.x; at < 64 * 8; at += 128) {
    const int c = at / 8, s = c / kColumns, group = group0 + c % kColumns / 8;
    uint4 numbers = make_uint4(0, 0, 0, 0);
    if (group < kGroupsOfN) {
      const uint4* tile = (const uint4*)$w + (((size_t)group * kSegments + s) * kTiles + t) * 64;
      numbers = LoadWeights(tile + c % 8 * 8 + (at % 8 ^ c % 8));
    }
    *(uint4*)&w_rows[c][at % 8 * 4] = numbers;
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 32; k += 8) {
    unsigned a[2][4], b[4][2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      a[r][0] = x_rows[i + 16 * r][k + pair], a[r][1] = x_rows[i + 16 * r + 8][k + pair];
      a[r][2] = x_rows[i + 16 * r][k + pair + 4], a[r][3] = x_rows[i + 16 * r + 8][k + pair + 4];
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      b[c][0] = w_rows[j + 8 * c][k + pair], b[c][1] = w_rows[j + 8 * c][k + pair + 4];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int c = 0; c < 4; ++c) Mma(sums[r][c], a[r], b[c]);
    }
  }
}
#pragma unroll
for (int r = 0; r < 2; ++r) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    for (int e = 0; e < 4; ++e) {
      results[i + 16 * r + e / 2 * 8][warp % 2 * 32 + 8 * c + pair * 2 + e % 2] = sums[r][c][e];
    }
  }
})",
                          {{"$x", XRow("(row0 + r)") + " + k]"}, {"$w", w_.Name(weight_)}}));
}

}  // namespace ninfer::cuda
