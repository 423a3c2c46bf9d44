#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace ninfer::ir {
namespace {

class IrBuilder : public testing::Test {
 protected:
  IrBuilder()
      : module_("m"),
        tokens_(Dim::Symbolic(module_.AddSymbol("T", 1, 16))),
        function_(module_.AddFunction("step")),
        builder_(&module_, function_) {
    x_ = function_->AddParameter("x", {DType::kF32, {tokens_, Dim::Static(6)}});
    w_ = module_.AddWeight("w", {DType::kBF16, {Dim::Static(4), Dim::Static(6)}});
    v_ = module_.AddWeight("v", {DType::kF16, {Dim::Static(6)}});
  }
  std::string TypeOf(const Value* value) { return TypeToString(value->type(), module_.symbols()); }

  Module module_;
  Dim tokens_;
  Function* function_;
  Builder builder_;
  Value *x_, *w_, *v_;
};

TEST_F(IrBuilder, ResultTypesAreInferred) {
  EXPECT_EQ(TypeOf(builder_.Constant(2)), "f32[]");
  EXPECT_EQ(TypeOf(builder_.Add(builder_.Constant(2), x_)), "f32[T,6]");
  EXPECT_EQ(TypeOf(builder_.Linear(x_, w_)), "f32[T,4]");
  EXPECT_EQ(TypeOf(builder_.RmsNorm(x_, v_, 1e-5)), "f32[T,6]");
  EXPECT_EQ(TypeOf(builder_.LayerNorm(x_, v_, v_, 1e-5)), "f32[T,6]");
  EXPECT_EQ(TypeOf(builder_.Cast(v_, DType::kF32)), "f32[6]");
  EXPECT_EQ(TypeOf(builder_.Softmax(x_)), "f32[T,6]");
  EXPECT_EQ(TypeOf(builder_.Slice(x_, 1, 2, 5)), "f32[T,3]");
  EXPECT_EQ(TypeOf(builder_.Concat({x_, x_}, 1)), "f32[T,12]");
  EXPECT_EQ(TypeOf(builder_.Repeat(x_, 1, 2)), "f32[T,12]");
  EXPECT_EQ(TypeOf(builder_.Transpose(x_, {1, 0})), "f32[6,T]");
  Value* heads = builder_.Reshape(x_, {tokens_, Dim::Static(3), Dim::Static(2)});
  EXPECT_EQ(TypeOf(heads), "f32[T,3,2]");
  Value* angles = builder_.Slice(x_, 1, 0, 1);
  EXPECT_EQ(TypeOf(builder_.Rope(heads, angles, angles, "half")), "f32[T,3,2]");
  Value* by_head = builder_.Transpose(heads, {1, 0, 2});
  EXPECT_EQ(TypeOf(builder_.MatMul(by_head, by_head, true)), "f32[3,T,T]");
  Value* ids = function_->AddParameter("ids", {DType::kI32, {Dim::Static(5)}});
  EXPECT_EQ(TypeOf(builder_.Embedding(ids, w_)), "f32[5,6]");
  EXPECT_EQ(TypeOf(builder_.GatherRows(heads, ids)), "f32[5,3,2]");
  function_->results() = {x_};
  EXPECT_TRUE(builder_.status().ok()) << builder_.status();
  EXPECT_TRUE(Verify(module_).ok()) << Verify(module_);
}

TEST_F(IrBuilder, NodesCarryTheProvenanceOfTheirTime) {
  Value* before = builder_.Unary(Op::kNeg, x_);
  builder_.set_provenance("model.layers.0");
  Value* after = builder_.Unary(Op::kNeg, x_);
  EXPECT_EQ(before->provenance(), "");
  EXPECT_EQ(after->provenance(), "model.layers.0");
}

TEST_F(IrBuilder, NodesAreInsertedBeforeTheGivenOne) {
  Value* last = builder_.Unary(Op::kNeg, x_);
  Builder inserting(&module_, function_, last->producer());
  Value* first = inserting.Unary(Op::kExp, x_);
  Value* second = inserting.Unary(Op::kTanh, first);
  ASSERT_EQ(function_->nodes().size(), 3u);
  EXPECT_EQ(function_->nodes()[0]->result(), first);
  EXPECT_EQ(function_->nodes()[1]->result(), second);
}

TEST_F(IrBuilder, TheFirstErrorIsKeptAndTheChainGoesOn) {
  builder_.set_provenance("model.layers.2.mlp");
  Value* bad = builder_.Linear(x_, v_);
  EXPECT_EQ(TypeOf(bad), "f32[]");
  Value* worse = builder_.Embedding(bad, bad);
  EXPECT_EQ(TypeOf(worse), "f32[]");
  EXPECT_EQ(builder_.status().message(),
            "@step: model.layers.2.mlp: linear: operand 2: expected float[_,6], found f16[6]");
}

TEST_F(IrBuilder, ADeclaredTypeIsComparedWithTheInferredOne) {
  const Type declared{DType::kF32, {Dim::Static(6)}};
  builder_.Make(Op::kNeg, {x_}, {}, &declared);
  EXPECT_EQ(builder_.status().message(), "@step: neg: result: expected f32[T,6], found f32[6]");
}

TEST_F(IrBuilder, RulesThatTakeADeclaredTypeSayWhenItIsMissing) {
  builder_.Make(Op::kReshape, {x_});
  EXPECT_EQ(builder_.status().message(),
            "@step: reshape: expected a declared result type, found none");
}

TEST_F(IrBuilder, OperandsAndAttributesAreCheckedBeforeTheRule) {
  builder_.Make(Op::kAdd, {x_});
  EXPECT_EQ(builder_.status().message(), "@step: add: operands: expected 2, found 1");
  Builder other(&module_, function_);
  other.Make(Op::kSlice, {x_}, {{"axis", AttrValue(1.0)}});
  EXPECT_EQ(other.status().message(),
            "@step: slice: attribute axis: expected int, found another kind");
}

}  // namespace
}  // namespace ninfer::ir
