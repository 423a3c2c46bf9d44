// Constant expressions: read in blocks, folded for the interpreter in every way they may be used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "eager/constants.h"
#include "eager/eager.h"
#include "ir/builder.h"
#include "tests/support/memory_weights.h"
#include "tests/support/parse_module.h"

namespace ninfer::eager {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The same expression in blocks and op by op.
class Constants : public ::testing::Test {
 protected:
  Constants() : module_("m") {
    const auto type = [](DType dtype, int64_t rows, int64_t columns) {
      return ir::Type{dtype, {ir::Dim::Static(rows), ir::Dim::Static(columns)}};
    };
    a_ = module_.AddWeight("a", type(DType::kF32, 5, 7));
    b_ = module_.AddWeight("b", type(DType::kF32, 3, 7));
    t_ = module_.AddWeight("t", type(DType::kF16, 7, 40));
    literal_ = module_.AddLiteral("literal", {1, 2.5, 3, 4, 5, 6, 1.001f});
    module_.AddSymbol("T", 1, 16);
    function_ = module_.AddFunction("step");
    weights_ = std::make_shared<MemoryWeights>();
    weights_->AddRandom(module_, 3, 1.0f);
  }

  // Every range of rows of `result` equals that of the function run op by op, with the weights for
  // parameters.
  void ExpectRowsOfTheWhole(ir::Value* result, const std::vector<ir::Value*>& used) {
    ir::Function plain("plain");
    absl::flat_hash_map<const ir::Value*, ir::Value*> values;
    std::vector<Tensor> operands;
    for (ir::Value* weight : used) {
      values[weight] = plain.AddParameter(weight->name(), weight->type());
      std::vector<int64_t> shape;
      int64_t elements = 1;
      for (const ir::Dim& dim : weight->type().shape) {
        shape.push_back(dim.offset);
        elements *= dim.offset;
      }
      std::vector<float> whole(elements);
      ASSERT_TRUE(EvaluateRows(weight, module_, *weights_, 0, RowsOf(weight), whole.data()).ok());
      operands.push_back(Tensor::Floats(shape, std::move(whole)));
    }
    for (const auto& node : function_->nodes()) {
      std::vector<ir::Value*> inputs;
      for (ir::Value* operand : node->operands()) inputs.push_back(values.at(operand));
      const ir::Type types[] = {node->result()->type()};
      values[node->result()] = plain.Insert(node->op(), inputs, types, node->attrs())->result();
    }
    plain.results() = {values.at(result)};
    auto expected = RunFunction(plain, module_.symbols(), operands);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const int64_t rows = RowsOf(result), columns = (*expected)[0].elements() / rows;
    for (int64_t row0 = 0; row0 <= rows; ++row0) {
      for (int64_t row1 = row0; row1 <= rows; ++row1) {
        std::vector<float> found((row1 - row0) * columns);
        const absl::Status status =
            EvaluateRows(result, module_, *weights_, row0, row1, found.data());
        ASSERT_TRUE(status.ok()) << status;
        ASSERT_TRUE(std::equal(found.begin(), found.end(),
                               (*expected)[0].floats->begin() + row0 * columns));
      }
    }
  }

