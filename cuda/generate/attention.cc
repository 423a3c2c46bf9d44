// The attention family over a paged cache; in flash form (Dao et al. 2022; Milakov and Gimelshein
// 2018) a block's warps take turns of 32 positions, a lane for each while scores are made and a
// stretch of columns while values are added; each keeps a running maximum, sum and weighted values,
// and these are merged in the order of the warps. A position that a row does not see is not read.
// Tested by tests/cuda_shim_test.cc.
#include <algorithm>

#include "absl/strings/str_replace.h"
#include "base/quantise.h"
#include "cuda/generate/attention_writer.h"
#include "program/columns.h"

namespace ninfer::cuda {
namespace {

constexpr int64_t kMostHeads = 8;

// How a warp's lanes share the values of some positions: `lanes` of them side by side, `vector`
// columns to a lane at a time and `turns` times.
struct ValueLanes {
  int64_t vector, lanes, turns;
};
ValueLanes LanesFor(const KvPage& page) {
  for (int64_t vector = page.chunk(); vector > 1; vector /= 2) {
    const int64_t lanes = page.head_dim / vector;
    if (page.head_dim % vector != 0) continue;
    if (lanes <= kWarpLanes && kWarpLanes % lanes == 0) return {vector, lanes, 1};
    if (lanes % kWarpLanes == 0) return {vector, kWarpLanes, lanes / kWarpLanes};
  }
  return {1, kWarpLanes, (page.head_dim + kWarpLanes - 1) / kWarpLanes};
}

}  // namespace

AttentionWriter::AttentionWriter(KernelWriter& w, const ir::Node& node)
    : w_(w), node_(node), page_(w.kernel().kv), q_(*program::ResolveColumns(node.operand(0))) {
  heads_ = node.operand(0)->type().shape[1].offset;
  group_ = heads_ / page_.heads;
  // As even as can be.
  parts_ = (group_ + kMostHeads - 1) / kMostHeads;
  most_ = (group_ + parts_ - 1) / parts_;
}

absl::Status AttentionWriter::Run() {
  w_.Head();
  DeviceKernel& device = w_.Begin("row", kThreads, 2);
  device.grid[0] = {1, rows().symbol, 1};
  device.grid[1] = {page_.heads * parts_, -1, 1};
  Constants();
  if (node_.attr_string("form") == "flash") {
    Flash();
  } else {
    Stored();
  }
  w_.End();
  return absl::OkStatus();
}

void AttentionWriter::Constants() {
  Text& text = w_.text();
  text.Line("using T = ", TypeName(w_.kernel().kv.dtype), ";");
  text.Line("constexpr int kDim = ", page_.head_dim, ", kChunk = ", page_.chunk(), ";");
  text.Line("constexpr int kGroup = ", group_, ", kHeads = ", most_,
            ";  // query heads of a KV head, and of a block");
  text.Line("__shared__ __align__(16) float query[kHeads][kDim];");
}

void AttentionWriter::Place() {
  Text& text = w_.text();
  text.Line("const int row = blockIdx.x;");
  text.Line("if (row >= ", w_.DimText(rows()), ") return;");
  text.Line("const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;");
  if (parts_ == 1) {
    text.Line("const int head = blockIdx.y, first = head * kGroup, heads = kHeads;");
  } else {
    text.Line("const int head = blockIdx.y / ", parts_, ", part = blockIdx.y % ", parts_, ";");
    text.Line("const int first = head * kGroup + part * kHeads;");
    text.Line("const int left = kGroup - part * kHeads, heads = left < kHeads ? left : kHeads;");
  }
  text.Line("const int sequence = SequenceOf(", w_.Name(node_.operand(3)), ", ", w_.SymbolText("S"),
            ", row);");
  text.Line("const int last = ", w_.Name(node_.operand(2)), "[row];");
  const int64_t window = node_.attr_int_or("window", 0);
  if (window > 0 && window <= INT32_MAX / 2) {
    text.Line("const int from = last >= ", window, " ? last - ", window - 1, " : 0;");
  } else {
    text.Line("const int from = 0;");
  }
}

std::string AttentionWriter::ScoreText() const {
  std::string text = absl::StrCat("score *= ", FloatLiteral(node_.attr_float("scale")), ";");
  const double cap = node_.attr_float_or("softcap", 0);
  if (cap > 0) {
    absl::StrAppend(&text, "\n      score = ", FloatLiteral(cap), " * tanhf(score / ",
                    FloatLiteral(cap), ");");
  }
  if (node_.find_attr("alibi_scale") == nullptr) return text;
  const bool rounds = node_.find_attr("alibi_rounding") != nullptr;
  const auto rounded = [rounds](const std::string& x) {
    return rounds ? absl::StrCat("Widen(Round<bf16>(", x, "))") : x;
  };
  const std::string slope = absl::StrCat("Widen(", w_.Name(node_.operand(5)), "[first + h])");
  const std::string bias = rounded(absl::StrCat(rounded(slope), " * ", rounded("(float)position")));
  absl::StrAppend(&text, "\n      score += ", bias, " * ",
                  FloatLiteral(node_.attr_float_or("alibi_scale", 1)), ";");
  return text;
}

void AttentionWriter::Queries() {
  Text& text = w_.text();
  const std::string q = absl::StrCat(
      w_.Name(q_.root), "[",
      ElementText("row", w_.RowStride(q_.root), absl::StrCat(q_.offset, " + first * kDim + i")),
      "]");
  text.Line("for (int i = threadIdx.x; i < heads * kDim; i += ", kThreads, ") {");
  text.Line("  query[i / kDim][i % kDim] = Widen(", q, ");");
  text.Line("}");
  text.Line("__syncthreads();");
  if (!page_.integers) return;
  text.Lines(absl::StrReplaceAll(
      R"(
// Over a cache of integers a head's query is rounded too.
for (int h = warp; h < heads; h += $warps) {
  float largest = 0.0f;
  for (int d = lane; d < kDim; d += 32) largest = fmaxf(largest, fabsf(query[h][d]));
  const float scale = ScaleOfMost(WarpMax(largest), $levels);
  for (int d = lane; d < kDim; d += 32) {
    query[h][d] = (float)RoundToScale(query[h][d], scale, $levels) * scale;
  }
}
__syncthreads();)",
      {{"$warps", absl::StrCat(kWarps)}, {"$levels", FloatLiteral(WordLevels(page_.head_dim))}}));
}

