// Attention as one op: by sequence and KV head, the query heads of a group against the head's keys,
// a block of query rows at a time. All forms of the op compute the same here. Over a cache of
// integers queries and weights are rounded as kernels round them.
// Tested by tests/eager_test.cc.
#include <algorithm>
#include <cmath>

#include "base/page_table.h"
#include "base/quantise.h"
#include "base/status.h"
#include "eager/kernels.h"

namespace ninfer::eager {
namespace {

constexpr int64_t kRowBlock = 64;  // query rows whose scores are held at once

// Rows [t0, t1) of one sequence against `count` keys of one KV head.
struct HeadTask {
  const Tensor* q;  // [T, H, d]
  const Tensor* positions;
  int64_t t0, t1;
  int64_t first_head, group;  // query heads
  const float* keys;          // [count, d], rows of `ld`
  const float* values;
  int64_t ld;
  int64_t count;
  const ScoreRule* rule;
  Tensor* out;                          // [T, H, d]
  const float* value_scales = nullptr;  // [count], where values are integers
};

// Keys that rows [t0, t1) see: the largest position and one.
int64_t VisibleKeys(const Tensor& positions, int64_t t0, int64_t t1) {
  int64_t count = 0;
  for (int64_t t = t0; t < t1; ++t)
    count = std::max<int64_t>(count, (*positions.ints)[t] + int64_t{1});
  return count;
}

// The first page that rows [t0, t1) see; pages before it need not be there.
int64_t FirstPage(const ScoreRule& rule, const Tensor& positions, int64_t t0, int64_t t1) {
  if (rule.window == 0 || t0 == t1) return 0;
  const int64_t first =
      *std::min_element(positions.ints->begin() + t0, positions.ints->begin() + t1);
  return std::max<int64_t>(0, first - rule.window + 1) / kPagePositions;
}

// Turns scaled scores of a row at `position` of query head `h` into weights; 0 where masked.
void WeighRow(const ScoreRule& rule, int64_t h, int64_t position, int64_t count, float* row) {
  const int64_t visible = std::min(position + 1, count);
  const int64_t first =
      rule.window == 0 ? 0 : std::min(std::max<int64_t>(0, visible - rule.window), visible);
  if (rule.softcap > 0) {
    const float cap = static_cast<float>(rule.softcap);
    for (int64_t c = first; c < visible; ++c) row[c] = cap * std::tanh(row[c] / cap);
  }
  if (rule.slopes != nullptr) {
    for (int64_t c = first; c < visible; ++c) {
      row[c] += AlibiBias((*rule.slopes->floats)[h], c, static_cast<float>(rule.alibi_scale),
                          rule.round_alibi);
    }
  }
  std::fill(row, row + first, 0.0f);
  SoftmaxRow(row + first, visible - first, row + first);
  std::fill(row + visible, row + count, 0.0f);
}

// Weights times the scales of their values, rounded page by page.
void RoundWeights(const float* scales, int64_t count, float* row) {
  for (int64_t first = 0; first < count; first += kPagePositions) {
    const int64_t positions = std::min(kPagePositions, count - first);
    int16_t integers[kPagePositions];
    for (int64_t i = first; i < first + positions; ++i) row[i] *= scales[i];
    const float scale = RoundToWords(row + first, positions, kPagePositions, integers);
    for (int64_t i = 0; i < positions; ++i) {
      row[first + i] = static_cast<float>(integers[i]) * scale;
    }
  }
}

void AttendHead(const Context& context, const HeadTask& task) {
  const int64_t heads = task.q->shape[1], dim = task.q->shape[2];
  const Tensor scores =
      context.workspace->Floats({std::min(kRowBlock, task.t1 - task.t0), task.count});
  for (int64_t h = task.first_head; h < task.first_head + task.group; ++h) {
    for (int64_t t = task.t0; t < task.t1; t += kRowBlock) {
      const int64_t rows = std::min(kRowBlock, task.t1 - t);
      const int64_t count = std::min(VisibleKeys(*task.positions, t, t + rows), task.count);
      float* s = scores.floats->data();  // [rows, count]
      Gemm(/*transpose_b=*/true, rows, count, dim, static_cast<float>(task.rule->scale),
           task.q->floats->data() + (t * heads + h) * dim, heads * dim, task.keys, task.ld, s,
           count);
      for (int64_t i = 0; i < rows; ++i) {
        WeighRow(*task.rule, h, (*task.positions->ints)[t + i], count, s + i * count);
        if (task.value_scales != nullptr) RoundWeights(task.value_scales, count, s + i * count);
      }
      Gemm(/*transpose_b=*/false, rows, dim, count, 1.0f, s, count, task.values, task.ld,
           task.out->floats->data() + (t * heads + h) * dim, heads * dim);
    }
  }
}

// Each head's row of the queries in 16 bits.
Tensor RoundQueries(const Context& context, const Tensor& q) {
  const int64_t dim = q.shape[2];
  Tensor rounded = context.workspace->Floats(q.shape);
  std::vector<int16_t> integers(dim);
  for (int64_t first = 0; first < q.elements(); first += dim) {
    const float scale = RoundToWords(q.floats->data() + first, dim, dim, integers.data());
    for (int64_t i = 0; i < dim; ++i) {
      (*rounded.floats)[first + i] = static_cast<float>(integers[i]) * scale;
    }
  }
  return rounded;
}

// The integers of rows that a cache of integers held, in place, and their scales.
void TakeIntegers(int64_t dim, int64_t count, float* rows, float* scales) {
  std::vector<int8_t> integers(dim);
  for (int64_t i = 0; i < count; ++i, rows += dim) {
    scales[i] = QuantiseGroup(kCacheScheme, rows, dim, integers.data()).scale;
    std::copy(integers.begin(), integers.end(), rows);
  }
}

}  // namespace

absl::StatusOr<Tensor> Attention(const Context& context, const Tensor& q, const Tensor& k,
                                 const Tensor& v, const Tensor& positions, const Tensor& seq_bounds,
                                 const Tensor& key_bounds, const ScoreRule& rule) {
  const int64_t kv_heads = k.shape[1], dim = k.shape[2];
  const int64_t sequences = seq_bounds.elements() - 1;
  NINFER_RETURN_IF_ERROR(CheckBounds("seq_bounds", seq_bounds, q.shape[0]));
  NINFER_RETURN_IF_ERROR(CheckBounds("key_bounds", key_bounds, k.shape[0]));
  NINFER_RETURN_IF_ERROR(CheckPositions(positions));
  for (int64_t s = 0; s < sequences; ++s) {
    const bool tokens = (*seq_bounds.ints)[s] < (*seq_bounds.ints)[s + 1];
    if (tokens && (*key_bounds.ints)[s] == (*key_bounds.ints)[s + 1]) {
      return InvalidArgument("sequence ", s, ": expected keys for its tokens, found none");
    }
  }
  Tensor out = context.workspace->Floats({q.shape[0], q.shape[1], v.shape[2]});
  context.threads->For(sequences * kv_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t s = unit / kv_heads, g = unit % kv_heads;
      const int64_t t0 = (*seq_bounds.ints)[s], t1 = (*seq_bounds.ints)[s + 1];
      if (t0 == t1) continue;
      const int64_t first = (*key_bounds.ints)[s];
      const int64_t group = q.shape[1] / kv_heads;
      const int64_t offset = (first * kv_heads + g) * dim;
      const int64_t count =
          std::min<int64_t>((*key_bounds.ints)[s + 1] - first, VisibleKeys(positions, t0, t1));
      AttendHead(context, {&q, &positions, t0, t1, g * group, group, k.floats->data() + offset,
                           v.floats->data() + offset, kv_heads * dim, count, &rule, &out});
    }
  });
  return out;
}