  ir::Module module_;
  ir::Function* function_;
  ir::Value *a_, *b_, *t_, *literal_;
  std::shared_ptr<MemoryWeights> weights_;
};

TEST_F(Constants, RowsOfAnExpressionEqualThoseOfTheWhole) {
  ir::Builder builder(&module_, function_);
  ir::Value* by_row = builder.Concat({a_, b_}, 0);                                   // [8, 7]
  ir::Value* turned = builder.Transpose(builder.Slice(t_, 1, 4, 12), {1, 0});        // [8, 7]
  ir::Value* wide = builder.Concat({builder.Cast(by_row, DType::kF16), turned}, 1);  // [8, 14]
  ir::Value* rounded = builder.Cast(builder.Slice(wide, 1, 3, 12), DType::kBF16);    // [8, 9]
  ir::Value* result = builder.Slice(rounded, 0, 1, 8);                               // [7, 9]
  function_->results() = {result, literal_};
  ASSERT_TRUE(builder.status().ok()) << builder.status();
  ExpectRowsOfTheWhole(result, {a_, b_, t_});
  std::vector<float> part(3);
  ASSERT_TRUE(EvaluateRows(literal_, module_, *weights_, 1, 4, part.data()).ok());
  EXPECT_THAT(part, ElementsAre(2.5f, 3, 4));
}

TEST_F(Constants, RowsMayBePermutedByHead) {
  // [2 heads * 4 rows of q, k; 40] as [q of both heads; k of both heads], less a row each.
  const auto dims = [](std::vector<int64_t> sizes) {
    std::vector<ir::Dim> result;
    for (int64_t size : sizes) result.push_back(ir::Dim::Static(size));
    return result;
  };
  ir::Value* qk = module_.AddWeight("qk", {DType::kBF16, {dims({16})[0], dims({6})[0]}});
  weights_ = std::make_shared<MemoryWeights>();
  weights_->AddRandom(module_, 4, 1.0f);
  ir::Builder builder(&module_, function_);
  ir::Value* by_head = builder.Reshape(qk, dims({2, 2, 4, 6}));
  ir::Value* parts = builder.Transpose(by_head, {1, 0, 2, 3});
  ir::Value* result = builder.Reshape(builder.Slice(parts, 2, 1, 4), dims({12, 6}));
  ASSERT_TRUE(builder.status().ok()) << builder.status();
  function_->results() = {result};
  ExpectRowsOfTheWhole(result, {qk});
}

TEST_F(Constants, ATransposedVectorIsTheVector) {
  ir::Builder builder(&module_, function_);
  ir::Value* result = builder.Transpose(literal_, {0});
  ASSERT_TRUE(builder.status().ok()) << builder.status();
  function_->results() = {result};
  ExpectRowsOfTheWhole(result, {literal_});
}

TEST_F(Constants, SmallArithmeticIsDoneOpByOp) {
  ir::Builder builder(&module_, function_);
  ir::Value* bias = builder.Reshape(literal_, {ir::Dim::Static(7), ir::Dim::Static(1)});
  ir::Value* turned = builder.Transpose(bias, {1, 0});
  ir::Value* result = builder.Add(builder.Mul(a_, turned), literal_);
  ASSERT_TRUE(builder.status().ok()) << builder.status();
  function_->results() = {result};
  ExpectRowsOfTheWhole(result, {a_, literal_});
}

TEST_F(Constants, WhatIsNoExpressionOfWeightsAndWrongTensorsAreRefusedByName) {
  ir::Builder builder(&module_, function_);
  ir::Value* product = builder.Linear(a_, a_);
  std::vector<float> out(64);
  EXPECT_EQ(
      EvaluateRows(product, module_, *weights_, 0, 5, out.data()).message(),
      "% (linear): expected concat, transpose, reshape, cast and slice of weights, at most 64 "
      "deep, or small elementwise arithmetic");
  MemoryWeights wrong;
  wrong.Add("a", DType::kBF16, {5, 7}, std::vector<float>(35));
  EXPECT_EQ(EvaluateRows(a_, module_, wrong, 0, 5, out.data()).message(),
            "@a: expected f32[5,7], found bf16[5,7]");
  EXPECT_THAT(EvaluateRows(b_, module_, wrong, 0, 3, out.data()).message(), HasSubstr("b"));
}

// Each level doubles the paths to @a and keeps its size.
TEST_F(Constants, ExpressionsWithManyPathsEndAndEqualTheirValue) {
  for (const int levels : {10, 40}) {
    ir::Builder builder(&module_, function_);
    ir::Value* value = a_;
    for (int i = 0; i < levels; ++i) {
      value = builder.Slice(builder.Concat({value, value}, 0), 0, 2, 7);
    }
    ASSERT_TRUE(builder.status().ok()) << builder.status();
    ir::Value* ids = function_->FindParameter("tokens");
    if (ids == nullptr)
      ids = function_->AddParameter("tokens", {DType::kI32, {ir::Dim::Symbolic(0)}});
    function_->results() = {builder.Embedding(ids, value)};
    auto interpreter = Interpreter::Create(&module_, weights_, 2);
    ASSERT_TRUE(interpreter.ok()) << interpreter.status();
    StepArguments arguments;
    arguments.tokens = {0};
    auto y = (*interpreter)->Run(arguments, nullptr);
    ASSERT_TRUE(y.ok()) << y.status();
    const float* a = static_cast<const float*>(weights_->Find("a")->data);
    const int row = 2 * levels % 5;  // each level turns the rows by two
    EXPECT_EQ(y->at(0).floats->at(3), a[row * 7 + 3]);
  }
}

TEST(FoldedConstants, ATiedTableServesEmbeddingAndLinear) {
  const ir::Module module = ParseModule(R"(module "m" stage imported
dim T in [1, 16]
weight @e : bf16[45,7]
func @step(%tokens: i32[T]) {
  %x = embedding %tokens, @e : f32[T,7]
  %y = linear %x, @e : f32[T,45]
  return %y
})");
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 4, 0.5f);
  auto interpreter = Interpreter::Create(&module, weights, 2);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  std::vector<float> e(45 * 7);
  ASSERT_TRUE(EvaluateRows(module.FindWeight("e"), module, *weights, 0, 45, e.data()).ok());
  StepArguments arguments;
  arguments.tokens = {44, 0, 17};
  auto y = (*interpreter)->Run(arguments, nullptr);
  ASSERT_TRUE(y.ok()) << y.status();
  for (int t = 0; t < 3; ++t) {
    for (int n = 0; n < 45; ++n) {
      double expected = 0;
      for (int k = 0; k < 7; ++k) expected += double{e[arguments.tokens[t] * 7 + k]} * e[n * 7 + k];
      EXPECT_NEAR(y->at(0).floats->at(t * 45 + n), expected, 1e-6);
    }
  }
  arguments.tokens = {45};
  EXPECT_THAT((*interpreter)->Run(arguments, nullptr).status().message(),
              HasSubstr("id 45: expected 0 to 44"));
}

