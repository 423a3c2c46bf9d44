// Attention that stores its scores before their softmax. `naive` has a place in memory for all of
// them, where the probabilities stay; `efficient` (Rabe and Staats 2021) keeps those of 256
// positions at a time in shared memory, and merges what each such chunk gives. A thread makes whole
// scores, a warp the softmax of a head, and a thread adds the values of its columns.
// Tested by tests/cuda_shim_test.cc.
#include "absl/strings/str_replace.h"
#include "cuda/generate/attention_writer.h"
#include "program/body.h"

namespace ninfer::cuda {
namespace {

constexpr int kChunkPositions = 256;

}  // namespace

void AttentionWriter::Stored() {
  Text& text = w_.text();
  text.Line("constexpr int kOwn = (kHeads * kDim + ", kThreads - 1, ") / ", kThreads,
            ";  // results of a thread");
  text.Line("__shared__ float most[kHeads], total[kHeads], factors[kHeads];");
  text.Line("__shared__ float output[kHeads][kDim];");
  const bool naive = node_.attr_string("form") == "naive";
  if (naive) {
    const ir::Value* scores = w_.body().parameters().back().get();
    const int64_t positions = scores->type().shape[2].offset;
    text.Line("constexpr int kStride = ", positions, ";  // from one head's scores to the next");
    Place();
    text.Line("float* const scores = ", w_.Name(scores), " + ",
              ElementText("row", w_.RowStride(scores), "first * kStride"), ";");
    text.Line("const int chunk = last + 1;");
    StoredScores("scores[h * kStride + $p]");
    text.Lines(absl::StrReplaceAll(R"(
for (int h = 0; h < heads; ++h) {
  for (int p = from + threadIdx.x; p <= last; p += $threads) scores[h * kStride + p] /= total[h];
})",
                                   {{"$threads", absl::StrCat(kThreads)}}));
  } else {
    text.Line("constexpr int chunk = ", kChunkPositions, ";");
    text.Line("__shared__ float scores[kHeads][chunk];");
    Place();
    StoredScores("scores[h][$p - begin]");
  }
  Results("const float merged = output[h][i % kDim], divisor = total[h];\n");
}

void AttentionWriter::StoredScores(const std::string& score) {
  const auto score_at = [&score](const char* position) {
    return absl::StrReplaceAll(score, {{"$p", position}});
  };
  const auto scale_at = [](const char* from, int64_t bytes, const char* position) {
    return absl::StrCat(" * ((const float*)(", from, " + ", bytes, "))[", position, " % 64]");
  };
  Queries();
  w_.text().Lines(absl::StrReplaceAll(
      R"(
for (int h = threadIdx.x; h < kHeads; h += $threads) most[h] = -kInfinity, total[h] = 0.0f;
__syncthreads();
float sums[kOwn] = {};
const int* table = $table;
for (int begin = from; begin <= last; begin += chunk) {
  const int end = begin + chunk <= last ? begin + chunk : last + 1;
  for (int position = begin + threadIdx.x; position < end; position += $threads) {
    const T* keys = $kv + (size_t)table[position / 64] * $page + head * $head;
    float made[kHeads] = {};
    for (int d = 0; d < kDim; d += kChunk) {
      float k[kChunk];
      LoadRow(keys + d * 64 + position % 64 * kChunk, k);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        for (int i = 0; i < kChunk; ++i) made[h] = fmaf(query[h][d + i], k[i], made[h]);
      }
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      if (h >= heads) break;
      float score = made[h]$key_scale;
      $score
      $own = score;
    }
  }
  __syncthreads();
  for (int h = warp; h < heads; h += $warps) {
    float next = most[h], sum = 0.0f;
    for (int p = begin + lane; p < end; p += 32) {
      next = next < $at ? $at : next;
    }
    next = WarpMax(next);
    for (int p = begin + lane; p < end; p += 32) {
      const float weight = expf($at - next);
      $at = weight;
      sum += weight;
    }
    sum = WarpSum(sum);
    if (lane == 0) {
      factors[h] = expf(most[h] - next);
      most[h] = next;
      total[h] = total[h] * factors[h] + sum;
    }
  }
  __syncthreads();
#pragma unroll
  for (int n = 0; n < kOwn; ++n) {
    const int i = threadIdx.x + n * $threads, h = i / kDim, d = i % kDim;
    if (i >= heads * kDim) break;
    float sum = sums[n] * factors[h];
    for (int p = begin; p < end; ++p) {
      const T* values = $kv + (size_t)table[p / 64] * $page + head * $head + $part;
      sum = fmaf($at, Widen(values[p % 64 * kDim + d])$value_scale, sum);
    }
    sums[n] = sum;
  }
  __syncthreads();
}
#pragma unroll
for (int n = 0; n < kOwn; ++n) {
  const int i = threadIdx.x + n * $threads;
  if (i < heads * kDim) output[i / kDim][i % kDim] = sums[n];
}
__syncthreads();)",
      {{"$threads", absl::StrCat(kThreads)},
       {"$warps", absl::StrCat(kWarps)},
       {"$table", Table()},
       {"$kv", w_.Name(node_.operand(1))},
       {"$page", absl::StrCat(page_.elements())},
       {"$head", absl::StrCat(page_.head())},
       {"$part", absl::StrCat(page_.part())},
       {"$key_scale", page_.integers ? scale_at("keys", 2 * page_.part(), "position") : ""},
       {"$value_scale",
        page_.integers ? scale_at("values", page_.part() + 4 * KvPage::kPositions, "p") : ""},
       {"$own", score_at("position")},
       {"$at", score_at("p")},
       {"$score", ScoreText()}}));
}

}  // namespace ninfer::cuda
