// Targets, and the arithmetic that every family builds on: elementwise ops of awkward widths and
// extreme inputs, and the accuracy that codegen/math.h states, against double precision.
#include "codegen/codegen.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/support/kernel_harness.h"

namespace ninfer {
namespace {

using eager::Tensor;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kWidths[] = {1, 3, 17, 31, 32, 33, 64, 100};

// The distance of neighbouring floats at `x`; the smallest normal number's where x is below it.
double Ulp(double x) {
  const double magnitude = std::max(std::abs(x), double{std::numeric_limits<float>::min()});
  if (!std::isfinite(magnitude)) return magnitude;
  return std::ldexp(1.0, std::ilogb(magnitude) - 23);
}

// A unary op: what it means in double precision, and how far code may be from that.
struct UnaryOp {
  const char* name;
  std::function<double(double)> exact;
  std::function<double(double x, double y)> bound;
  float low, high;             // inputs of the accuracy test
  std::vector<float> special;  // inputs beside those of every op
};

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double TanhArgument(double x) { return 0.79788456080286535588 * (x + 0.044715 * x * x * x); }

// Results below the smallest normal float may be zero.
constexpr double kTiny = 1.2e-38;

const std::vector<UnaryOp>& UnaryOps() {
  const auto ulps = [](double n) { return [n](double, double y) { return n * Ulp(y) + kTiny; }; };
  const auto exact = [](double, double) { return 0.0; };
  static const std::vector<UnaryOp>* const ops = new std::vector<UnaryOp>{
      {"neg", [](double x) { return -x; }, exact, -100, 100, {kInf, -kInf, kNan, 1e30f, -1e4f}},
      {"exp",
       [](double x) { return std::exp(x); },
       ulps(2),
       -100,
       100,
       {kInf, -kInf, kNan, 88.5f, -88.5f, 1e4f, -1e4f, 1e30f, -1e30f}},
      {"tanh",
       [](double x) { return std::tanh(x); },
       ulps(3),
       -12,
       12,
       {kInf, -kInf, kNan, 1e4f, -1e4f, 0.625f, -0.625f, 1e30f, -1e30f}},
      {"sigmoid", Sigmoid, ulps(4), -100, 100, {kInf, -kInf, kNan, 1e4f, -1e4f, 1e30f, -1e30f}},
      {"silu",
       [](double x) { return x * Sigmoid(x); },
       [](double x, double y) { return 5 * Ulp(y) + std::abs(x) * kTiny; },
       -100,
       100,
       {kInf, kNan, 1e4f, -1e4f}},
      {"gelu",
       [](double x) { return x / 2 * std::erfc(-x * std::sqrt(0.5)); },
       [](double x, double y) { return std::abs(x) / 2 * 4e-7 + 2 * Ulp(y); },
       -10,
       10,
       {kInf, kNan, 1e4f, -1e4f}},
      {"gelu_tanh",
       [](double x) { return x * Sigmoid(2 * TanhArgument(x)); },
       // The exponential takes over the rounding of its argument.
       [](double x, double y) {
         return (5 + 6 * std::abs(TanhArgument(x))) * Ulp(y) + std::abs(x) * kTiny;
       },
       -10,
       10,
       {kInf, kNan, 1e4f, -1e4f}},
      {"relu",
       [](double x) { return x < 0 ? 0 : x; },
       exact,
       -100,
       100,
       {kInf, -kInf, kNan, 1e30f, -1e30f}},
      {"sqrt",
       [](double x) { return std::sqrt(x); },
       [](double, double y) { return 0.5 * Ulp(y); },
       0,
       1e6,
       {kInf, kNan, -1, 1e30f}},
      {"rsqrt",
       [](double x) { return 1 / std::sqrt(x); },
       ulps(2),
       1e-6f,
       1e4,
       {kInf, kNan, -1, 0, 1e30f}},
      {"cos",
       [](double x) { return std::cos(x); },
       [](double, double) { return 1e-7; },
       -1e6,
       1e6,
       {kNan, 1e6f, -1e6f, 3.14159274f, 1.57079637f, 999999.0f, 9.9e6f}},
      {"sin",
       [](double x) { return std::sin(x); },
       [](double, double) { return 1e-7; },
       -1e6,
       1e6,
       {kNan, 1e6f, -1e6f, 3.14159274f, 1.57079637f, 999999.0f, 9.9e6f}},
  };
  return *ops;
}

// Expected results and bounds of `op` at the values of `x`. Half a unit more: the reference is
// rounded.
void Expect(const UnaryOp& op, const Tensor& x, std::vector<Tensor>* expected,
            std::vector<std::vector<double>>* bounds) {
  std::vector<float> values;
  bounds->emplace_back();
  for (const float value : *x.floats) {
    const double y = op.exact(value);
    values.push_back(static_cast<float>(y));
    const double bound = op.bound(value, y);
    bounds->back().push_back(bound == 0 ? 0 : bound + 0.5 * Ulp(y));
  }
  expected->push_back(Tensor::Floats(x.shape, std::move(values)));
}

// A kernel with every unary op of one width: each has an input of its own.
KernelSource AllUnaries(int64_t width) {
  std::string parameters, nodes;
  std::vector<std::string> results;
  for (const UnaryOp& op : UnaryOps()) {
    absl::StrAppend(&parameters, parameters.empty() ? "" : ", ", "%", op.name, ".x: f32[T,", width,
                    "]");
    absl::StrAppend(&nodes, "  %", op.name, ".y = ", op.name, " %", op.name, ".x : f32[T,", width,
                    "]\n");
    results.push_back(absl::StrCat("%", op.name, ".y"));
  }
  KernelSource source;
  source.name = absl::StrCat("unary_", width);
  source.body = absl::StrCat("(", parameters, ") {\n", nodes, "  return ",
                             absl::StrJoin(results, ", "), "\n}");
  return source;
}

// --- the harness itself: what it must not let pass -----------------------------------------------

class KernelHarnessTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    harness_ = new KernelHarness({"x86-64-v3"});
    harness_->Add({"gather", program::Family::kRowwise, R"((%x: f32[T,40], %rows: i32[R]) {
  %y = gather_rows %x, %rows : f32[R,40]
  return %y
})"});
    harness_->Compile();
    operands_ = new Operands;
    operands_->dims["T"] = 3;
    operands_->tensors["rows"] = Tensor::Ints({2}, {2, 1});
    harness_->FillRandom(0, 1, operands_);
  }
  static void TearDownTestSuite() {
    delete harness_;
    delete operands_;
  }
  void SetUp() override {
    const Engine& engine = harness_->engines().back();
    if (!engine.skipped.empty()) GTEST_SKIP() << engine.name << ": " << engine.skipped;
  }
  static KernelHarness* harness_;
  static Operands* operands_;
};
KernelHarness* KernelHarnessTest::harness_ = nullptr;
Operands* KernelHarnessTest::operands_ = nullptr;