TEST(FoldedConstants, AreFoldedInWhateverWayTheyAreUsed) {
  // @w is used as it is, turned for a linear, turned twice, in a product, as a result, and by a
  // region.
  const ir::Module module = ParseModule(R"(module "m" stage fused
dim T in [1, 16]
weight @e : f32[9,4]
weight @w : f32[4,6]
func @step(%tokens: i32[T]) {
  %x = embedding %tokens, @e : f32[T,4]
  %t = transpose @w {perm = [1, 0]} : f32[6,4]
  %y = linear %x, %t : f32[T,6]
  %z = linear %y, @w : f32[T,4]
  %p = mul @w, @w : f32[4,6]
  %q = transpose %p {perm = [1, 0]} : f32[6,4]
  %u = linear %z, %q : f32[T,6]
  %r = fused(%a = %z, %b = %t) {family = "linear"} {
    %c = constant {value = 2} : f32[]
    %0 = linear %a, %b : f32[T,6]
    %1 = mul %0, %c : f32[T,6]
    return %1
  } : f32[T,6]
  %s = add %u, %r : f32[T,6]
  return %s, %p, @e
})");
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 4, 0.5f);
  auto interpreter = Interpreter::Create(&module, weights, 2);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  StepArguments arguments;
  arguments.tokens = {3, 8, 0};
  int nodes = 0, inner = 0;
  const auto count = [&](const ir::Node& node, absl::Span<const Tensor> results) {
    EXPECT_EQ(results.size(), 1u);
    ++nodes;
    inner += node.op() == ir::Op::kMul ? 1 : 0;
    return absl::OkStatus();
  };
  const Observer observer(count);
  auto results = (*interpreter)->Run(arguments, nullptr, &observer);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 3u);
  EXPECT_EQ(nodes, 9) << "embedding, three linears, the region and its three, the sum";
  EXPECT_EQ(inner, 1) << "the region's product; the constant one was folded";
  const float* e = static_cast<const float*>(weights->Find("e")->data);
  const float* w = static_cast<const float*>(weights->Find("w")->data);
  for (int t = 0; t < 3; ++t) {
    double y[6] = {}, z[4] = {};
    for (int n = 0; n < 6; ++n) {
      for (int k = 0; k < 4; ++k) y[n] += double{e[arguments.tokens[t] * 4 + k]} * w[k * 6 + n];
    }
    for (int n = 0; n < 4; ++n) {
      for (int k = 0; k < 6; ++k) z[n] += y[k] * w[n * 6 + k];
    }
    for (int n = 0; n < 6; ++n) {
      double expected = 0;
      for (int k = 0; k < 4; ++k)
        expected += z[k] * (w[k * 6 + n] * w[k * 6 + n] + 2 * w[k * 6 + n]);
      EXPECT_NEAR(results->at(0).floats->at(t * 6 + n), expected, 1e-5);
    }
  }
  EXPECT_EQ(results->at(1).floats->at(5), w[5] * w[5]);
  EXPECT_EQ(results->at(2).floats->at(5), e[5]);
}

TEST(FoldedConstants, ARegionOfWeightsAloneRunsWithTheStep) {
  const ir::Module module = ParseModule(R"(module "m" stage fused
dim T in [1, 16]
weight @e : f32[9,4]
weight @w : f32[4] = [1, 2, 3, 4]
func @step(%tokens: i32[T]) {
  %x = embedding %tokens, @e : f32[T,4]
  %r = fused(%a = @w) {family = "rowwise"} {
    %0 = mul %a, %a : f32[4]
    return %0
  } : f32[4]
  %s = neg %r : f32[4]
  %y = add %x, %s : f32[T,4]
  return %y
})");
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(module, 4, 0.5f);
  auto interpreter = Interpreter::Create(&module, weights, 1);
  ASSERT_TRUE(interpreter.ok()) << interpreter.status();
  StepArguments arguments;
  arguments.tokens = {3};
  auto results = (*interpreter)->Run(arguments, nullptr);
  ASSERT_TRUE(results.ok()) << results.status();
  const float* e = static_cast<const float*>(weights->Find("e")->data);
  EXPECT_EQ(results->at(0).floats->at(2), e[3 * 4 + 2] + -9.0f);
}

}  // namespace
}  // namespace ninfer::eager
