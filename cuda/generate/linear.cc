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
#include "cuda/generate/linear_writer.h"

namespace ninfer::cuda {
namespace {

using program::RowColumns;

constexpr int kFewRows = 8;
constexpr int64_t kRowBytes = 32 << 10;  // of x in shared memory
// Warps that keep the memory of a large card busy: 132 multiprocessors of 8 each. Where a weight
// has fewer groups of 8 rows, several warps share one along K.
constexpr int64_t kBusyWarps = 132 * 8;

}  // namespace

absl::Status LinearWriter::Run() {
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

void LinearWriter::Few(const std::string& variant, int rows, int64_t most_rows) {
  DeviceKernel& device = w_.Begin(variant, kThreads, FewBlocks(rows));
  int64_t split = 1;
  // With parts to find a block's warps have 32 columns at least, whatever that leaves idle.
  const int64_t most_split = FindsParts() ? kWarps * 8 / formats::kPanelColumns : kWarps;
  while (split < most_split && split < tiles_.tiles() && tiles_.groups() * split < kBusyWarps) {
    split *= 2;
  }
  const int64_t groups = kWarps / split;
  device.grid[0] = {(tiles_.groups() + groups - 1) / groups, -1, 1};
  if (grouped_) {
    device.grid[1] = {linear_.result()->type().shape[1].offset, this->rows().symbol, 1};
  } else {
    device.rows_symbol = this->rows().symbol;
    device.most_rows = most_rows;
    device.grid[1] = {1, -1, 1};
  }
  FewShape(rows, split);
  FewPlace();
  FewLoop();
  FewEpilogue(split);
  w_.End();
}

// Types, sizes and shared memory.
void LinearWriter::FewShape(int rows, int64_t split) {
  Text& text = w_.text();
  // Tiles of K whose columns of x lie in shared memory at a time.
  const int64_t x_bytes = quantised_ ? 1 : DTypeSize(x_dtype_);
  const int64_t fits = kRowBytes / (rows * tiles_.tile_k() * x_bytes);
  const int64_t stage = std::min(tiles_.tiles(), std::max(fits / split, int64_t{1}) * split);
  text.Line("using X = ", quantised_ ? "signed char" : TypeName(x_dtype_), ";");
  text.Line("using W = ", ElementName(format_.format), ";");
  Constant("kRows", rows);
  Constant("kN", n_);
  Constant("kK", tiles_.k);
  Constant("kSegments", segments());
  Constant("kTileK", tiles_.tile_k());
  Constant("kTiles", tiles_.tiles());
  Constant("kGroupsOfN", tiles_.groups());
  text.Line("constexpr int kSplit = ", split, ", kGroups = ", kWarps / split, ";  // warps of ",
            kWarps);
  text.Line("constexpr int kTileChunks = ", tiles_.tile_bytes() / kChunkBytes, ";");
  Constant("kStage", stage);
  Constant("kUnroll", FewLoads(rows));
  text.Line("__shared__ __align__(16) X x_rows[kRows][kStage * kTileK];");
  if (quantised_) {
    text.Line("__shared__ float x_scales[kRows][kStage * kTileK / 32];");
  }
  text.Line("__shared__ float partial[", kWarps, "][kSegments][kRows][8];");
  if (FindsParts()) text.Line("__shared__ float stored[kRows][kGroups * 8];");
}

// Which tiles a warp reads, and for which rows.
void LinearWriter::FewPlace() {
  Text& text = w_.text();
  text.Line("const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;");
  text.Line("const int group = blockIdx.x * kGroups + warp / kSplit, part = warp % kSplit;");
  if (!grouped_) {
    text.Line("const int rows = ", w_.DimText(rows()), ", row0 = 0;");
    return;
  }
  const int64_t chosen = linear_.result()->type().shape[1].offset;
  const ir::Value* ids = linear_.operand(2);
  text.Line("const int rows = 1, row0 = blockIdx.y / ", chosen, ", pair = blockIdx.y % ", chosen,
            ";");
  text.Line("if (row0 >= ", w_.DimText(rows()), ") return;");
  text.Line("const int expert = ", w_.Name(ids), "[",
            ElementText("row0", w_.RowStride(ids), "pair"), "];");
}

void LinearWriter::RowScales(const std::string& rows, const std::string& there,
                             const std::string& x) {
  w_.text().Lines(absl::StrReplaceAll(
      R"(
__shared__ float row_scales[$rows];
for (int r = threadIdx.x / 32; r < $rows; r += $warps) {
  float most = 0.0f;
  if ($there) {
    for (int k = threadIdx.x % 32; k < kK; k += 32) most = fmaxf(most, fabsf(Widen($x)));
  }
  const float scale = ScaleOfMost(WarpMax(most), 127.0f);
  if (threadIdx.x % 32 == 0) row_scales[r] = scale;
}
__syncthreads();)",
      {{"$rows", rows}, {"$warps", absl::StrCat(kWarps)}, {"$there", there}, {"$x", x}}));
}

std::string LinearWriter::RoundedText(const std::string& there) const {
  const std::string x = absl::StrCat(there, " ? Widen($x) : 0.0f");
  return by_row_ ? absl::StrCat(
                       "const float scale = row_scales[r];\n    const int integer = "
                       "RoundToScale(",
                       x, ", scale, 127.0f);")
                 : absl::StrCat(
                       "float scale;  // a warp for a block\n    const int integer = "
                       "QuantiseLane(",
                       x, ", &scale);");
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
  const std::string rounds = absl::StrCat(R"(
  for (int i = threadIdx.x; i < kRows * kStage * kTileK; i += $threads) {
    const int r = i / (kStage * kTileK), at = i % (kStage * kTileK), k = stage * kTileK + at;
    )",
                                          RoundedText("r < rows && k < kK"), R"(
    x_rows[r][at] = (X)integer;
    if (lane == 0) x_scales[r][at / 32] = scale;
  })");
  if (by_row_) RowScales("kRows", "r < rows", x);
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
      {{"$stage_x", quantised_ ? rounds : std::string(copies)},
       {"$entries", integers ? "\n    unsigned entries[kUnroll][kSegments][2];" : ""},
       {"$load", integers ? load_entries : ""},
       {"$multiply", multiply}});
  text.Lines(absl::StrReplaceAll(loop, {{"$threads", absl::StrCat(kThreads)},
                                        {"$x", x},
                                        {"$w", w_.Name(weight_)},
                                        {"$tile", tile}}));
}