std::string AttentionWriter::Table() const {
  return absl::StrCat(w_.Name(node_.operand(4)), " + (size_t)sequence * ", w_.SymbolText("G"));
}

void AttentionWriter::Flash() {
  Text& text = w_.text();
  const ValueLanes lanes = LanesFor(page_);
  text.Line("constexpr int kVector = ", lanes.vector, ", kLanes = ", lanes.lanes,
            ", kTurns = ", lanes.turns, ";  // of a position's values");
  text.Line("__shared__ float weights[", kWarps, "][kHeads][32];");
  text.Line("__shared__ float output[", kWarps, "][kHeads][kDim];");
  text.Line("__shared__ float most[", kWarps, "][kHeads], total[", kWarps, "][kHeads];");
  Place();
  Queries();
  Scores();
  Merge();
}

void AttentionWriter::Scores() {
  w_.text().Lines(absl::StrReplaceAll(
      R"(
float score_most[kHeads], score_sum[kHeads], sums[kHeads][kTurns * kVector] = {};
#pragma unroll
for (int h = 0; h < kHeads; ++h) score_most[h] = -kInfinity, score_sum[h] = 0.0f;
const int* table = $table;
for (int turn = from / 32 + warp; turn <= last / 32; turn += $warps) {
  const int position = turn * 32 + lane;
  const bool seen = position >= from && position <= last;
  const T* keys = $kv + (size_t)table[turn / 2] * $page + head * $head;
  const T* values = keys + $part;$scales
  float scores[kHeads] = {};
  if (seen) {
    for (int d = 0; d < kDim; d += kChunk) {
      float k[kChunk];
      LoadRow(keys + d * 64 + position % 64 * kChunk, k);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        for (int i = 0; i < kChunk; ++i) scores[h] = fmaf(query[h][d + i], k[i], scores[h]);
      }
    }
  }
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (h >= heads) break;
    float score = -kInfinity;
    if (seen) {
      score = scores[h]$key_scale;
      $score
    }
    const float next = WarpMax(score < score_most[h] ? score_most[h] : score);
    const float factor = expf(score_most[h] - next), weight = expf(score - next);
    score_most[h] = next;
    score_sum[h] = score_sum[h] * factor + WarpSum(weight);
    weights[warp][h][lane] = weight;
    for (int i = 0; i < kTurns * kVector; ++i) sums[h][i] *= factor;
  }
  __syncwarp();
  for (int p = lane / kLanes; p < 32; p += 32 / kLanes) {
    if (turn * 32 + p < from || turn * 32 + p > last) continue;
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const int d = (lane % kLanes + i * kLanes) * kVector;
      if (d >= kDim) break;
      float v[kVector];
      LoadRow(values + (turn * 32 + p) % 64 * kDim + d, v);$scale_value
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        for (int e = 0; e < kVector; ++e) {
          sums[h][i * kVector + e] = fmaf(weights[warp][h][p], v[e], sums[h][i * kVector + e]);
        }
      }
    }
  }
  __syncwarp();
})",
      {{"$threads", absl::StrCat(kThreads)},
       {"$warps", absl::StrCat(kWarps)},
       {"$table", Table()},
       {"$kv", w_.Name(node_.operand(1))},
       {"$page", absl::StrCat(page_.elements())},
       {"$head", absl::StrCat(page_.head())},
       {"$part", absl::StrCat(page_.part())},
       {"$scales",
        page_.integers
            ? absl::StrCat("\n  const float* scales = (const float*)(values + ", page_.part(), ");")
            : ""},
       {"$key_scale", page_.integers ? " * scales[position % 64]" : ""},
       {"$scale_value",
        page_.integers
            ? "\n      for (int e = 0; e < kVector; ++e) v[e] *= scales[64 + (turn * 32 + p) % 64];"
            : ""},
       {"$score", ScoreText()}}));
}

