// The linear family. For few rows: a warp, or several along K, streams tiles of 8 output rows (see
// weights.h) with 128-bit loads, several of them under way at a time, against rows of x in shared
// memory. For many rows: tiles of 64 rows by 64 outputs, on the tensor cores where both operands
// are bf16, else by fused multiply and add. Either way the sums go through shared memory to an
// epilogue in which neighbouring threads have neighbouring columns.
//
// A linear of experts is the first with a block of its own for each row and place: it reads the
// tiles of the expert that was chosen there.
// Tested by tests/cuda_shim_test.cc.
#include <algorithm>

#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "cuda/generate/kernel_writer.h"
#include "cuda/generate/row_writer.h"
#include "cuda/generate/weights.h"
#include "program/body.h"
#include "program/columns.h"

namespace ninfer::cuda {
namespace {

using program::RowColumns;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kFewRows = 8;
constexpr int64_t kRowBytes = 32 << 10;  // of x in shared memory
// Warps that keep the memory of a large card busy: 132 multiprocessors of 8 each. Where a weight
// has fewer groups of 8 rows, several warps share one along K.
constexpr int64_t kBusyWarps = 132 * 8;
constexpr int kTile = 64;  // rows, and outputs, of a block for many rows

class LinearWriter {
 public:
  explicit LinearWriter(KernelWriter& w)
      : w_(w),
        linear_(*program::LinearOf(w.body())),
        grouped_(w.kernel().family == program::Family::kGroupedLinear),
        weight_(linear_.operand(1)),
        format_(formats::InfoOf(w.ParameterInfo(weight_).format)),
        quantised_(program::InputQuantiser(linear_) != nullptr),
        x_(*program::ResolveColumns(program::LinearInput(linear_))) {
    const int64_t segments = w.ParameterInfo(weight_).segments;
    const auto& shape = weight_->type().shape;
    n_ = shape[shape.size() - 2].offset / (grouped_ ? 1 : segments);
    tiles_ = TilesOf(format_.format, {n_, shape.back().offset, segments});
    x_dtype_ = x_.root->type().dtype;
  }

  absl::Status Run() {
    w_.Head();
    if (grouped_) {
      Few("pairs", 1, INT64_MAX);
      return absl::OkStatus();
    }
    Few("row", 1, 1);
    w_.text().Blank();
    Few("rows8", kFewRows, kFewRows);
    w_.text().Blank();
    Many();
    return absl::OkStatus();
  }

 private:
  // Segments that a block's sums are kept of: those of one result.
  int64_t segments() const { return grouped_ ? 1 : tiles_.segments; }
  const ir::Dim& rows() const { return linear_.result()->type().shape[0]; }

  void Constant(const char* name, int64_t value) {
    w_.text().Line("constexpr int ", name, " = ", value, ";");
  }
  void Few(const std::string& variant, int rows, int64_t most_rows);
  // Blocks at a time on a multiprocessor: as many as leave registers for the sums of all rows and
  // the weights under way.
  int FewBlocks(int rows) const {
    const bool integers = format_.scheme != nullptr;
    if (rows == 1) return integers && segments() > 1 ? 2 : 3;
    return integers || segments() > 1 ? 1 : 2;
  }
  // Loads of each row of weights that are under way at a time.
  int64_t FewLoads(int rows) const {
    const bool integers = format_.scheme != nullptr;
    if (rows > 1) return integers ? 1 : 2;
    return segments() > 1 || (format_.dtype == DType::kF32 && !integers) ? 2 : 4;
  }
  void FewLoop();
  void Many();
  void ManyFma();
  void ManyMma();
  // Results at (row, n), each a column of the segments; `sum` gives the text of a segment's sum.
  void Epilogue(RowWriter& rows, const std::function<std::string(int64_t segment)>& sum);
  std::string XRow(const std::string& row) const {
    return absl::StrCat(w_.Name(x_.root), "[",
                        ElementText(row, w_.RowStride(x_.root), absl::StrCat(x_.offset)));
  }

