// Masks, attention and the KV cache: against double-precision references, over shuffled pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/quantise.h"
#include "eager/eager.h"
#include "tests/support/memory_weights.h"
#include "tests/support/parse_module.h"
#include "tests/support/random.h"

namespace ninfer::eager {
namespace {

using ::testing::HasSubstr;

std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& x : values) x = random.Normal();
  return values;
}

// Sequences with `cached` positions before this step's tokens.
struct Batch {
  std::vector<int32_t> positions, seq_bounds = {0}, key_bounds = {0}, cached_lens;

  void Add(int cached, int tokens) {
    for (int i = 0; i < tokens; ++i) positions.push_back(cached + i);
    seq_bounds.push_back(seq_bounds.back() + tokens);
    key_bounds.push_back(key_bounds.back() + cached + tokens);
    cached_lens.push_back(cached);
  }
  int64_t tokens() const { return seq_bounds.back(); }
  int64_t keys() const { return key_bounds.back(); }
};

Batch MakeBatch() {
  Batch batch;
  batch.Add(0, 5);
  batch.Add(70, 1);
  batch.Add(3, 67);
  batch.Add(130, 2);
  return batch;
}

// Attention by its definition; k and v are [C, kv_heads, dim].
std::vector<double> Reference(const Batch& batch, const std::vector<float>& q,
                              const std::vector<float>& k, const std::vector<float>& v, int heads,
                              int kv_heads, int dim, double scale) {
  std::vector<double> out(q.size());
  for (size_t s = 0; s + 1 < batch.seq_bounds.size(); ++s) {
    for (int t = batch.seq_bounds[s]; t < batch.seq_bounds[s + 1]; ++t) {
      for (int h = 0; h < heads; ++h) {
        const int g = h / (heads / kv_heads);
        std::vector<double> weights;
        double sum = 0;
        for (int c = batch.key_bounds[s]; c <= batch.key_bounds[s] + batch.positions[t]; ++c) {
          double score = 0;
          for (int i = 0; i < dim; ++i) {
            score += double{q[(t * heads + h) * dim + i]} * k[(c * kv_heads + g) * dim + i];
          }
          weights.push_back(std::exp(score * scale));
          sum += weights.back();
        }
        for (int i = 0; i < dim; ++i) {
          double value = 0;
          for (size_t c = 0; c < weights.size(); ++c) {
            value += weights[c] / sum *
                     v[((batch.key_bounds[s] + static_cast<int>(c)) * kv_heads + g) * dim + i];
          }
          out[(t * heads + h) * dim + i] = value;
        }
      }
    }
  }
  return out;
}

TEST(EagerState, CausalMaskHidesLaterPositionsAndOtherSequences) {
  const ir::Module module = ParseModule(R"(module "m" stage imported
dim T in [1, 512]
dim S in [1, 8]
dim C in [1, 512]
func @step(%x: f32[2,T,C], %positions: i32[T], %seq_bounds: i32[S+1], %key_bounds: i32[S+1]) {
  %0 = causal_mask %x, %positions, %seq_bounds, %key_bounds : f32[2,T,C]
  return %0
})");
  const Batch batch = MakeBatch();
  const int64_t tokens = batch.tokens(), keys = batch.keys();
  const std::vector<float> x = RandomFloats(2 * tokens * keys, 1);
  const Tensor bounds = Tensor::Ints({5}, batch.seq_bounds);
  const Tensor key_bounds = Tensor::Ints({5}, batch.key_bounds);
  auto y = RunFunction(*module.functions()[0], module.symbols(),
                       {Tensor::Floats({2, tokens, keys}, x),
                        Tensor::Ints({tokens}, batch.positions), bounds, key_bounds},
                       2);
  ASSERT_TRUE(y.ok()) << y.status();
  for (int64_t i = 0; i < 2 * tokens * keys; ++i) {
    const int64_t t = i / keys % tokens, c = i % keys;
    size_t s = 0;
    while (batch.seq_bounds[s + 1] <= t) ++s;
    const bool visible = c >= batch.key_bounds[s] && c - batch.key_bounds[s] <= batch.positions[t];
    ASSERT_EQ((*y->at(0).floats)[i], visible ? x[i] : -INFINITY) << "row " << t << " column " << c;
  }
  std::vector<int32_t> before = batch.positions;
  before[5] = -80;  // of a row whose keys do not begin at the first
  EXPECT_THAT(RunFunction(*module.functions()[0], module.symbols(),
                          {Tensor::Floats({2, tokens, keys}, x), Tensor::Ints({tokens}, before),
                           bounds, key_bounds})
                  .status()
                  .message(),
              HasSubstr("position -80: expected at least 0"));
}

