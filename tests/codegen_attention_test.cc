// The families around the KV cache: kv_append, attention in its three forms and the pages of a
// scratch cache, for 1 to 4 sequences of unequal lengths on shuffled pages, against double
// precision. What lies behind a sequence's last position is garbage, what lies on pages of nobody
// is NaN. A sequence alone, a token alone and any cut of the units give the same bits.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "eager/program_memory.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {
namespace {

using eager::KvPart;
using eager::Tensor;
using program::Family;
using program::KvLayout;

#ifdef NINFER_FULL_TIER
constexpr bool kFullTier = true;
#else
constexpr bool kFullTier = false;
#endif

constexpr int64_t kPage = KvLayout::kPagePositions;
constexpr int64_t kPages = 6;  // of one sequence

struct Sequence {
  int64_t cached, tokens;
  int64_t length() const { return cached + tokens; }
};
using StepShape = std::vector<Sequence>;

const std::vector<StepShape>& StepShapes() {
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

Tensor RandomTensor(std::vector<int64_t> shape, DType dtype, Random& random) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  std::vector<float> values(count);
  for (float& value : values) value = random.Normal();
  return Rounded(Tensor::Floats(std::move(shape), std::move(values)), dtype);
}

// A step's operands but the queries: positions, bounds, page table and a pool that holds `rows`.
class Step {
 public:
  Step(const StepShape& shape, const KvLayout& layout, const std::vector<Rows>& rows, uint64_t seed)
      : shape_(shape), layout_(layout) {
    Random random(seed);
    std::vector<int32_t> free;
    for (int32_t page = 0; page < 4 * kPages + 3; ++page) {
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
      for (int64_t i = 0; i < kPages; ++i) {
        table.push_back(i < used ? free.back() : int32_t{1} << 20);  // not to be looked at
        if (i >= used) continue;
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

// softmax(scale q k^T) v of one row and query head in double precision.
void AttentionRow(const float* q, const Rows& rows, int64_t head, int64_t position, double scale,
                  float* y) {
  const int64_t heads = rows.keys.shape[1], dim = rows.keys.shape[2];
  std::vector<double> weights(position + 1), sum(dim, 0);
  double highest = -1e300, total = 0;
  for (int64_t i = 0; i <= position; ++i) {
    const float* k = rows.keys.floats->data() + (i * heads + head) * dim;
    double dot = 0;
    for (int64_t c = 0; c < dim; ++c) dot += double{q[c]} * k[c];
    weights[i] = dot * scale;
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

  int64_t heads() const { return kv_heads * group; }
  int64_t columns() const { return heads() * dim; }
  int64_t first_column() const { return slice ? kv_heads * dim : 0; }
  int64_t buffer_columns() const { return columns() + (slice ? 2 * kv_heads * dim : 0); }
  double scale() const { return 1 / std::sqrt(static_cast<double>(dim)); }
  KvLayout layout() const { return {cache, kv_heads, dim}; }
  std::string name() const {
    return absl::StrCat("attention_", form, "_", DTypeName(cache), "_", DTypeName(queries), "_",
                        heads(), "x", kv_heads, "x", dim, slice ? "_slice" : "",
                        cast ? "_cast" : "");
  }
  KernelSource source() const;
};

KernelSource AttentionCase::source() const {
  const std::string q = std::string(DTypeName(queries));
  const std::string heads_type = absl::StrCat("[T,", heads(), ",", dim, "]");
  std::string body = absl::StrCat(
      "(%q: ", q, "[T,", buffer_columns(), "], %kv: kv<", DTypeName(cache), ">[", kv_heads, ",",
      dim, "], %positions: i32[T], %seq_bounds: i32[S+1], %page_table: i32[S,G]) {\n");
  if (slice) {
    absl::StrAppend(&body, "  %cut = slice %q {axis = 1, begin = ", first_column(),
                    ", end = ", first_column() + columns(), "} : ", q, "[T,", columns(), "]\n");
  }
  absl::StrAppend(
      &body, "  %0 = reshape ", slice ? "%cut" : "%q", " : ", q, heads_type,
      "\n  %1 = paged_attention %0, %kv, %positions, %seq_bounds, %page_table {scale = ", scale(),
      ", form = \"", form, "\"} : f32", heads_type, "\n  %2 = reshape %1 : f32[T,", columns(),
      "]\n");
  if (cast) absl::StrAppend(&body, "  %3 = cast %2 : bf16[T,", columns(), "]\n");
  absl::StrAppend(&body, "  return ", cast ? "%3" : "%2", "\n}");
  return {name(), Family::kAttention, body};
}

std::vector<AttentionCase> AttentionCases() {
  constexpr int64_t kDims[] = {8, 20, 24, 64, 80, 96, 128, 256};
  constexpr int64_t kGroups[] = {1, 2, 3, 4, 8};
  constexpr const char* kForms[] = {"flash", "efficient", "naive"};
  constexpr DType kTypes[][2] = {{DType::kF32, DType::kF32},
                                 {DType::kBF16, DType::kBF16},
                                 {DType::kBF16, DType::kF32},
                                 {DType::kF32, DType::kBF16}};
  std::vector<AttentionCase> cases;
  int count = 0;
  for (const int64_t dim : kDims) {
    for (const int64_t group : kGroups) {
      for (const char* form : kForms) {
        for (const auto& [cache, queries] : kTypes) {
          const bool bf16 = queries == DType::kBF16;
          cases.push_back({form, cache, queries, dim, 1 + count % 2, group, bf16, count % 3 == 0});
          ++count;
        }
      }
    }
  }
  if (kFullTier) return cases;
  // Of 480 cases 20: every dimension, group, form and pair of types several times.
  std::vector<AttentionCase> few;
  for (size_t i = 0; i < cases.size(); i += 25) few.push_back(cases[i]);
  return few;
}

std::vector<Rows> RandomRows(const StepShape& shape, const KvLayout& layout, Random& random) {
  std::vector<Rows> rows;
  for (const Sequence& sequence : shape) {
    const std::vector<int64_t> dims = {sequence.length(), layout.heads, layout.head_dim};
    Tensor keys = RandomTensor(dims, layout.dtype, random);
    rows.push_back({std::move(keys), RandomTensor(dims, layout.dtype, random)});
  }
  return rows;
}

Tensor Reference(const AttentionCase& c, const StepShape& shape, const std::vector<Rows>& rows,
                 const Tensor& q) {
  std::vector<float> y(q.shape[0] * c.columns());
  int64_t row = 0;
  for (size_t s = 0; s < shape.size(); ++s) {
    for (int64_t t = 0; t < shape[s].tokens; ++t, ++row) {
      for (int64_t head = 0; head < c.heads(); ++head) {
        AttentionRow(q.floats->data() + row * c.buffer_columns() + c.first_column() + head * c.dim,
                     rows[s], head / c.group, shape[s].cached + t, c.scale(),
                     y.data() + row * c.columns() + head * c.dim);
      }
    }
  }
  return Tensor::Floats({q.shape[0], c.columns()}, std::move(y));
}

Tensor TakeRows(const Tensor& x, int64_t first, int64_t count) {
  const int64_t columns = x.shape[1];
  Tensor y = Tensor::Floats({count, columns}, {x.floats->begin() + first * columns,
                                               x.floats->begin() + (first + count) * columns});
  y.dtype = x.dtype;
  return y;
}

// Each sequence by itself, on other pages, and its last token by itself.
void ExpectSameAlone(const KernelHarness& harness, int kernel, const AttentionCase& c,
                     const StepShape& shape, const std::vector<Rows>& rows,
                     const Operands& together) {
  for (const Engine& engine : harness.engines()) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    const auto all = harness.Run(engine.name, kernel, together);
    ASSERT_TRUE(all.ok()) << all.status();
    int64_t first = 0;
    for (size_t s = 0; s < shape.size(); first += shape[s++].tokens) {
      const Sequence last = {shape[s].length() - 1, 1};
      for (const Sequence& part : {shape[s], last}) {
        const int64_t skipped = part.cached - shape[s].cached;
        Step alone({part}, c.layout(), {rows[s]}, 991 + s);
        alone.operands.tensors["q"] =
            TakeRows(together.tensors.at("q"), first + skipped, part.tokens);
        const auto run = harness.Run(engine.name, kernel, alone.operands);
        ASSERT_TRUE(run.ok()) << run.status();
        EXPECT_TRUE(
            SameBits(run->results[0], TakeRows(all->results[0], first + skipped, part.tokens)))
            << engine.name << ": " << c.name() << ": sequence " << s << ", " << part.tokens
            << " tokens";
      }
    }
  }
}

TEST(CodegenAttention, EqualsDoublePrecisionAndIsIndependentOfNeighbours) {
  const std::vector<AttentionCase> cases = AttentionCases();
  KernelHarness harness({}, kPages);
  for (const AttentionCase& c : cases) harness.Add(c.source());
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (size_t i = 0; i < cases.size(); ++i) {
    const AttentionCase& c = cases[i];
    const int kernel = static_cast<int>(i);
    for (size_t j = 0; j < StepShapes().size(); ++j) {
      const StepShape& shape = StepShapes()[j];
      Random random(100 * i + j);
      const std::vector<Rows> rows = RandomRows(shape, c.layout(), random);
      Step step(shape, c.layout(), rows, 7 * i + j);
      Tensor& q = step.operands.tensors["q"];
      q = RandomTensor({step.tokens(), c.buffer_columns()}, c.queries, random);
      const std::vector<Tensor> expected = {Reference(c, shape, rows, q)};
      harness.ExpectAgree(kernel, step.operands, {2e-5, c.cast ? 1.0 / 256 : 1e-5}, &expected);
      harness.ExpectUnitsIndependent(kernel, step.operands, j);
      ExpectSameAlone(harness, kernel, c, shape, rows, step.operands);
    }
  }
}

// Scores far apart: the running maximum moves from page to page, and weights vanish.
TEST(CodegenAttention, StaysFiniteWithSteepScores) {
  KernelHarness harness({}, kPages);
  std::vector<AttentionCase> cases;
  for (const char* form : {"flash", "efficient", "naive"}) {
    cases.push_back({form, DType::kF32, DType::kF32, 20, 1, 2, false, false});
    harness.Add(cases.back().source());
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  const StepShape shape = {{190, 3}, {64, 2}};
  for (size_t i = 0; i < cases.size(); ++i) {
    Random random(i);
    const std::vector<Rows> rows = RandomRows(shape, cases[i].layout(), random);
    Step step(shape, cases[i].layout(), rows, i);
    Tensor& q = step.operands.tensors["q"];
    q = RandomTensor({step.tokens(), cases[i].columns()}, DType::kF32, random);
    for (float& value : *q.floats) value *= 300;
    const std::vector<Tensor> expected = {Reference(cases[i], shape, rows, q)};
    harness.ExpectAgree(static_cast<int>(i), step.operands, {3e-3, 1e-3}, &expected);
  }
}

// --- kv_append -----------------------------------------------------------------------------------

struct AppendCase {
  DType cache, input;
  int64_t dim, heads;
  bool rope;
  bool scratch;

  KvLayout layout() const { return {cache, heads, dim}; }
  KernelSource source() const;
};

// Keys and values are columns of one buffer; keys may be rotated.
KernelSource AppendCase::source() const {
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
  const std::string cached = std::string(DTypeName(cache));
  if (rope ? cache != DType::kF32 : cache != input) {
    absl::StrAppend(&body, "  %5 = cast ", k, " : ", cached, split, "\n");
    k = "%5";
  }
  if (cache != input) {
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

// The pool after the step, element by element: the new rows as the oracle writes them and every
// other element as it was. Bytes between elements are padding, and zero or as they were.
void ExpectAppended(const KernelHarness& harness, int kernel, const AppendCase& c,
                    const StepShape& shape, const Step& step) {
  const auto oracle = harness.Run("oracle", kernel, step.operands);
  ASSERT_TRUE(oracle.ok()) << oracle.status();
  const KvLayout layout = c.layout();
  const int64_t size = DTypeSize(c.cache);
  const int64_t pages = static_cast<int64_t>(step.operands.pool.size()) / layout.page_bytes();
  // 1: an element, 2: zeroed or as it was, and of no interest.
  std::vector<uint8_t> role(step.operands.pool.size(), 2);
  for (int64_t page = 0; page < pages; ++page) {
    for (int64_t head = 0; head < c.heads; ++head) {
      for (int64_t i = 0; i < kPage * c.dim; ++i) {
        const int64_t at = page * layout.page_bytes();
        std::memset(&role[at + layout.KOffset(head, i / c.dim, i % c.dim)], 1, size);
        std::memset(&role[at + layout.VOffset(head, i / c.dim, i % c.dim)], 1, size);
      }
    }
  }
  std::vector<uint8_t> expected = oracle->pool;
  if (c.scratch) {  // the values behind a text's end, in its last page, are zeroed
    for (size_t s = 0; s < shape.size(); ++s) {
      const int64_t end = shape[s].length();
      const int64_t at = step.PageOf(s, end - 1) * layout.page_bytes();
      for (int64_t i = (end - 1) % kPage + 1; i < kPage; ++i) {
        for (int64_t j = 0; j < c.heads * c.dim; ++j) {
          std::memset(&expected[at + layout.VOffset(j / c.dim, i, j % c.dim)], 0, size);
          std::memset(&role[at + layout.KOffset(j / c.dim, i, j % c.dim)], 2, size);
        }
      }
    }
  }
  for (const Engine& engine : harness.engines()) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    const auto run = harness.Run(engine.name, kernel, step.operands);
    ASSERT_TRUE(run.ok()) << run.status();
    int64_t wrong = 0;
    std::string first;
    for (size_t i = 0; i < expected.size(); i += size) {
      const bool element = role[i] == 1;
      const bool same = std::memcmp(&run->pool[i], &expected[i], size) == 0;
      const bool zero = std::count(&run->pool[i], &run->pool[i] + size, 0) == size;
      // The last bit may differ where the keys were rotated.
      float found, wanted;
      ConvertToFloat(c.cache, &run->pool[i], &found, 1);
      ConvertToFloat(c.cache, &expected[i], &wanted, 1);
      const double bound = c.cache == DType::kBF16 ? std::abs(wanted) / 128 + 1e-6 : 2e-6;
      const bool close = c.rope && std::abs(double{found} - wanted) <= bound;
      if (element ? same || close : same || zero) continue;
      if (wrong++ == 0) {
        first = absl::StrCat(" byte ", i % layout.page_bytes(), " of page ",
                             i / layout.page_bytes(), ": expected ", wanted, ", found ", found);
      }
    }
    EXPECT_EQ(wrong, 0) << engine.name << ": " << harness.kernel(kernel).name << first;
  }
}

TEST(CodegenKvAppend, WritesTheRowsOfItsPositionsAndNothingElse) {
  std::vector<AppendCase> cases;
  for (const DType cache : {DType::kF32, DType::kBF16}) {
    for (const int64_t dim : {5, 8, 20, 64}) {
      cases.push_back({cache, DType::kF32, dim, 2, dim % 2 == 0, false});
      cases.push_back({cache, DType::kF32, dim, 3, false, true});
    }
    cases.push_back({cache, DType::kBF16, 24, 1, false, false});
  }
  KernelHarness harness({}, kPages);
  for (const AppendCase& c : cases) harness.Add(c.source());
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (size_t i = 0; i < cases.size(); ++i) {
    const AppendCase& c = cases[i];
    const int kernel = static_cast<int>(i);
    for (size_t j = 0; j < StepShapes().size(); ++j) {
      StepShape shape = StepShapes()[j];
      if (c.scratch) {  // whole texts alone
        for (Sequence& sequence : shape) sequence = {0, sequence.length()};
      }
      Random random(j);
      const std::vector<Rows> rows =
          c.scratch ? std::vector<Rows>() : RandomRows(shape, c.layout(), random);
      Step step(shape, c.layout(), rows, j);
      if (c.scratch) {
        for (size_t k = 0; k < step.operands.pool.size(); k += 2) {
          std::memcpy(&step.operands.pool[k], &eager::kPoison, 2);
        }
      }
      harness.FillRandom(kernel, 3 * i + j, &step.operands);
      ExpectAppended(harness, kernel, c, shape, step);
      harness.ExpectUnitsIndependent(kernel, step.operands, i);
    }
  }
}

// --- scratch caches ------------------------------------------------------------------------------

TEST(CodegenPages, LaysTextsSideBySide) {
  KernelHarness harness({}, kPages);
  const int kernel = harness.Add({"pages", Family::kPages, R"((%seq_bounds: i32[S+1]) {
  %0 = scratch_pages %seq_bounds : i32[S,G]
  return %0
})"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  const std::vector<int32_t> bounds = {0, 1, 65, 193, 194};
  const std::vector<std::vector<int32_t>> pages = {{0}, {1}, {2, 3}, {4}};
  Operands operands;
  operands.tensors["seq_bounds"] = Tensor::Ints({5}, bounds);
  operands.dims["G"] = 3;
  for (const Engine& engine : harness.engines()) {
    if (!engine.skipped.empty()) continue;
    const auto run = harness.Run(engine.name, kernel, operands);
    ASSERT_TRUE(run.ok()) << run.status();
    for (size_t s = 0; s < pages.size(); ++s) {
      for (size_t i = 0; i < pages[s].size(); ++i) {
        EXPECT_EQ((*run->results[0].ints)[s * 3 + i], pages[s][i]) << engine.name;
      }
    }
  }
}

// A pool that nobody zeroed: what the append leaves alone must not reach the attention.
TEST(CodegenAttention, ReadsAScratchPoolThatHeldNan) {
  struct Pair {
    AppendCase append;
    AttentionCase attention;
  };
  std::vector<Pair> pairs;
  KernelHarness harness({}, kPages);
  const char* forms[] = {"flash", "efficient", "naive"};
  int count = 0;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t dim : {5, 20, 64}) {
      pairs.push_back({{dtype, dtype, dim, 2, false, true},
                       {forms[count++ % 3], dtype, dtype, dim, 2, 2, false, false}});
      harness.Add(pairs.back().append.source());
      KernelSource attention = pairs.back().attention.source();
      attention.scratch_pool = true;
      harness.Add(attention);
    }
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  const StepShape shape = {{0, 3}, {0, 70}, {0, 1}};
  for (size_t i = 0; i < pairs.size(); ++i) {
    const AttentionCase& c = pairs[i].attention;
    Random random(i);
    const std::vector<Rows> rows = RandomRows(shape, c.layout(), random);
    Step step(shape, c.layout(), {}, i);
    for (size_t k = 0; k < step.operands.pool.size(); k += 2) {
      std::memcpy(&step.operands.pool[k], &eager::kPoison, 2);
    }
    // [T, 3, heads * dim]: nothing, keys, values.
    std::vector<float> x;
    const int64_t columns = c.kv_heads * c.dim;
    for (const Rows& text : rows) {
      for (int64_t t = 0; t < text.keys.shape[0]; ++t) {
        x.insert(x.end(), columns, 0.0f);
        for (const Tensor* part : {&text.keys, &text.values}) {
          x.insert(x.end(), part->floats->begin() + t * columns,
                   part->floats->begin() + (t + 1) * columns);
        }
      }
    }
    Operands append = step.operands;
    append.tensors["x"] = Tensor::Floats({step.tokens(), 3 * columns}, std::move(x));
    Tensor& q = step.operands.tensors["q"];
    q = RandomTensor({step.tokens(), c.columns()}, c.queries, random);
    const std::vector<Tensor> expected = {Reference(c, shape, rows, q)};
    for (const Engine& engine : harness.engines()) {
      if (engine.is_oracle() || !engine.skipped.empty()) continue;
      const auto appended = harness.Run(engine.name, static_cast<int>(2 * i), append);
      ASSERT_TRUE(appended.ok()) << appended.status();
      step.operands.pool = appended->pool;
      harness.ExpectAgree(static_cast<int>(2 * i + 1), step.operands, {2e-5, 1e-5}, &expected);
    }
  }
}

}  // namespace
}  // namespace ninfer
