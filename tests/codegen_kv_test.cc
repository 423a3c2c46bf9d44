// kv_append, byte by byte; the pages of a scratch cache; and attention over a pool that nobody
// zeroed.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/codegen_kv_testing.h"

namespace ninfer {
namespace {

// Elements of a page: integers are bytes with scales behind them.
enum class Role : uint8_t { kPadding, kElement, kScale };

// What each byte of the pool belongs to.
std::vector<Role> RolesOf(const KvLayout& layout, int64_t bytes) {
  const int64_t size = DTypeSize(layout.dtype);
  std::vector<Role> roles(bytes, Role::kPadding);
  const auto mark = [&](int64_t at, Role role, int64_t count) {
    std::fill_n(roles.begin() + at, count, role);
  };
  for (int64_t page = 0; page < bytes; page += layout.page_bytes()) {
    for (int64_t head = 0; head < layout.heads; ++head) {
      for (int64_t i = 0; i < kPage * layout.head_dim; ++i) {
        const int64_t position = i / layout.head_dim, column = i % layout.head_dim;
        mark(page + layout.KOffset(head, position, column), Role::kElement, size);
        mark(page + layout.VOffset(head, position, column), Role::kElement, size);
      }
      for (int64_t i = 0; i < kPage && layout.integers(); ++i) {
        mark(page + layout.KScaleOffset(head, i), Role::kScale, sizeof(float));
        mark(page + layout.VScaleOffset(head, i), Role::kScale, sizeof(float));
      }
    }
  }
  return roles;
}

// In a scratch pool the values behind a text's end, in its last page, are zeroed (of integers their
// scales), and the keys are of no interest.
void ExpectZeroBehind(const AppendCase& c, const StepShape& shape, const Step& step,
                      std::vector<uint8_t>* expected, std::vector<Role>* roles) {
  const KvLayout layout = c.layout();
  const int64_t size = DTypeSize(c.cache);
  for (size_t s = 0; s < shape.size(); ++s) {
    const int64_t end = shape[s].length();
    const int64_t at = step.PageOf(s, end - 1) * layout.page_bytes();
    for (int64_t i = (end - 1) % kPage + 1; i < kPage; ++i) {
      for (int64_t head = 0; head < c.heads; ++head) {
        for (int64_t column = 0; column < c.dim && !layout.integers(); ++column) {
          std::memset(&(*expected)[at + layout.VOffset(head, i, column)], 0, size);
          std::fill_n(roles->begin() + at + layout.KOffset(head, i, column), size, Role::kPadding);
        }
        if (!layout.integers()) continue;
        std::memset(&(*expected)[at + layout.VScaleOffset(head, i)], 0, sizeof(float));
      }
    }
  }
}

// How far a number may lie from the oracle's: the last bit may differ where the keys were rotated.
double RotatedBound(Role role, DType cache, double wanted) {
  if (role == Role::kElement && cache == DType::kI8) return 1;
  return cache == DType::kBF16 ? std::abs(wanted) / 128 + 1e-6 : 2e-6;
}

double NumberAt(const uint8_t* at, Role role, DType cache) {
  if (role != Role::kScale && cache == DType::kI8) return *at;
  float number;
  ConvertToFloat(role == Role::kScale ? DType::kF32 : cache, at, &number, 1);
  return number;
}

// The pool after the step, element by element: the new rows as the oracle writes them and every
// other element as it was. Bytes between elements are padding, and zero or as they were.
void ExpectAppended(const KernelHarness& harness, int kernel, const AppendCase& c,
                    const StepShape& shape, const Step& step) {
  const auto oracle = harness.Run("oracle", kernel, step.operands);
  ASSERT_TRUE(oracle.ok()) << oracle.status();
  const KvLayout layout = c.layout();
  const int64_t element = DTypeSize(c.cache);
  std::vector<uint8_t> expected = oracle->pool;
  std::vector<Role> roles = RolesOf(layout, static_cast<int64_t>(expected.size()));
  if (c.scratch) ExpectZeroBehind(c, shape, step, &expected, &roles);
  for (const Engine& engine : harness.engines()) {
    if (engine.is_oracle() || !engine.skipped.empty()) continue;
    const auto run = harness.Run(engine.name, kernel, step.operands);
    ASSERT_TRUE(run.ok()) << run.status();
    int64_t wrong = 0;
    std::string first;
    for (size_t i = 0, size = 0; i < expected.size(); i += size) {
      size = roles[i] == Role::kScale ? sizeof(float) : element;
      const bool same = std::memcmp(&run->pool[i], &expected[i], size) == 0;
      // A byte of integers stands for zero.
      const bool zero = c.cache == DType::kI8 ? run->pool[i] == kCacheZero
                                              : std::count(&run->pool[i], &run->pool[i] + size,
                                                           0) == static_cast<int64_t>(size);
      const double found = NumberAt(&run->pool[i], roles[i], c.cache);
      const double wanted = NumberAt(&expected[i], roles[i], c.cache);
      const bool close =
          c.rope && std::abs(found - wanted) <= RotatedBound(roles[i], c.cache, wanted);
      if (roles[i] == Role::kPadding ? same || zero : same || close) continue;
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
  for (const DType cache : {DType::kF32, DType::kBF16, DType::kI8}) {
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

// A norm of two heads of the cache together needs the statistics of both, whichever of them the
// thread's units write.
TEST(CodegenKvAppend, NormsThatReachAcrossHeadsAreOfAllOfThem) {
  KernelHarness harness({}, kPages);
  const AppendCase c = {DType::kF32, DType::kF32, 8, 4, true, false};  // "rope": sums may differ
  const int kernel =
      harness.Add({"kv_append_norms",
                   Family::kKvAppend,
                   R"((%x: f32[T,4,8], %a: f32[8], %b: f32[16], %kv: kv<f32>[4,8],
      %positions: i32[T], %seq_bounds: i32[S+1], %page_table: i32[S,G]) {
  %0 = rms_norm %x, %a {eps = 1e-05} : f32[T,4,8]
  %1 = reshape %0 : f32[T,2,16]
  %2 = rms_norm %1, %b {eps = 1e-05} : f32[T,2,16]
  %3 = reshape %2 : f32[T,4,8]
  %4 = kv_append %kv, %3, %x, %positions, %seq_bounds, %page_table : kv<f32>[4,8]
  return %4
})",
                   {{"a", formats::Format::kPlainF32}, {"b", formats::Format::kPlainF32}}});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  const StepShape shape = {{3, 1}, {70, 1}, {0, 5}};
  Random random(1);
  Step step(shape, c.layout(), RandomRows(shape, c.layout(), random), 1);
  harness.FillRandom(kernel, 1, &step.operands);
  ExpectAppended(harness, kernel, c, shape, step);
  harness.ExpectUnitsIndependent(kernel, step.operands, 1);
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
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    const DType rows = dtype == DType::kI8 ? DType::kF32 : dtype;
    for (const int64_t dim : {5, 20, 64}) {
      pairs.push_back({{dtype, rows, dim, 2, false, true},
                       {forms[count++ % 3], dtype, rows, dim, 2, 2, false, false}});
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
      const double bound = c.cache == DType::kI8 ? 2e-4 : 2e-5;
      harness.ExpectAgree(static_cast<int>(2 * i + 1), step.operands, {bound, 1e-5}, &expected);
    }
  }
}

// --- one thread's part of both -------------------------------------------------------------------

// With a row for each sequence no barrier lies between the two: whatever range of units a thread
// has, it must have appended what it reads.
void ExpectRangesReadWhatTheyAppend(const KernelHarness& harness, const std::string& engine,
                                    int append, const Operands& appended, int attention,
                                    const Operands& attending, Random& random) {
  const int64_t units = harness.Units(append, appended);
  ASSERT_EQ(units, harness.Units(attention, attending));
  const auto attend = [&](const KernelRun& cache, int64_t begin, int64_t end) {
    Operands operands = attending;
    operands.pool = cache.pool;
    auto run = harness.RunUnits(engine, attention, operands, {begin, end});
    EXPECT_TRUE(run.ok()) << run.status();
    return *run->results[0].floats;
  };
  const auto all = harness.RunUnits(engine, append, appended, {0, units});
  ASSERT_TRUE(all.ok()) << all.status();
  const std::vector<float> expected = attend(*all, 0, units);
  std::vector<int64_t> cuts = {0, units};
  for (int i = 0; i < 4; ++i) cuts.push_back(random.Below(units + 1));
  std::sort(cuts.begin(), cuts.end());
  std::vector<int> found(expected.size(), 0);
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    const auto part = harness.RunUnits(engine, append, appended, {cuts[i], cuts[i + 1]});
    ASSERT_TRUE(part.ok()) << part.status();
    const std::vector<float> y = attend(*part, cuts[i], cuts[i + 1]);
    for (size_t j = 0; j < y.size(); ++j) found[j] += y[j] == expected[j] ? 1 : 0;
  }
  EXPECT_EQ(std::count(found.begin(), found.end(), 1), static_cast<int64_t>(found.size()));
}

TEST(CodegenAttention, OfOneRowASequenceReadsInARangeOfUnitsWhatAppendWritesInIt) {
  KernelHarness harness({}, kPages);
  std::vector<std::pair<AppendCase, AttentionCase>> pairs;
  const char* forms[] = {"flash", "efficient", "naive"};
  for (const int64_t heads : {1, 3, 8}) {
    const DType cache = heads == 3 ? DType::kF32 : DType::kBF16;
    pairs.push_back({{cache, DType::kF32, 20, heads, false, false},
                     {forms[pairs.size()], cache, DType::kF32, 20, heads, 2, false, false}});
    harness.Add(pairs.back().first.source());
    harness.Add(pairs.back().second.source());
  }
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (size_t i = 0; i < pairs.size(); ++i) {
    const int append = static_cast<int>(2 * i), attention = append + 1;
    const KvLayout layout = pairs[i].first.layout();
    for (const int sequences : {1, 3, 16, 17, 40}) {
      Random random(100 * i + sequences);
      StepShape shape;
      for (int s = 0; s < sequences; ++s) shape.push_back({random.Below(kPage), 1});
      Step step(shape, layout, RandomRows(shape, layout, random), i);
      Operands attending = step.operands;
      attending.tensors["q"] =
          RandomTensor({sequences, pairs[i].second.columns()}, DType::kF32, random);
      Operands appended = step.operands;
      const int64_t columns = 3 * layout.heads * layout.head_dim;
      Tensor& x = appended.tensors["x"];
      for (const Engine& engine : harness.engines()) {
        if (engine.is_oracle() || !engine.skipped.empty()) continue;
        SCOPED_TRACE(
            absl::StrCat(engine.name, ", ", sequences, " sequences, ", layout.heads, " heads"));
        // First the new positions hold nothing.
        x = Tensor::Floats({sequences, columns}, std::vector<float>(sequences * columns, NAN));
        appended.pool = step.operands.pool;
        const auto empty = harness.Run(engine.name, append, appended);
        ASSERT_TRUE(empty.ok()) << empty.status();
        appended.pool = empty->pool;
        x = RandomTensor({sequences, columns}, DType::kF32, random);
        ExpectRangesReadWhatTheyAppend(harness, engine.name, append, appended, attention, attending,
                                       random);
      }
    }
  }
}

}  // namespace
}  // namespace ninfer
