// Steps of several sequences over a paged cache, and what attention over it should give.
#ifndef NINFER_TESTS_CODEGEN_KV_TESTING_H_
#define NINFER_TESTS_CODEGEN_KV_TESTING_H_

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/quantise.h"
#include "eager/program_memory.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {

using eager::KvPart;
using eager::Tensor;
using program::Family;
using program::KvLayout;

constexpr int64_t kPage = KvLayout::kPagePositions;
constexpr int64_t kPages = 6;  // of one sequence

struct Sequence {
  int64_t cached, tokens;
  int64_t length() const { return cached + tokens; }
};
using StepShape = std::vector<Sequence>;

inline const std::vector<StepShape>& StepShapes() {
  static const auto* const shapes = new std::vector<StepShape>{
      {{0, 1}},
      {{0, 19}},
      {{63, 1}, {0, 3}, {130, 5}, {64, 1}},
      {{60, 21}, {0, 70}},
      {{200, 1}, {0, 1}, {127, 1}},
  };
  return *shapes;
}

// Keys and values of a sequence's positions, [length, heads, head_dim], as the cache's dtype holds
// them.
struct Rows {
  Tensor keys, values;
};

inline Tensor RandomTensor(std::vector<int64_t> shape, DType dtype, Random& random) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  std::vector<float> values(count);
  for (float& value : values) value = random.Normal();
  if (dtype == DType::kI8) {
    const int64_t row = shape.back();
    for (int64_t i = 0; i < count; i += row) {
      QuantiseRow(kCacheScheme, &values[i], row, &values[i]);
    }
    return Tensor::Floats(std::move(shape), std::move(values));
  }
  return Rounded(Tensor::Floats(std::move(shape), std::move(values)), dtype);
}

// A step's operands but the queries: positions, bounds, page table and a pool that holds `rows`,
// those on pages that a window (0: none) reaches.
class Step {
 public:
  Step(const StepShape& shape, const KvLayout& layout, const std::vector<Rows>& rows, uint64_t seed,
       int64_t window = 0)
      : shape_(shape), layout_(layout) {
    Random random(seed);
    std::vector<int32_t> free;
    const auto pages = static_cast<int32_t>(std::max<size_t>(4 * kPages, shape.size()) + 3);
    for (int32_t page = 0; page < pages; ++page) {
      free.insert(free.begin() + random.Below(page + 1), page);
    }
    operands.pool.resize(free.size() * layout.page_bytes());
    for (size_t i = 0; i < operands.pool.size(); i += 2) {
      std::memcpy(&operands.pool[i], &eager::kPoison, 2);
    }
    eager::LayoutStore store(layout, operands.pool.data(), static_cast<int64_t>(free.size()));
    std::vector<int32_t> positions, bounds = {0}, table;
    for (size_t s = 0; s < shape.size(); ++s) {
      const int64_t used = (shape[s].length() + kPage - 1) / kPage;
      const int64_t seen =
          window > 0 ? std::max<int64_t>(shape[s].cached - window + 1, 0) / kPage : 0;
      for (int64_t i = 0; i < kPages; ++i) {
        const bool held = seen <= i && i < used;
        table.push_back(held ? free.back() : int32_t{1} << 20);  // not to be looked at
        if (!held) continue;
        FillPage(free.back(), i, rows.empty() ? nullptr : &rows[s], random, store);
        free.pop_back();
      }
      for (int64_t t = 0; t < shape[s].tokens; ++t) {
        positions.push_back(static_cast<int32_t>(shape[s].cached + t));
      }
      bounds.push_back(static_cast<int32_t>(positions.size()));
    }
    const int64_t sequences = static_cast<int64_t>(shape.size());
    tokens_ = static_cast<int64_t>(positions.size());
    operands.tensors["positions"] = Tensor::Ints({tokens_}, positions);
    operands.tensors["seq_bounds"] = Tensor::Ints({sequences + 1}, bounds);
    operands.tensors["page_table"] = Tensor::Ints({sequences, kPages}, table);
  }

  int64_t tokens() const { return tokens_; }
  int32_t PageOf(int64_t sequence, int64_t position) const {
    return (*operands.tensors.at("page_table").ints)[sequence * kPages + position / kPage];
  }
  Operands operands;

 private:
  void FillPage(int32_t page, int64_t index, const Rows* rows, Random& random,
                eager::LayoutStore& store) {
    std::memset(&operands.pool[page * layout_.page_bytes()], 0, layout_.page_bytes());
    if (rows == nullptr) return;
    std::vector<float> garbage(layout_.head_dim);
    for (int64_t head = 0; head < layout_.heads; ++head) {
      for (int64_t i = 0; i < kPage; ++i) {
        const int64_t position = index * kPage + i;
        for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
          const Tensor& source = part == KvPart::kKeys ? rows->keys : rows->values;
          for (float& value : garbage) value = 1000 * random.Normal();
          const float* row = garbage.data();
          if (position < source.shape[0]) {
            row = source.floats->data() + (position * layout_.heads + head) * layout_.head_dim;
          }
          store.Write(part, page, head, i, row);
        }
      }
    }
  }

  StepShape shape_;
  KvLayout layout_;
  int64_t tokens_ = 0;
};

