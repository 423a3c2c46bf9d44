// kv_append, byte by byte; the pages of a scratch cache; and attention over a pool that nobody
// zeroed.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/codegen_kv_testing.h"

namespace ninfer {
namespace {

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