absl::StatusOr<Tensor> PagedAttention(const Context& context, const Tensor& queries,
                                      const KvStore& kv, const Tensor& positions,
                                      const Tensor& seq_bounds, const Tensor& page_table,
                                      const ScoreRule& rule) {
  const bool integers = kv.dtype() == DType::kI8;
  const Tensor q = integers ? RoundQueries(context, queries) : queries;
  const int64_t sequences = seq_bounds.elements() - 1, dim = kv.head_dim();
  NINFER_RETURN_IF_ERROR(CheckBounds("seq_bounds", seq_bounds, q.shape[0]));
  NINFER_RETURN_IF_ERROR(CheckPositions(positions));
  std::vector<std::vector<int64_t>> pages(sequences);  // kNoPage where none is seen
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t t0 = (*seq_bounds.ints)[s], t1 = (*seq_bounds.ints)[s + 1];
    const int64_t count = VisibleKeys(positions, t0, t1);
    pages[s].assign(FirstPage(rule, positions, t0, t1), kNoPage);
    for (int64_t position = static_cast<int64_t>(pages[s].size()) * kPagePositions;
         position < count; position += kPagePositions) {
      NINFER_ASSIGN_OR_RETURN(const int64_t page, PageOf(kv, page_table, s, position));
      pages[s].push_back(page);
    }
  }
  Tensor out = context.workspace->Floats(q.shape);
  context.threads->For(sequences * kv.heads(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t s = unit / kv.heads(), g = unit % kv.heads();
      const int64_t t0 = (*seq_bounds.ints)[s], t1 = (*seq_bounds.ints)[s + 1];
      if (t0 == t1) continue;
      const int64_t count = VisibleKeys(positions, t0, t1);
      const int64_t group = q.shape[1] / kv.heads();
      const Tensor keys = context.workspace->Floats({count, dim});
      const Tensor values = context.workspace->Floats({count, dim});
      const Tensor scales = context.workspace->Floats({integers ? count : 0});
      for (size_t i = 0; i < pages[s].size(); ++i) {
        const int64_t first = static_cast<int64_t>(i) * kPagePositions;
        const int64_t rows = std::min(kPagePositions, count - first);
        if (pages[s][i] == kNoPage) {  // every score is masked
          std::fill_n(keys.floats->begin() + first * dim, rows * dim, 0.0f);
          std::fill_n(values.floats->begin() + first * dim, rows * dim, 0.0f);
          continue;
        }
        kv.Read(KvPart::kKeys, pages[s][i], g, rows, keys.floats->data() + first * dim);
        kv.Read(KvPart::kValues, pages[s][i], g, rows, values.floats->data() + first * dim);
      }
      if (integers) TakeIntegers(dim, count, values.floats->data(), scales.floats->data());
      AttendHead(context, {&q, &positions, t0, t1, g * group, group, keys.floats->data(),
                           values.floats->data(), dim, count, &rule, &out,
                           integers ? scales.floats->data() : nullptr});
    }
  });
  return out;
}

}  // namespace ninfer::eager