// What stands between the scaled scores and the softmax.
struct ScoreForm {
  int64_t window = 0;
  double softcap = 0;
  bool alibi = false;
  bool rounded = false;  // alibi's slopes and products, to bf16

  std::string name() const {
    return absl::StrCat(window > 0 ? absl::StrCat("_window", window) : "",
                        softcap > 0 ? "_softcap" : "", alibi ? "_alibi" : "",
                        rounded ? "_rounded" : "");
  }
  double Of(double scaled, int64_t query_head, int64_t position) const {
    if (softcap > 0) scaled = softcap * std::tanh(scaled / softcap);
    if (!alibi) return scaled;
    const auto round = [this](float v) { return rounded ? Bf16ToFloat(FloatToBf16(v)) : v; };
    return scaled +
           kAlibiScale * round(round(Slope(query_head)) * round(static_cast<float>(position)));
  }
  static constexpr double kAlibiScale = 0.75;
  static float Slope(int64_t query_head) { return 0.3f / static_cast<float>(query_head + 1); }
};

// softmax(scores of q and k) v of one row and query head in double precision.
inline void AttentionRow(const float* q, const Rows& rows, int64_t head, int64_t position,
                         double scale, const ScoreForm& form, int64_t query_head, float* y) {
  const int64_t heads = rows.keys.shape[1], dim = rows.keys.shape[2];
  std::vector<double> weights(position + 1), sum(dim, 0);
  double highest = -1e300, total = 0;
  for (int64_t i = 0; i <= position; ++i) {
    const float* k = rows.keys.floats->data() + (i * heads + head) * dim;
    double dot = 0;
    for (int64_t c = 0; c < dim; ++c) dot += double{q[c]} * k[c];
    weights[i] = form.Of(dot * scale, query_head, i);
    if (form.window > 0 && i <= position - form.window) weights[i] = -1e300;
    highest = std::max(highest, weights[i]);
  }
  for (double& weight : weights) total += weight = std::exp(weight - highest);
  for (int64_t i = 0; i <= position; ++i) {
    const float* v = rows.values.floats->data() + (i * heads + head) * dim;
    for (int64_t c = 0; c < dim; ++c) sum[c] += weights[i] / total * v[c];
  }
  for (int64_t c = 0; c < dim; ++c) y[c] = static_cast<float>(sum[c]);
}

struct AttentionCase {
  const char* form;
  DType cache, queries;
  int64_t dim, kv_heads, group;
  bool cast;   // the result to bf16
  bool slice;  // the queries out of a buffer with keys and values
  ScoreForm form_of_scores = {};

  int64_t heads() const { return kv_heads * group; }
  int64_t columns() const { return heads() * dim; }
  int64_t first_column() const { return slice ? kv_heads * dim : 0; }
  int64_t buffer_columns() const { return columns() + (slice ? 2 * kv_heads * dim : 0); }
  double scale() const { return 1 / std::sqrt(static_cast<double>(dim)); }
  KvLayout layout() const { return {cache, kv_heads, dim}; }
  std::string name() const {
    return absl::StrCat("attention_", form, "_", DTypeName(cache), "_", DTypeName(queries), "_",
                        heads(), "x", kv_heads, "x", dim, slice ? "_slice" : "",
                        cast ? "_cast" : "", form_of_scores.name());
  }
  KernelSource source() const;
};

inline KernelSource AttentionCase::source() const {
  const std::string q = std::string(DTypeName(queries));
  const std::string heads_type = absl::StrCat("[T,", heads(), ",", dim, "]");
  std::string body = absl::StrCat(
      "(%q: ", q, "[T,", buffer_columns(), "], %kv: kv<", DTypeName(cache), ">[", kv_heads, ",",
      dim, "], %positions: i32[T], %seq_bounds: i32[S+1], %page_table: i32[S,G]",
      form_of_scores.alibi ? absl::StrCat(", %slopes: f32[", heads(), "]") : "", ") {\n");
  if (slice) {
    absl::StrAppend(&body, "  %cut = slice %q {axis = 1, begin = ", first_column(),
                    ", end = ", first_column() + columns(), "} : ", q, "[T,", columns(), "]\n");
  }
  absl::StrAppend(
      &body, "  %0 = reshape ", slice ? "%cut" : "%q", " : ", q, heads_type,
      "\n  %1 = paged_attention %0, %kv, %positions, %seq_bounds, %page_table",
      form_of_scores.alibi ? ", %slopes" : "", " {scale = ", scale(), ", form = \"", form, "\"",
      form_of_scores.window > 0 ? absl::StrCat(", window = ", form_of_scores.window) : "",
      form_of_scores.softcap > 0 ? absl::StrCat(", softcap = ", form_of_scores.softcap) : "",
      form_of_scores.alibi ? absl::StrCat(", alibi_scale = ", ScoreForm::kAlibiScale) : "",
      form_of_scores.rounded ? ", alibi_rounding = \"bf16\"" : "", "} : f32", heads_type,
      "\n  %2 = reshape %1 : f32[T,", columns(), "]\n");
  if (cast) absl::StrAppend(&body, "  %3 = cast %2 : bf16[T,", columns(), "]\n");
  absl::StrAppend(&body, "  return ", cast ? "%3" : "%2", "\n}");
  KernelSource source = {name(), Family::kAttention, body};
  if (form_of_scores.alibi) source.weights["slopes"] = formats::Format::kPlainF32;
  return source;
}