TEST_F(KernelHarnessTest, ReportsAWrongElement) {
  harness_->ExpectAgree(0, *operands_, {});
  static std::vector<Tensor> wrong;
  wrong = {Tensor::Floats({2, 40}, std::vector<float>(80, 7))};
  EXPECT_NONFATAL_FAILURE(harness_->ExpectAgree(0, *operands_, {1, 0}, &wrong),
                          "row 0 column 0: expected 7, found ");
}

TEST_F(KernelHarnessTest, StopsAndNamesAKernelThatReadsOutsideItsOperands) {
  Operands operands = *operands_;
  operands.tensors["rows"] = Tensor::Ints({2}, {2, 4});
  EXPECT_EQ(harness_->Run("x86-64-v3", 0, operands).status().message(),
            "x86-64-v3: kernel gather: reads or writes at byte 1024 of %x");
  // Padding is no value: the first row's lies before the second.
  operands.tensors["rows"] = Tensor::Ints({2}, {2, 3});
  EXPECT_FALSE(harness_->Run("x86-64-v3", 0, operands).ok());
}

TEST_F(KernelHarnessTest, FailsACaseThatRanOnTheOracleAlone) {
  static KernelHarness* const alone = new KernelHarness({"x86-64-v3"});
  alone->Add({"neg", program::Family::kRowwise,
              "(%x: f32[T,3]) {\n  %y = neg %x : f32[T,3]\n  return %y\n}"});
  alone->Skip("x86-64-v3", "for this test");
  static Operands operands;
  operands.tensors["x"] = Tensor::Floats({1, 3}, {1, 2, 3});
  EXPECT_NONFATAL_FAILURE(
      alone->ExpectAgree(0, operands, {}),
      "neg ran on no engine but the oracle: oracle: ran, x86-64-v3: skipped (for this test)");
  delete alone;
}

// --- targets -------------------------------------------------------------------------------------