// The sums of lanes that took other positions, then those of the warps.
void AttentionWriter::Merge() {
  Text& text = w_.text();
  text.Lines(R"(
#pragma unroll
for (int h = 0; h < kHeads; ++h) {
  if (lane == 0) most[warp][h] = score_most[h], total[warp][h] = score_sum[h];
#pragma unroll
  for (int i = 0; i < kTurns * kVector; ++i) {
    float sum = sums[h][i];
    for (int mask = kLanes; mask < 32; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    const int d = (lane % kLanes + i / kVector * kLanes) * kVector + i % kVector;
    if (lane < kLanes && d < kDim) output[warp][h][d] = sum;
  }
}
__syncthreads();)");
  Results(absl::StrReplaceAll(R"(
float highest = most[0][h], merged = 0.0f, divisor = 0.0f;
for (int p = 1; p < $warps; ++p) highest = highest < most[p][h] ? most[p][h] : highest;
for (int p = 0; p < $warps; ++p) {
  const float factor = expf(most[p][h] - highest);
  merged = fmaf(output[p][h][i % kDim], factor, merged);
  divisor = fmaf(total[p][h], factor, divisor);
})",
                              {{"$warps", absl::StrCat(kWarps)}}));
}

void AttentionWriter::Results(const std::string& merge) {
  Text& text = w_.text();
  text.Open("for (int i = threadIdx.x; i < heads * kDim; i += ", kThreads, ")");
  text.Line("const int h = i / kDim, c = first * kDim + i;");
  RowWriter rows(w_, kThreads);
  rows.Override(node_.result(), [&](const std::string&, const std::string&) {
    text.Lines(merge);
    return std::string("(merged / divisor)");
  });
  const ir::Value* result = w_.body().results()[0];
  const std::string y = rows.Evaluate(result, "row", "c");
  const std::string stride =
      absl::StrCat(program::LeadingDimension(program::RowColumns(result->type())));
  text.Line(w_.OutputName(0), "[", ElementText("row", stride, "c"),
            "] = ", StoredText(result->type().dtype, y), ";");
  text.Close();
}

absl::Status WriteAttention(KernelWriter& w) {
  return AttentionWriter(w, *program::FindNode(w.body(), ir::Op::kPagedAttention)).Run();
}

}  // namespace ninfer::cuda
