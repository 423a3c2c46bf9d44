// Every op of the interpreter against a plain double-precision reference, on awkward shapes, by one
// and by three threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "eager/eager.h"
#include "eager/vector_math.h"
#include "ir/builder.h"
#include "tests/support/random.h"

namespace ninfer::eager {
namespace {

using ir::Op;
using ::testing::HasSubstr;
using Shape = std::vector<int64_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Tensor RandomTensor(const Shape& shape, uint64_t seed, float scale = 1.0f) {
  Random random(seed);
  Tensor tensor = Tensor::Floats({0}, {});
  tensor.shape = shape;
  tensor.floats->resize(tensor.elements());
  for (float& x : *tensor.floats) x = random.Normal() * scale;
  return tensor;
}

ir::Type TypeOf(const Tensor& tensor) {
  ir::Type type{tensor.dtype, {}};
  for (const int64_t size : tensor.shape) type.shape.push_back(ir::Dim::Static(size));
  return type;
}

absl::StatusOr<Tensor> RunOp(Op op, const std::vector<Tensor>& operands,
                             std::vector<ir::Attr> attrs = {}, const ir::Type* declared = nullptr,
                             int threads = 3) {
  ir::Module module("ops");
  ir::Function* function = module.AddFunction("step");
  std::vector<ir::Value*> values;
  for (const Tensor& operand : operands) {
    values.push_back(function->AddParameter(absl::StrCat("x", values.size()), TypeOf(operand)));
  }
  ir::Builder builder(&module, function);
  function->results().push_back(builder.Make(op, values, std::move(attrs), declared));
  if (!builder.status().ok()) return builder.status();
  auto results = RunFunction(*function, module.symbols(), operands, threads);
  if (!results.ok()) return results.status();
  return results->at(0);
}

using Reference = std::function<double(const Shape& index)>;

// The result equals the reference at every index, by three threads and by one.
void ExpectOp(Op op, const std::vector<Tensor>& operands, std::vector<ir::Attr> attrs,
              const Shape& shape, double tolerance, const Reference& reference,
              const ir::Type* declared = nullptr) {
  const auto y = RunOp(op, operands, attrs, declared);
  ASSERT_TRUE(y.ok()) << y.status();
  ASSERT_EQ(y->shape, shape);
  const auto alone = RunOp(op, operands, attrs, declared, 1);
  ASSERT_TRUE(alone.ok()) << alone.status();
  for (int64_t i = 0; i < y->elements(); ++i) {
    Shape index(shape.size());
    int64_t rest = i;
    for (size_t axis = shape.size(); axis-- > 0;) {
      index[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    const double found = y->ints != nullptr ? (*y->ints)[i] : (*y->floats)[i];
    const double expected = reference(index);
    if (std::isinf(expected) || std::isnan(expected)) {
      ASSERT_EQ(std::isnan(found), std::isnan(expected)) << "element " << i;
      if (std::isinf(expected)) {
        ASSERT_EQ(found, expected) << "element " << i;
      }
      continue;
    }
    ASSERT_NEAR(found, expected, tolerance * std::max(1.0, std::abs(expected))) << "element " << i;
    if (y->floats != nullptr) {
      ASSERT_NEAR((*alone->floats)[i], found, tolerance) << "element " << i;
    }
  }
}

// The element of a tensor at an index of a shape that it broadcasts to.
double At(const Tensor& x, const Shape& index) {
  int64_t offset = 0;
  for (size_t axis = 0; axis < x.shape.size(); ++axis) {
    const int64_t i = index[index.size() - x.shape.size() + axis];
    offset = offset * x.shape[axis] + (x.shape[axis] == 1 ? 0 : i);
  }
  return x.ints != nullptr ? (*x.ints)[offset] : (*x.floats)[offset];
}

TEST(EagerOps, BinaryOpsBroadcastTrailingAxes) {
  struct Case {
    Shape a, b, y;
  };
  const Case cases[] = {
      {{5, 7}, {5, 7}, {5, 7}},
      {{5, 7}, {7}, {5, 7}},
      {{5, 7}, {}, {5, 7}},
      {{5, 1}, {7}, {5, 7}},
      {{7}, {5, 1}, {5, 7}},
      {{3, 1, 4}, {5, 1}, {3, 5, 4}},
      {{}, {}, {}},
      {{3, 5, 1}, {3, 1, 2}, {3, 5, 2}},
      {{61, 1023}, {1023}, {61, 1023}},
      {{61, 1023}, {61, 1}, {61, 1023}},
  };
  for (const Case& c : cases) {
    const Tensor a = RandomTensor(c.a, 1);
    Tensor b = RandomTensor(c.b, 2);
    for (float& x : *b.floats) x += x < 0 ? -1.0f : 1.0f;  // a divisor
    const auto at = [&](double (*f)(double, double)) {
      return [&a, &b, f](const Shape& i) { return f(At(a, i), At(b, i)); };
    };
    ExpectOp(Op::kAdd, {a, b}, {}, c.y, 1e-7, at([](double x, double y) { return x + y; }));
    ExpectOp(Op::kSub, {a, b}, {}, c.y, 1e-7, at([](double x, double y) { return x - y; }));
    ExpectOp(Op::kMul, {a, b}, {}, c.y, 1e-7, at([](double x, double y) { return x * y; }));
    ExpectOp(Op::kDiv, {a, b}, {}, c.y, 1e-7, at([](double x, double y) { return x / y; }));
    ExpectOp(Op::kMin, {a, b}, {}, c.y, 0, at([](double x, double y) { return std::min(x, y); }));
    ExpectOp(Op::kMax, {a, b}, {}, c.y, 0, at([](double x, double y) { return std::max(x, y); }));
    ExpectOp(Op::kGreater, {a, b}, {}, c.y, 0,
             at([](double x, double y) { return x > y ? 1.0 : 0.0; }));
  }
}

TEST(EagerOps, UnaryOpsEqualTheirDefinitions) {
  Tensor x = RandomTensor({11, 913}, 3, 4.0f);
  const float special[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 30.0f, -30.0f, 80.0f, -80.0f};
  std::copy(std::begin(special), std::end(special), x.floats->begin());
  const auto expect = [&](Op op, const Tensor& in, double (*f)(double)) {
    ExpectOp(op, {in}, {}, in.shape, 3e-7, [&in, f](const Shape& i) { return f(At(in, i)); });
  };
  expect(Op::kNeg, x, [](double v) { return -v; });
  expect(Op::kTanh, x, [](double v) { return std::tanh(v); });
  expect(Op::kSigmoid, x, [](double v) { return 1 / (1 + std::exp(-v)); });
  expect(Op::kSilu, x, [](double v) { return v / (1 + std::exp(-v)); });
  expect(Op::kGelu, x, [](double v) { return v / 2 * (1 + std::erf(v / std::sqrt(2.0))); });
  expect(Op::kGeluTanh, x, [](double v) {
    return v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
  });
  expect(Op::kRelu, x, [](double v) { return std::max(v, 0.0); });
  expect(Op::kFloor, x, [](double v) { return std::floor(v); });
  expect(Op::kCos, x, [](double v) { return std::cos(v); });
  expect(Op::kSin, x, [](double v) { return std::sin(v); });
  expect(Op::kExp, x, [](double v) { return std::exp(v); });
  Tensor positive = x;
  positive.floats = std::make_shared<std::vector<float>>(*x.floats);
  for (float& v : *positive.floats) v = std::abs(v) + 0.01f;
  expect(Op::kLog, positive, [](double v) { return std::log(v); });
  expect(Op::kSqrt, positive, [](double v) { return std::sqrt(v); });
  expect(Op::kRsqrt, positive, [](double v) { return 1 / std::sqrt(v); });
}

TEST(EagerOps, ExponentialIsAccurateEverywhereAndTellsTheEndsOfTheRange) {
  for (double v = -86.5; v < 88.7; v += 0.00731) {
    const double x = static_cast<float>(v);
    ASSERT_NEAR(Exp(static_cast<float>(v)) / std::exp(x), 1.0, 2e-7) << v;
  }
  EXPECT_EQ(Exp(-kInfinity), 0.0f);
  EXPECT_EQ(Exp(-200.0f), 0.0f);
  EXPECT_EQ(Exp(kInfinity), kInfinity);
  EXPECT_EQ(Exp(89.0f), kInfinity);
  EXPECT_EQ(Exp(0.0f), 1.0f);
  EXPECT_TRUE(std::isnan(Exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(EagerOps, RopeRotatesHalvesOrPairsAndPassesTheRest) {
  const Tensor x = RandomTensor({37, 3, 10}, 4);
  const Tensor cos = RandomTensor({37, 4}, 5), sin = RandomTensor({37, 4}, 6);
  for (const bool half : {true, false}) {
    ExpectOp(Op::kRope, {x, cos, sin}, {{"style", std::string(half ? "half" : "pairs")}}, x.shape,
             1e-6, [&](const Shape& i) {
               const int64_t c = i[2];
               if (c >= 8) return At(x, i);
               const int64_t pair = half ? c % 4 : c / 2;
               const bool second = half ? c >= 4 : c % 2 == 1;
               const int64_t other = half ? (second ? c - 4 : c + 4) : (second ? c - 1 : c + 1);
               const double sign = second ? 1 : -1;
               return At(x, i) * At(cos, {i[0], pair}) +
                      sign * At(x, {i[0], i[1], other}) * At(sin, {i[0], pair});
             });
  }
}

TEST(EagerOps, CastRoundsToNearestEvenAndIntegersBecomeFloats) {
  const Tensor x = Tensor::Floats({5}, {1.0f, 1.00390625f, 1.01171875f, -3.14159265f, 65520.0f});
  ir::Type bf16{DType::kBF16, {ir::Dim::Static(5)}}, f16{DType::kF16, {ir::Dim::Static(5)}};
  auto y = RunOp(Op::kCast, {x}, {}, &bf16);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(*y->floats, (std::vector<float>{1.0f, 1.0f, 1.015625f, -3.140625f, 65536.0f}));
  EXPECT_EQ(y->dtype, DType::kBF16);
  y = RunOp(Op::kCast, {x}, {}, &f16);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ((*y->floats)[3], -3.140625f);
  EXPECT_EQ((*y->floats)[4], kInfinity);
  ir::Type f32{DType::kF32, {ir::Dim::Static(3)}};
  y = RunOp(Op::kCast, {Tensor::Ints({3}, {7, -2, 16777216})}, {}, &f32);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(*y->floats, (std::vector<float>{7.0f, -2.0f, 16777216.0f}));
}

TEST(EagerOps, SoftmaxAlongTheLastAxis) {
  for (const Shape& shape : {Shape{1}, Shape{7, 1}, Shape{3, 5, 17}, Shape{2, 4099}}) {
    Tensor x = RandomTensor(shape, 7, 20.0f);
    if (shape.back() > 4) (*x.floats)[2] = -kInfinity;
    ExpectOp(Op::kSoftmax, {x}, {}, shape, 1e-6, [&](const Shape& index) {
      double sum = 0, max = -kInfinity;
      Shape i = index;
      for (i.back() = 0; i.back() < shape.back(); ++i.back()) max = std::max(max, At(x, i));
      for (i.back() = 0; i.back() < shape.back(); ++i.back()) sum += std::exp(At(x, i) - max);
      return std::exp(At(x, index) - max) / sum;
    });
  }
}

TEST(EagerOps, NormsAlongTheLastAxis) {
  for (const Shape& shape : {Shape{5, 1}, Shape{7}, Shape{3, 5, 33}, Shape{70, 129}}) {
    const int64_t n = shape.back();
    Tensor x = RandomTensor(shape, 8, 3.0f);
    for (float& v : *x.floats) v += 5.0f;
    const Tensor w = RandomTensor({n}, 9), b = RandomTensor({n}, 10);
    const auto moments = [&](const Shape& index) {
      Shape i = index;
      double sum = 0, squares = 0;
      for (i.back() = 0; i.back() < n; ++i.back()) sum += At(x, i);
      const double mean = sum / n;
      for (i.back() = 0; i.back() < n; ++i.back()) squares += std::pow(At(x, i) - mean, 2);
      return std::pair<double, double>(mean, squares / n);
    };
    ExpectOp(Op::kRmsNorm, {x, w}, {{"eps", 1e-3}}, shape, 3e-6, [&](const Shape& i) {
      const auto [mean, variance] = moments(i);
      return At(x, i) / std::sqrt(variance + mean * mean + 1e-3) * At(w, {i.back()});
    });
    ExpectOp(Op::kLayerNorm, {x, w, b}, {{"eps", 1e-3}}, shape, 2e-5, [&](const Shape& i) {
      const auto [mean, variance] = moments(i);
      return (At(x, i) - mean) / std::sqrt(variance + 1e-3) * At(w, {i.back()}) + At(b, {i.back()});
    });
  }
}

TEST(EagerOps, LinearOnAwkwardShapes) {
  struct Case {
    Shape x;
    int64_t n;
  };
  for (const Case& c : {Case{{1, 1}, 1}, Case{{1, 33}, 65}, Case{{7, 5}, 3}, Case{{3, 64}, 129},
                        Case{{2, 3, 31}, 97}, Case{{40, 700}, 350}, Case{{64}, 1000}}) {
    const int64_t k = c.x.back();
    const Tensor x = RandomTensor(c.x, 11), w = RandomTensor({c.n, k}, 12);
    Shape shape = c.x;
    shape.back() = c.n;
    ExpectOp(Op::kLinear, {x, w}, {}, shape, 1e-4, [&](const Shape& index) {
      Shape i = index;
      double sum = 0;
      for (i.back() = 0; i.back() < k; ++i.back())
        sum += At(x, i) * At(w, {index.back(), i.back()});
      return sum;
    });
  }
}

TEST(EagerOps, MatMulByHeadWithEitherOrderOfTheSecondOperand) {
  for (const bool transpose_b : {true, false}) {
    for (const Shape& s : {Shape{1, 1, 1, 1}, Shape{3, 5, 7, 11}, Shape{12, 33, 64, 31}}) {
      const int64_t h = s[0], m = s[1], k = s[2], n = s[3];
      const Tensor a = RandomTensor({h, m, k}, 13);
      const Tensor b = RandomTensor(transpose_b ? Shape{h, n, k} : Shape{h, k, n}, 14);
      ExpectOp(Op::kMatMul, {a, b}, {{"transpose_b", transpose_b}}, {h, m, n}, 1e-5,
               [&](const Shape& i) {
                 double sum = 0;
                 for (int64_t c = 0; c < k; ++c) {
                   sum += At(a, {i[0], i[1], c}) *
                          At(b, transpose_b ? Shape{i[0], i[2], c} : Shape{i[0], c, i[2]});
                 }
                 return sum;
               });
    }
  }
}

TEST(EagerOps, GathersCopyRowsAndNameIndicesOutsideTheTable) {
  const Tensor table = RandomTensor({6, 5}, 15);
  const Tensor ids = Tensor::Ints({4}, {5, 0, 0, 3});
  ExpectOp(Op::kEmbedding, {ids, table}, {}, {4, 5}, 0, [&](const Shape& i) {
    return At(table, {(*ids.ints)[i[0]], i[1]});
  });
  const Tensor x = RandomTensor({6, 2, 3}, 16);
  ExpectOp(Op::kGatherRows, {x, ids}, {}, {4, 2, 3}, 0, [&](const Shape& i) {
    return At(x, {(*ids.ints)[i[0]], i[1], i[2]});
  });
  const Tensor words = Tensor::Ints({6}, {10, 11, 12, 13, 14, 15});
  ExpectOp(Op::kGatherRows, {words, ids}, {}, {4}, 0,
           [&](const Shape& i) { return 10.0 + (*ids.ints)[i[0]]; });
  EXPECT_THAT(RunOp(Op::kEmbedding, {Tensor::Ints({2}, {1, 6}), table}).status().message(),
              HasSubstr("embedding %x0, %x1 : f32[2,5]: id 6: expected 0 to 5"));
  EXPECT_THAT(RunOp(Op::kGatherRows, {x, Tensor::Ints({1}, {-1})}).status().message(),
              HasSubstr("row -1: expected 0 to 5"));
}

TEST(EagerOps, TopKNamesTheLargestColumnsTheFirstOfEquals) {
  const Tensor x = Tensor::Floats({2, 4}, {1, 3, 3, 2, -1, -5, 0, -1});
  const Tensor expected = Tensor::Ints({2, 3}, {1, 2, 3, 2, 0, 3});
  ExpectOp(Op::kTopK, {x}, {{"k", int64_t{3}}}, {2, 3}, 0,
           [&](const Shape& i) { return (*expected.ints)[i[0] * 3 + i[1]]; });
  ExpectOp(Op::kTakeColumns, {x, expected}, {}, {2, 3}, 0, [&](const Shape& i) {
    return At(x, {i[0], (*expected.ints)[i[0] * 3 + i[1]]});
  });
  EXPECT_THAT(RunOp(Op::kTakeColumns, {x, Tensor::Ints({2, 1}, {0, 4})}).status().message(),
              HasSubstr("column 4: expected 0 to 3"));
}

TEST(EagerOps, GroupedLinearReadsTheChosenExperts) {
  const Tensor w = RandomTensor({5, 3, 7}, 40);  // [E, N, K]
  const Tensor ids = Tensor::Ints({4, 2}, {0, 4, 4, 2, 1, 0, 4, 0});
  for (const bool shared : {true, false}) {
    const Tensor x = RandomTensor(shared ? Shape{4, 7} : Shape{4, 2, 7}, 41);
    ExpectOp(Op::kGroupedLinear, {x, w, ids}, {}, {4, 2, 3}, 1e-6, [&](const Shape& i) {
      double sum = 0;
      for (int64_t k = 0; k < 7; ++k) {
        const double a = shared ? At(x, {i[0], k}) : At(x, {i[0], i[1], k});
        sum += a * At(w, {(*ids.ints)[i[0] * 2 + i[1]], i[2], k});
      }
      return sum;
    });
  }
  const Tensor x = RandomTensor({1, 7}, 42);
  EXPECT_THAT(RunOp(Op::kGroupedLinear, {x, w, Tensor::Ints({1, 1}, {5})}).status().message(),
              HasSubstr("expert 5: expected 0 to 4"));
}

TEST(EagerOps, WeightedSumAddsTheChosen) {
  const Tensor x = RandomTensor({3, 2, 9}, 43), w = RandomTensor({3, 2}, 44);
  ExpectOp(Op::kWeightedSum, {x, w}, {}, {3, 9}, 1e-6, [&](const Shape& i) {
    return double{At(w, {i[0], 0})} * At(x, {i[0], 0, i[1]}) +
           double{At(w, {i[0], 1})} * At(x, {i[0], 1, i[1]});
  });
}

TEST(EagerOps, ViewsMoveElementsAndNothingElse) {
  const Tensor x = RandomTensor({4, 6, 5}, 17);
  for (const std::vector<int64_t>& perm :
       {std::vector<int64_t>{1, 0, 2}, {2, 1, 0}, {0, 2, 1}, {0, 1, 2}, {1, 2, 0}}) {
    Shape shape;
    for (const int64_t axis : perm) shape.push_back(x.shape[axis]);
    ExpectOp(Op::kTranspose, {x}, {{"perm", perm}}, shape, 0, [&](const Shape& i) {
      Shape from(3);
      for (int axis = 0; axis < 3; ++axis) from[perm[axis]] = i[axis];
      return At(x, from);
    });
  }
  for (int64_t axis = 0; axis < 3; ++axis) {
    Shape shape = x.shape;
    shape[axis] = 2;
    ExpectOp(Op::kSlice, {x}, {{"axis", axis}, {"begin", int64_t{1}}, {"end", int64_t{3}}}, shape,
             0, [&](Shape i) {
               i[axis] += 1;
               return At(x, i);
             });
    shape[axis] = x.shape[axis] * 3;
    ExpectOp(Op::kRepeat, {x}, {{"axis", axis}, {"times", int64_t{3}}}, shape, 0, [&](Shape i) {
      i[axis] /= 3;
      return At(x, i);
    });
    Shape part = x.shape;
    part[axis] = 3;
    const Tensor more = RandomTensor(part, 18);
    shape[axis] = 2 * x.shape[axis] + 3;
    ExpectOp(Op::kConcat, {x, more, x}, {{"axis", axis}}, shape, 0, [&](Shape i) {
      const int64_t place = i[axis];
      if (place < x.shape[axis]) return At(x, i);
      if (place < x.shape[axis] + 3) {
        i[axis] -= x.shape[axis];
        return At(more, i);
      }
      i[axis] -= x.shape[axis] + 3;
      return At(x, i);
    });
  }
  ir::Type flat{DType::kF32, {ir::Dim::Static(24), ir::Dim::Static(5)}};
  ExpectOp(
      Op::kReshape, {x}, {}, {24, 5}, 0,
      [&](const Shape& i) {
        return At(x, {i[0] / 6, i[0] % 6, i[1]});
      },
      &flat);
}

}  // namespace
}  // namespace ninfer::eager