  KernelWriter& w_;
  const ir::Node& linear_;
  const bool grouped_;
  const ir::Value* weight_;
  const formats::FormatInfo& format_;
  const bool quantised_;  // x, in the kernel
  const program::ColumnRange x_;
  int64_t n_ = 0;
  TileLayout tiles_;
  DType x_dtype_;
};

void LinearWriter::Few(const std::string& variant, int rows, int64_t most_rows) {
  Text& text = w_.text();
  DeviceKernel& device = w_.Begin(variant, kThreads, FewBlocks(rows));
  int64_t split = 1;
  while (split < kWarps && split < tiles_.tiles() && tiles_.groups() * split < kBusyWarps) {
    split *= 2;
  }
  const int64_t groups = kWarps / split;
  // Tiles of K whose columns of x lie in shared memory at a time.
  const int64_t x_bytes = quantised_ ? 1 : DTypeSize(x_dtype_);
  const int64_t fits = kRowBytes / (rows * tiles_.tile_k() * x_bytes);
  const int64_t stage = std::min(tiles_.tiles(), std::max(fits / split, int64_t{1}) * split);
  const int64_t unroll = FewLoads(rows);
  device.grid[0] = {(tiles_.groups() + groups - 1) / groups, -1, 1};
  if (grouped_) {
    device.grid[1] = {linear_.result()->type().shape[1].offset, this->rows().symbol, 1};
  } else {
    device.rows_symbol = this->rows().symbol;
    device.most_rows = most_rows;
    device.grid[1] = {1, -1, 1};
  }
  text.Line("using X = ", quantised_ ? "signed char" : TypeName(x_dtype_), ";");
  text.Line("using W = ", ElementName(format_.format), ";");
  Constant("kRows", rows);
  Constant("kN", n_);
  Constant("kK", tiles_.k);
  Constant("kSegments", segments());
  Constant("kTileK", tiles_.tile_k());
  Constant("kTiles", tiles_.tiles());
  Constant("kGroupsOfN", tiles_.groups());
  text.Line("constexpr int kSplit = ", split, ", kGroups = ", groups, ";  // warps of ", kWarps);
  text.Line("constexpr int kTileChunks = ", tiles_.tile_bytes() / kChunkBytes, ";");
  Constant("kStage", stage);
  Constant("kUnroll", unroll);
  text.Line("__shared__ __align__(16) X x_rows[kRows][kStage * kTileK];");
  if (quantised_) {
    text.Line("__shared__ float x_scales[kRows][kStage * kTileK / 32];");
  }
  text.Line("__shared__ float partial[", kWarps, "][kSegments][kRows][8];");
  text.Line("const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;");
  text.Line("const int group = blockIdx.x * kGroups + warp / kSplit, part = warp % kSplit;");
  if (grouped_) {
    const int64_t chosen = linear_.result()->type().shape[1].offset;
    const ir::Value* ids = linear_.operand(2);
    text.Line("const int rows = 1, row0 = blockIdx.y / ", chosen, ", pair = blockIdx.y % ", chosen,
              ";");
    text.Line("if (row0 >= ", w_.DimText(this->rows()), ") return;");
    text.Line("const int expert = ", w_.Name(ids), "[",
              ElementText("row0", w_.RowStride(ids), "pair"), "];");
  } else {
    text.Line("const int rows = ", w_.DimText(this->rows()), ", row0 = 0;");
  }
  FewLoop();
  text.Lines(R"(
// A row's sum: over the lanes of its eight chunks, then over the parts of K in their order.
#pragma unroll
for (int s = 0; s < kSegments; ++s) {
  for (int r = 0; r < kRows; ++r) {
    for (int half = 0; half < 2; ++half) {
      float sum = sums[s][half][r];
      for (int mask = 1; mask < 8; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
      if (lane % 8 == 0) partial[warp][s][r][lane / 8 + 4 * half] = sum;
    }
  }
}
__syncthreads();)");
  text.Open("for (int i = threadIdx.x; i < kGroups * kRows * 8; i += ", kThreads, ")");
  text.Line("const int r = i / 8 % kRows, row = row0 + r;");
  text.Line("const int n = (blockIdx.x * kGroups + i / (8 * kRows)) * 8 + i % 8;");
  text.Line("if (r >= rows || n >= kN) continue;");
  text.Line("const int first = i / (8 * kRows) * kSplit;");
  RowWriter epilogue(w_, kThreads);
  Epilogue(epilogue, [&](int64_t segment) {
    const std::string sum = w_.NewName("sum");
    const std::string at = absl::StrCat("[", segment, "][r][i % 8]");
    text.Line("float ", sum, " = partial[first]", at, ";");
    if (split > 1) {
      text.Line("for (int p = 1; p < kSplit; ++p) ", sum, " += partial[first + p]", at, ";");
    }
    return sum;
  });
  text.Close();
  w_.End();
}

void LinearWriter::FewLoop() {
  Text& text = w_.text();
  const int64_t column = grouped_ && linear_.operand(0)->type().rank() == 3 ? tiles_.k : 0;
  const std::string x = absl::StrCat(XRow("(row0 + r)"), column > 0 ? " + pair * kK" : "", " + k]");
  const std::string tile = grouped_
                               ? absl::StrCat("((size_t)group * ", tiles_.segments, " + expert)")
                               : std::string("((size_t)group * kSegments + s)");
  // How x comes to shared memory.
  const char* copies = R"(
  for (int i = threadIdx.x; i < kRows * kStage * kTileK; i += $threads) {
    const int r = i / (kStage * kTileK), k = stage * kTileK + i % (kStage * kTileK);
    x_rows[r][i % (kStage * kTileK)] = r < rows && k < kK ? $x : X{};
  })";
  const char* rounds = R"(
  for (int i = threadIdx.x; i < kRows * kStage * kTileK; i += $threads) {  // a warp for a block
    const int r = i / (kStage * kTileK), at = i % (kStage * kTileK), k = stage * kTileK + at;
    float scale;
    x_rows[r][at] = (X)QuantiseLane(r < rows && k < kK ? Widen($x) : 0.0f, &scale);
    if (lane == 0) x_scales[r][at / 32] = scale;
  })";
  const bool integers = format_.scheme != nullptr;
  const char* load_entries = R"(
        const W::Entry* of = (const W::Entry*)(tile + 64) + lane % 8 * (kTileK / 8) / 32;
        entries[u][s][0] = there ? of[lane / 8 * (kTileK / 32)] : 0;
        entries[u][s][1] = there ? of[(lane / 8 + 4) * (kTileK / 32)] : 0;)";
  const char* multiply =
      !integers ? "MultiplyChunks<W>(chunks[u][s], from, kStage * kTileK, sums[s]);"
      : quantised_
          ? "MultiplyIntegers<W>(chunks[u][s], entries[u][s], from, kStage * kTileK,\n"
            "                            x_scales[0] + at / 32, kStage * kTileK / 32, sums[s]);"
          : "MultiplyWidened<W>(chunks[u][s], entries[u][s], from, kStage * kTileK,\n"
            "                           sums[s]);";
  std::string loop = absl::StrReplaceAll(
      R"(
float sums[kSegments][2][kRows] = {};
for (int stage = 0; stage < kTiles; stage += kStage) {
  if (stage > 0) __syncthreads();$stage_x
  __syncthreads();
  if (group >= kGroupsOfN) continue;
  const int last = stage + kStage < kTiles ? stage + kStage : kTiles;
  // Lane l takes chunk l % 8 of the rows l / 8 and l / 8 + 4 of a tile.
  const int upper = lane / 8 * 8 + (lane % 8 ^ lane / 8);
  const int lower = (lane / 8 + 4) * 8 + (lane % 8 ^ (lane / 8 + 4));
#pragma unroll 1
  for (int t = stage + part; t < last; t += kSplit * kUnroll) {
    uint4 chunks[kUnroll][kSegments][2];$entries
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
#pragma unroll
      for (int s = 0; s < kSegments; ++s) {
        const uint4* tile = (const uint4*)$w + ($tile * kTiles + t + u * kSplit) * kTileChunks;
        const bool there = t + u * kSplit < last;
        chunks[u][s][0] = there ? LoadWeights(tile + upper) : make_uint4(0, 0, 0, 0);
        chunks[u][s][1] = there ? LoadWeights(tile + lower) : make_uint4(0, 0, 0, 0);$load
      }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (t + u * kSplit >= last) break;
      const int at = (t + u * kSplit - stage) * kTileK + lane % 8 * (kTileK / 8);
      const X* from = x_rows[0] + at;
#pragma unroll
      for (int s = 0; s < kSegments; ++s) {
        $multiply
      }
    }
  }
})",
      {{"$stage_x", quantised_ ? rounds : copies},
       {"$entries", integers ? "\n    unsigned entries[kUnroll][kSegments][2];" : ""},
       {"$load", integers ? load_entries : ""},
       {"$multiply", multiply}});
  text.Lines(absl::StrReplaceAll(loop, {{"$threads", absl::StrCat(kThreads)},
                                        {"$x", x},
                                        {"$w", w_.Name(weight_)},
                                        {"$tile", tile}}));
}