TEST(CodegenTargets, AreListedBestFirst) {
  EXPECT_THAT(codegen::ListTargets(),
              testing::ElementsAre("sapphirerapids", "zen4", "cascadelake", "x86-64-v4",
                                   "alderlake", "x86-64-v3", "x86-64", "neoverse-n1"));
}

TEST(CodegenTargets, NativeIsTheFirstThatTheHostCanRun) {
  std::string first;
  for (const std::string& name : codegen::ListTargets()) {
    const auto target = codegen::FindTarget(name);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_EQ(target->name, name);
    if (first.empty() && WhyNotHere(*target).empty()) first = name;
  }
  const auto native = codegen::FindTarget("native");
  if (first.empty()) {
    EXPECT_FALSE(native.ok());
  } else {
    ASSERT_TRUE(native.ok()) << native.status();
    EXPECT_EQ(native->name, first);
  }
}

TEST(CodegenTargets, UnknownNamesAreRefusedWithTheKnown) {
  const auto target = codegen::FindTarget("pentium");
  EXPECT_EQ(target.status().message(),
            "--target: expected native, sapphirerapids, zen4, cascadelake, x86-64-v4, alderlake, "
            "x86-64-v3, x86-64, neoverse-n1 or a card of --list-targets, found 'pentium'");
}

TEST(CodegenElementwise, UnaryOpsOfAwkwardWidthsAndExtremeInputs) {
  KernelHarness harness;
  for (const int64_t width : kWidths) harness.Add(AllUnaries(width));
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  constexpr float kExtremes[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 88.0f, -88.0f, 1.0f, -1.0f};
  Random random(1);
  for (size_t k = 0; k < std::size(kWidths); ++k) {
    const int64_t width = kWidths[k], rows = 40 / width + 3;
    Operands operands;
    std::vector<Tensor> expected;
    std::vector<std::vector<double>> bounds;
    for (const UnaryOp& op : UnaryOps()) {
      std::vector<float> values(rows * width);
      // Extremes first, then numbers of the op's range, in an order that puts each in every lane.
      std::vector<float> extremes(std::begin(kExtremes), std::end(kExtremes));
      extremes.insert(extremes.end(), op.special.begin(), op.special.end());
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = i < extremes.size() || random.OneIn(3)
                        ? extremes[(i + k) % extremes.size()]
                        : op.low + (op.high - op.low) * random.Uniform();
      }
      Tensor& x = operands.tensors[absl::StrCat(op.name, ".x")];
      x = Tensor::Floats({rows, width}, std::move(values));
      Expect(op, x, &expected, &bounds);
    }
    harness.ExpectWithin(static_cast<int>(k), operands, expected, bounds);
    harness.ExpectUnitsIndependent(static_cast<int>(k), operands, k);
    harness.ExpectRowsIndependent(static_cast<int>(k), operands, "T", 1, 2);
  }
}

TEST(CodegenMath, IsAsAccurateAsStated) {
  constexpr int64_t kWidth = 128, kRows = 1024;
  KernelHarness harness;
  const int kernel = harness.Add(AllUnaries(kWidth));
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  std::vector<Tensor> expected;
  std::vector<std::vector<double>> bounds;
  Random random(2);
  for (const UnaryOp& op : UnaryOps()) {
    std::vector<float> values(kRows * kWidth);
    for (size_t i = 0; i < values.size(); ++i) {
      const float even = op.low + (op.high - op.low) * static_cast<float>(i) / values.size();
      // Half of them spread evenly, half with every exponent of the range alike.
      values[i] = i % 2 == 0 ? even : even * std::exp2(-30 * random.Uniform());
      if (op.low > 0) values[i] = std::max(values[i], op.low);
    }
    Tensor& x = operands.tensors[absl::StrCat(op.name, ".x")];
    x = Tensor::Floats({kRows, kWidth}, std::move(values));
    Expect(op, x, &expected, &bounds);
  }
  harness.ExpectWithin(kernel, operands, expected, bounds);
}