TEST(EagerState, AttentionOfGroupedHeadsEqualsItsDefinition) {
  const ir::Module module = ParseModule(R"(module "m" stage attention
dim T in [1, 512]
dim S in [1, 8]
dim C in [1, 512]
func @step(%q: f32[T,6,10], %k: f32[C,2,10], %v: f32[C,2,10], %positions: i32[T], %seq_bounds: i32[S+1], %key_bounds: i32[S+1]) {
  %0 = attention %q, %k, %v, %positions, %seq_bounds, %key_bounds {scale = 0.25, form = "flash"} : f32[T,6,10]
  return %0
})");
  const Batch batch = MakeBatch();
  const std::vector<float> q = RandomFloats(batch.tokens() * 60, 2);
  const std::vector<float> k = RandomFloats(batch.keys() * 20, 3);
  const std::vector<float> v = RandomFloats(batch.keys() * 20, 4);
  const std::vector<Tensor> operands = {
      Tensor::Floats({batch.tokens(), 6, 10}, q), Tensor::Floats({batch.keys(), 2, 10}, k),
      Tensor::Floats({batch.keys(), 2, 10}, v),   Tensor::Ints({batch.tokens()}, batch.positions),
      Tensor::Ints({5}, batch.seq_bounds),        Tensor::Ints({5}, batch.key_bounds)};
  auto y = RunFunction(*module.functions()[0], module.symbols(), operands, 3);
  ASSERT_TRUE(y.ok()) << y.status();
  const std::vector<double> expected = Reference(batch, q, k, v, 6, 2, 10, 0.25);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR((*y->at(0).floats)[i], expected[i], 1e-5) << "element " << i;
  }
  std::vector<Tensor> wrong = operands;
  wrong[4] = Tensor::Ints({5}, {0, 9, 6, 73, 75});
  EXPECT_THAT(RunFunction(*module.functions()[0], module.symbols(), wrong).status().message(),
              HasSubstr("seq_bounds: expected numbers that ascend from 0 to 75"));
}

std::string PagedModule(const std::string& dtype) {
  const std::string kv = absl::StrCat("kv<", dtype, ">[2,10]");
  const std::string type = dtype == "i8" ? "f32" : dtype;  // of rows
  const std::string rows = absl::StrCat(type, "[T,2,10]"), keys = absl::StrCat(type, "[C,2,10]");
  return absl::StrCat(
      "module \"m\" stage attention\ndim T in [1, 512]\ndim S in [1, 8]\ndim C in [1, 512]\n",
      "dim G in [1, 8]\nweight @q : f32[512,60]\nweight @k : f32[512,20]\nweight @v : "
      "f32[512,20]\n",
      "func @step(%tokens: i32[T], %positions: i32[T], %seq_bounds: i32[S+1], %cached_lens: "
      "i32[S], ",
      "%page_table: i32[S,G], %kv.0: ", kv, ") {\n",
      "  %0 = embedding %tokens, @q : f32[T,60]\n  %q = reshape %0 : f32[T,6,10]\n",
      "  %1 = embedding %tokens, @k : f32[T,20]\n  %2 = reshape %1 : f32[T,2,10]\n",
      "  %k = cast %2 : ", rows, "\n",
      "  %3 = embedding %tokens, @v : f32[T,20]\n  %4 = reshape %3 : f32[T,2,10]\n",
      "  %v = cast %4 : ", rows, "\n",
      "  %kv.0' = kv_append %kv.0, %k, %v, %positions, %seq_bounds, %page_table : ", kv, "\n",
      "  %5 = kv_bounds %cached_lens, %seq_bounds : i32[S+1]\n",
      "  %6 = kv_keys %kv.0', %5, %page_table : ", keys, "\n",
      "  %7 = kv_values %kv.0', %5, %page_table : ", keys, "\n",
      "  %8 = paged_attention %q, %kv.0', %positions, %seq_bounds, %page_table {scale = 0.25, form "
      "= ",
      "\"flash\"} : f32[T,6,10]\n  return %8, %kv.0', %6, %7, %5\n}");
}