void LinearWriter::Epilogue(RowWriter& rows,
                            const std::function<std::string(int64_t segment)>& sum) {
  Text& text = w_.text();
  const int64_t columns = RowColumns(w_.body().results()[0]->type());
  std::string column = "n";
  if (grouped_) column = "(pair * kN + n)";
  const auto at_segment = [&](int64_t segment) {
    return [&, segment](const std::string&, const std::string&) { return sum(segment); };
  };
  rows.Override(linear_.result(), at_segment(0));
  for (const auto& node : w_.body().nodes()) {
    if (segments() < 2 || node->op() != ir::Op::kSlice) continue;
    if (node->operand(0) != linear_.result()) continue;
    rows.Override(node->result(), at_segment(node->attr_int("begin") / n_));
  }
  const std::vector<ir::Value*>& results = w_.body().results();
  for (size_t i = 0; i < results.size(); ++i) {
    const ir::Node* last = results[i]->producer();
    const bool casts = last != nullptr && last->op() == ir::Op::kCast &&
                       last->operand(0)->type().dtype == DType::kF32;
    const std::string y = rows.Evaluate(casts ? last->operand(0) : results[i], "row", column);
    const std::string stride = absl::StrCat(program::LeadingDimension(columns));
    text.Line(w_.OutputName(static_cast<int>(i)), "[", ElementText("row", stride, column),
              "] = ", StoredText(results[i]->type().dtype, y), ";");
  }
}

// --- many rows -----------------------------------------------------------------------------------

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
  Epilogue(epilogue, [&](int64_t segment) {
    const std::string sum = w_.NewName("sum");
    text.Line("const float ", sum, " = results[i / kColumns][",
              segment == 0 ? "" : absl::StrCat(segment, " * kColumns + "), "i % kColumns];");
    return sum;
  });
  text.Close();
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
  const char* rounds = R"(
    float scale;  // a warp for a block
    const int integer = QuantiseLane(row0 + r < rows && k < kK ? Widen($x) : 0.0f, &scale);
    x_rows[r][at % kStep] = (float)integer * scale;)";
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
                          {{"$stage_x", quantised_ ? rounds : copies},
                           {"$widen", integers ? widen_integers : widen_floats}});
  text.Lines(absl::StrReplaceAll(loop, {{"$threads", absl::StrCat(kThreads)},
                                        {"$x", XRow("(row0 + r)") + " + k]"},
                                        {"$w", w_.Name(weight_)}}));
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

}  // namespace

absl::Status WriteLinear(KernelWriter& w) { return LinearWriter(w).Run(); }

}  // namespace ninfer::cuda