inline std::vector<Rows> RandomRows(const StepShape& shape, const KvLayout& layout,
                                    Random& random) {
  std::vector<Rows> rows;
  for (const Sequence& sequence : shape) {
    const std::vector<int64_t> dims = {sequence.length(), layout.heads, layout.head_dim};
    Tensor keys = RandomTensor(dims, layout.dtype, random);
    rows.push_back({std::move(keys), RandomTensor(dims, layout.dtype, random)});
  }
  return rows;
}

inline Tensor Reference(const AttentionCase& c, const StepShape& shape,
                        const std::vector<Rows>& rows, const Tensor& q) {
  std::vector<float> y(q.shape[0] * c.columns());
  int64_t row = 0;
  for (size_t s = 0; s < shape.size(); ++s) {
    for (int64_t t = 0; t < shape[s].tokens; ++t, ++row) {
      for (int64_t head = 0; head < c.heads(); ++head) {
        AttentionRow(q.floats->data() + row * c.buffer_columns() + c.first_column() + head * c.dim,
                     rows[s], head / c.group, shape[s].cached + t, c.scale(), c.form_of_scores,
                     head, y.data() + row * c.columns() + head * c.dim);
      }
    }
  }
  return Tensor::Floats({q.shape[0], c.columns()}, std::move(y));
}

struct AppendCase {
  DType cache, input;
  int64_t dim, heads;
  bool rope;
  bool scratch;

  KvLayout layout() const { return {cache, heads, dim}; }
  KernelSource source() const;
};

// Keys and values are columns of one buffer; keys may be rotated.
inline KernelSource AppendCase::source() const {
  const std::string x = std::string(DTypeName(input));
  const int64_t columns = heads * dim, angles = dim / 2;
  const std::string flat = absl::StrCat(x, "[T,", columns, "]");
  const std::string split = absl::StrCat("[T,", heads, ",", dim, "]");
  std::string body = absl::StrCat("(%x: ", x, "[T,", 3 * columns, "]");
  if (rope) absl::StrAppend(&body, ", %c: f32[T,", angles, "], %s: f32[T,", angles, "]");
  const std::string kv = absl::StrCat("kv<", DTypeName(cache), ">[", heads, ",", dim, "]");
  absl::StrAppend(&body, ", %kv: ", kv,
                  ", %positions: i32[T], %seq_bounds: i32[S+1], %page_table: i32[S,G]) {\n",
                  "  %0 = slice %x {axis = 1, begin = ", columns, ", end = ", 2 * columns,
                  "} : ", flat, "\n  %1 = reshape %0 : ", x, split,
                  "\n  %2 = slice %x {axis = 1, begin = ", 2 * columns, ", end = ", 3 * columns,
                  "} : ", flat, "\n  %3 = reshape %2 : ", x, split, "\n");
  if (rope) absl::StrAppend(&body, "  %4 = rope %1, %c, %s {style = \"half\"} : f32", split, "\n");
  std::string k = rope ? "%4" : "%1", v = "%3";
  const DType taken = cache == DType::kI8 ? DType::kF32 : cache;
  const std::string cached = std::string(DTypeName(taken));
  if (rope ? taken != DType::kF32 : taken != input) {
    absl::StrAppend(&body, "  %5 = cast ", k, " : ", cached, split, "\n");
    k = "%5";
  }
  if (taken != input) {
    absl::StrAppend(&body, "  %6 = cast ", v, " : ", cached, split, "\n");
    v = "%6";
  }
  absl::StrAppend(&body, "  %7 = kv_append %kv, ", k, ", ", v,
                  ", %positions, %seq_bounds, %page_table : ", kv, "\n  return %7\n}");
  KernelSource source{absl::StrCat("kv_append_", x, "_", DTypeName(cache), "_", heads, "x", dim,
                                   rope ? "_rope" : "", scratch ? "_scratch" : ""),
                      Family::kKvAppend, body};
  source.scratch_pool = scratch;
  return source;
}

}  // namespace ninfer

#endif  // NINFER_TESTS_CODEGEN_KV_TESTING_H_