// Token t of the whole text has row t of the weights @q, @k and @v.
TEST(EagerState, PagedAttentionOverShuffledPagesEqualsItsDefinition) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    const ir::Module module = ParseModule(PagedModule(std::string(DTypeName(dtype))));
    auto weights = std::make_shared<MemoryWeights>();
    weights->AddRandom(module, 5, 1.0f);
    auto interpreter = Interpreter::Create(&module, weights, 2);
    ASSERT_TRUE(interpreter.ok()) << interpreter.status();
    std::vector<KvPool> pools = {{dtype, 2, 10, 12, std::vector<float>(12 * 2 * 2 * 64 * 10, NAN)}};
    const std::vector<int32_t> page_table = {7, 2, 9, 0, 11, 4, 1, 8, 5, 10, 3, 6};  // three each
    const auto run = [&](const Batch& batch) {
      StepArguments arguments;
      for (size_t s = 0; s < 4; ++s) {  // sequence s has ids 128 s, 128 s + 1, ...
        for (int t = batch.seq_bounds[s]; t < batch.seq_bounds[s + 1]; ++t) {
          arguments.tokens.push_back(static_cast<int32_t>(128 * s) + batch.positions[t] % 128);
        }
      }
      arguments.positions = batch.positions;
      arguments.seq_bounds = batch.seq_bounds;
      arguments.cached_lens = batch.cached_lens;
      arguments.page_table = page_table;
      auto results = (*interpreter)->Run(arguments, &pools);
      EXPECT_TRUE(results.ok()) << results.status();
      return std::make_pair(arguments.tokens, *std::move(results));
    };
    Batch before;  // fills the caches
    before.Add(0, 0);
    before.Add(0, 70);
    before.Add(0, 3);
    before.Add(0, 130);
    run(before);
    const Batch batch = MakeBatch();
    const auto [tokens, results] = run(batch);
    ASSERT_EQ(results.size(), 4u);
    EXPECT_EQ(*results[3].ints, batch.key_bounds);
    EXPECT_EQ(results[1].dtype, dtype == DType::kI8 ? DType::kF32 : dtype);
    std::vector<float> q;
    for (const int32_t token : tokens) {
      const auto view = *weights->Find("q");
      const float* row = static_cast<const float*>(view.data) + token * 60;
      q.insert(q.end(), row, row + 60);
    }
    // The cache's rows are those of @k, in the cache's dtype.
    const float* keys = static_cast<const float*>(weights->Find("k")->data);
    std::vector<float> last(keys + (128 * 3 + 131 % 128) * 20 + 10,
                            keys + (128 * 3 + 131 % 128) * 20 + 20);
    if (dtype == DType::kBF16) last.back() = Bf16ToFloat(FloatToBf16(last.back()));
    if (dtype == DType::kI8) QuantiseRow(kCacheScheme, last.data(), 10, last.data());
    EXPECT_EQ(results[1].floats->back(), last.back());
    const std::vector<double> expected =
        Reference(batch, q, *results[1].floats, *results[2].floats, 6, 2, 10, 0.25);
    for (size_t i = 0; i < expected.size(); ++i) {
      // Integers: queries and weights are rounded to 16 bits.
      ASSERT_NEAR((*results[0].floats)[i], expected[i], dtype == DType::kI8 ? 2e-4 : 1e-5)
          << "element " << i;
    }
  }
}

TEST(EagerState, PagesAndPositionsOutsideTheCacheAreRefused) {
  const ir::Module module = ParseModule(PagedModule("f32"));
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 5, 1.0f);
  auto interpreter = Interpreter::Create(&module, weights, 1);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<KvPool> pools = {{DType::kF32, 2, 10, 2, std::vector<float>(2 * 2 * 2 * 64 * 10)}};
  const auto message = [&](StepArguments arguments, std::vector<KvPool>* kv) {
    return std::string((*interpreter)->Run(arguments, kv).status().message());
  };
  StepArguments step;
  step.tokens = {1, 2};
  step.page_table = {2};
  EXPECT_THAT(message(step, &pools), HasSubstr("page 2 of sequence 0: expected 0 to 1"));
  step.page_table = {1};
  step.positions = {63, 64};
  EXPECT_THAT(message(step, &pools), HasSubstr("position 64 of sequence 0: expected 0 to 63"));
  step.positions = {-1, 0};
  EXPECT_THAT(message(step, &pools), HasSubstr("positions: expected at least 0, found -1"));
  step.positions.clear();
  EXPECT_THAT(message(step, nullptr), HasSubstr("@step: expected 1 KV caches, found 0"));
  std::vector<KvPool> other = pools;
  other[0].head_dim = 9;
  EXPECT_THAT(
      message(step, &other),
      HasSubstr("%kv.0: expected a cache of type kv<f32>[2,10], found 2 pages of kv<f32>[2,9]"));
}

TEST(EagerState, ScratchPagesDealPagesInOrder) {
  const ir::Module module = ParseModule(R"(module "m" stage fused
dim S in [1, 8]
func @step(%seq_bounds: i32[S+1]) {
  %0 = fused(%b = %seq_bounds) {family = "pages"} {
    %0 = scratch_pages %b : i32[S,3]
    return %0
  } : i32[S,3]
  return %0
})");
  const auto run = [&](std::vector<int32_t> bounds) {
    return RunFunction(*module.functions()[0], module.symbols(),
                       {Tensor::Ints({static_cast<int64_t>(bounds.size())}, bounds)});
  };
  auto y = run({0, 65, 66, 194});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(*y->at(0).ints, (std::vector<int32_t>{0, 1, 0, 2, 0, 0, 3, 4, 0}));
  EXPECT_THAT(run({0, 193}).status().message(),
              HasSubstr("sequence 0 of 193 tokens: expected at most 192"));
}

}  // namespace
}  // namespace ninfer::eager