TEST(CodegenMath, ExpIsExactAtZeroZeroFarBelowAndInfiniteFarAbove) {
  KernelHarness harness;
  const int kernel = harness.Add({"exp", program::Family::kRowwise,
                                  "(%x: f32[T,6]) {\n  %y = exp %x : f32[T,6]\n  return %y\n}"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.tensors["x"] = Tensor::Floats({1, 6}, {0.0f, -0.0f, -87.34f, -1e5f, 88.7229f, 1e5f});
  const std::vector<Tensor> expected = {Tensor::Floats({1, 6}, {1, 1, 0, 0, kInf, kInf})};
  harness.ExpectAgree(kernel, operands, {}, &expected);
}

// Every binary op with operands of every shape that broadcasts: full, [n], [T,1], scalar.
KernelSource Binaries(int64_t n) {
  KernelSource source;
  source.name = absl::StrCat("binary_", n);
  source.weights = {{"w", formats::Format::kPlainF32}};
  source.body = absl::StrCat("(%x: f32[T,", n, "], %y: f32[T,", n, "], %w: f32[", n,
                             "], %c: f32[T,1]) {\n  %s = constant {value = 0.3} : f32[]\n");
  int count = 0;
  std::vector<std::string> results;
  const auto add = [&](absl::string_view op, absl::string_view a, absl::string_view b) {
    absl::StrAppend(&source.body, "  %r", count, " = ", op, " ", a, ", ", b, " : f32[T,", n, "]\n");
    results.push_back(absl::StrCat("%r", count++));
  };
  for (const char* op : {"add", "sub", "mul", "div"}) add(op, "%x", "%y");
  for (const char* other : {"%w", "%c", "%s"}) {
    add("mul", "%x", other);
    add("sub", other, "%x");
  }
  absl::StrAppend(&source.body, "  return ", absl::StrJoin(results, ", "), "\n}");
  return source;
}

TEST(CodegenElementwise, BinaryOpsBroadcastAndRoundOnce) {
  KernelHarness harness;
  for (const int64_t width : kWidths) harness.Add(Binaries(width));
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  for (size_t k = 0; k < std::size(kWidths); ++k) {
    Operands operands;
    operands.dims["T"] = 5;
    harness.FillRandom(static_cast<int>(k), k, &operands);
    std::vector<float>& x = *operands.tensors["x"].floats;
    x[0] = kInf;
    x[1] = kNan;
    x[2] = -0.0f;
    harness.ExpectAgree(static_cast<int>(k), operands, {});  // the same bits
    harness.ExpectUnitsIndependent(static_cast<int>(k), operands, k);
  }
}

// Rounding to bf16 and f16 inside a body and at its end, from f32, bf16 and i32.
TEST(CodegenElementwise, CastsRoundToNearestEvenAndKeepNan) {
  const char* body = R"((%x: f32[T,37], %h: bf16[T,37], %i: i32[T]) {
  %0 = cast %x : bf16[T,37]
  %1 = cast %0 : f32[T,37]
  %2 = sub %x, %1 : f32[T,37]
  %3 = cast %h : f32[T,37]
  %4 = add %3, %x : f32[T,37]
  %5 = cast %4 : bf16[T,37]
  %6 = reshape %i : i32[T,1]
  %7 = cast %6 : f32[T,1]
  %8 = mul %x, %7 : f32[T,37]
  return %0, %2, %5, %8
})";
  KernelHarness harness;
  const int kernel = harness.Add({"casts", program::Family::kRowwise, body});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.tensors["i"] = Tensor::Ints({4}, {0, 1, 1023, 16777216});
  harness.FillRandom(kernel, 3, &operands);
  std::vector<float>& x = *operands.tensors["x"].floats;
  const float ties[] = {1.00390625f, 1.01171875f, -1.00390625f, 3.3895314e38f, kInf, kNan};
  std::copy(std::begin(ties), std::end(ties), x.begin());
  std::copy(std::begin(ties), std::end(ties), x.end() - std::size(ties));
  harness.ExpectAgree(kernel, operands, {});
  harness.ExpectRowsIndependent(kernel, operands, "T", 3, 4);
}

// The instruction that rounds to bf16 takes subnormal numbers for zeros; the integer rounding does
// not.
TEST(CodegenElementwise, CastsOfSubnormalNumbersStayBelowTheNormalOnes) {
  KernelHarness harness;
  const int kernel =
      harness.Add({"cast", program::Family::kRowwise,
                   "(%x: f32[T,17]) {\n  %y = cast %x : bf16[T,17]\n  return %y\n}"});
  ASSERT_NO_FATAL_FAILURE(harness.Compile());
  Operands operands;
  operands.tensors["x"] = Tensor::Floats({1, 17}, std::vector<float>(17, -1e-40f));
  harness.ExpectAgree(kernel, operands, {1e-39, 0});
}

}  // namespace
}  // namespace ninfer