void LinearWriter::FewEpilogue(int64_t split) {
  Text& text = w_.text();
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
  Epilogue(
      epilogue,
      [&](int64_t segment) {
        const std::string sum = w_.NewName("sum");
        const std::string at = absl::StrCat("[", segment, "][r][i % 8]");
        text.Line("float ", sum, " = partial[first]", at, ";");
        if (split > 1) {
          text.Line("for (int p = 1; p < kSplit; ++p) ", sum, " += partial[first + p]", at, ";");
        }
        return sum;
      },
      "stored[r][i / (8 * kRows) * 8 + i % 8]");
  text.Close();
  if (!FindsParts()) return;
  Parts("stored", "blockIdx.x * (kGroups * 8)", "kRows", kWarps / split * 8, kWarps);
}

void LinearWriter::Parts(const std::string& stored, const std::string& first,
                         const std::string& rows, int64_t columns, int warps) {
  const ir::Node& parts = *program::FindNode(w_.body(), ir::Op::kMaxParts);
  const std::vector<ir::Value*>& results = w_.body().results();
  std::string stores;
  for (size_t i = 0; i < results.size(); ++i) {
    const ir::Node* node = results[i]->producer();
    if (node == nullptr || !program::IsParts(*node)) continue;
    absl::StrAppend(&stores, "    ", w_.OutputName(static_cast<int>(i)), "[at] = largest.",
                    node == &parts ? "value" : "column", ";\n");
  }
  const int64_t ld = program::LeadingDimension(RowColumns(parts.result()->type()));
  w_.text().Lines(absl::StrReplaceAll(
      R"(
__syncthreads();
// The largest of each 32 columns, a warp for each.
constexpr int kParts = $parts;
for (int i = threadIdx.x / 32; i < $rows * kParts; i += $warps) {
  const int r = i / kParts, c = i % kParts * 32 + threadIdx.x % 32, column = $first + c;
  const bool there = row0 + r < rows && column < kN;
  const Largest largest = WarpLargest(there ? $stored[r][c] : -kInfinity, column);
  if (there && threadIdx.x % 32 == 0) {
    const size_t at = (size_t)(row0 + r) * $ld + column / 32;
$stores  }
})",
      {{"$rows", rows},
       {"$parts", absl::StrCat(columns / formats::kPanelColumns)},
       {"$warps", absl::StrCat(warps)},
       {"$first", first},
       {"$stored", stored},
       {"$ld", absl::StrCat(ld)},
       {"$stores", stores}}));
}

void LinearWriter::Epilogue(RowWriter& rows, const std::function<std::string(int64_t segment)>& sum,
                            const std::string& stored) {
  Text& text = w_.text();
  const int64_t columns = RowColumns(w_.body().results()[0]->type());
  const std::string column = grouped_ ? "(pair * kN + n)" : "n";
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
  const ir::Node* parts = program::FindNode(w_.body(), ir::Op::kMaxParts);
  for (size_t i = 0; i < results.size(); ++i) {
    const ir::Node* last = results[i]->producer();
    if (last != nullptr && program::IsParts(*last)) continue;
    const bool casts = last != nullptr && last->op() == ir::Op::kCast &&
                       last->operand(0)->type().dtype == DType::kF32;
    const std::string y = rows.Evaluate(casts ? last->operand(0) : results[i], "row", column);
    const std::string stride = absl::StrCat(program::LeadingDimension(columns));
    text.Line(w_.OutputName(static_cast<int>(i)), "[", ElementText("row", stride, column),
              "] = ", StoredText(results[i]->type().dtype, y), ";");
    if (parts != nullptr && parts->operand(0) == results[i]) text.Line(stored, " = ", y, ";");
  }
}

absl::Status WriteLinear(KernelWriter& w) { return LinearWriter(w).Run(); }

}  // namespace ninfer::cuda
