#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "ir/builder.h"
#include "ir/module.h"
#include "ir/ops_markdown.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "tests/support/random_graph.h"

namespace ninfer::ir {
namespace {

using testing::ElementsAre;

const Type kVector{DType::kF32, {Dim::Static(3)}};

// --- the op table ---

TEST(IrOps, EveryRowIsFoundByTagAndByName) {
  for (const OpInfo& info : AllOps()) {
    EXPECT_EQ(&InfoOf(info.op), &info);
    EXPECT_EQ(*OpFromName(info.name), info.op);
    EXPECT_LE(info.min_operands, info.max_operands);
    EXPECT_FALSE(info.mathematics.empty()) << info.name;
    EXPECT_FALSE(info.stages.empty()) << info.name;
    for (const char letter : info.stages) EXPECT_NE(std::string("IGAF").find(letter), -1u);
  }
  EXPECT_FALSE(OpFromName("nag").has_value());
}

TEST(IrOps, TheAttributeColumnIsParsed) {
  const OpInfo& slice = InfoOf(Op::kSlice);
  ASSERT_EQ(slice.attributes.size(), 3u);
  EXPECT_EQ(slice.attributes[1].name, "begin");
  EXPECT_EQ(slice.attributes[1].kind, AttrKind::kInt);
  EXPECT_FALSE(slice.attributes[1].optional);
  EXPECT_EQ(AttrKindName(InfoOf(Op::kTranspose).attributes[0].kind), "ints");
  EXPECT_TRUE(InfoOf(Op::kMatMul).attributes[0].optional);
  EXPECT_EQ(InfoOf(Op::kMatMul).attributes[0].kind, AttrKind::kBool);
}

TEST(IrOps, StagesHaveNamesAndLetters) {
  for (const Stage stage :
       {Stage::kImported, Stage::kOptimised, Stage::kAttention, Stage::kFused}) {
    EXPECT_EQ(*StageFromName(StageName(stage)), stage);
  }
  EXPECT_EQ(StageLetter(Stage::kOptimised), 'G');
  EXPECT_FALSE(StageFromName("late").has_value());
}

TEST(IrOps, ThePageOfOpsAgreesWithTheTable) {
  const std::string path = NINFER_SOURCE_DIR "/docs/ops.md";
  if (GetEnv("NINFER_BLESS") == "1") {
    ASSERT_TRUE(WriteFile(path, OpsMarkdown()).ok());
  }
  const absl::StatusOr<std::string> page = ReadFile(path);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(*page, OpsMarkdown()) << "run with NINFER_BLESS=1 to rewrite docs/ops.md";
}

// --- types ---

TEST(IrTypes, TypesPrintAndMeasure) {
  const std::vector<Symbol> symbols = {{"T", 1, 512}, {"S", 1, 4}};
  const Type type{DType::kBF16, {Dim::Symbolic(0), Dim::Symbolic(1, 1), Dim::Static(8)}};
  EXPECT_EQ(TypeToString(type, symbols), "bf16[T,S+1,8]");
  EXPECT_EQ(MaxBytes(type, symbols), 2 * 512 * 5 * 8);
  EXPECT_EQ(MinOf(type.shape[1], symbols), 2);
  EXPECT_EQ(TypeToString({DType::kF32, {Dim::Static(2), Dim::Static(64)}, true}, symbols),
            "kv<f32>[2,64]");
  EXPECT_EQ(TypeToString({DType::kI32, {Dim::Symbolic(0, -2)}}, symbols), "i32[T-2]");
  EXPECT_EQ(TypeToString({DType::kF32, {}}, symbols), "f32[]");
}

TEST(IrTypes, SizesThatOverflowSaturate) {
  const int64_t huge = std::numeric_limits<int64_t>::max();
  const std::vector<Symbol> symbols = {{"T", 1, huge}};
  EXPECT_EQ(MaxBytes({DType::kF32, {Dim::Symbolic(0, 1)}}, symbols), huge);
  EXPECT_EQ(MaxBytes({DType::kF32, {Dim::Static(huge / 2)}}, symbols), huge);
}

// --- functions ---

class IrFunction : public testing::Test {
 protected:
  IrFunction() : module_("m"), function_(module_.AddFunction("f")) {
    x_ = function_->AddParameter("x", kVector);
    y_ = function_->AddParameter("y", kVector);
    w_ = module_.AddWeight("w", kVector);
  }
  Value* Add(Value* a, Value* b, const Node* before = nullptr) {
    return function_->Insert(Op::kAdd, {a, b}, {kVector}, {}, before)->result();
  }
  std::vector<const Value*> Order() {
    std::vector<const Value*> order;
    for (const auto& node : function_->nodes()) order.push_back(node->result());
    return order;
  }

  Module module_;
  Function* function_;
  Value *x_, *y_, *w_;
};

TEST_F(IrFunction, NodesAreInsertedAndMovedInOrder) {
  Value* a = Add(x_, x_);
  Value* b = Add(y_, y_);
  Value* c = Add(x_, y_, b->producer());
  EXPECT_THAT(Order(), ElementsAre(a, c, b));
  function_->MoveBefore(b->producer(), a->producer());
  EXPECT_THAT(Order(), ElementsAre(b, a, c));
  function_->MoveBefore(b->producer(), c->producer());
  EXPECT_THAT(Order(), ElementsAre(a, b, c));
  function_->MoveBefore(a->producer(), a->producer());
  EXPECT_THAT(Order(), ElementsAre(a, b, c));
}

TEST_F(IrFunction, UsesAreCountedReplacedAndErased) {
  Value* a = Add(x_, w_);
  Value* b = Add(a, a);
  function_->results() = {b, a};
  EXPECT_EQ(function_->CountUses(a), 3);
  EXPECT_EQ(function_->CountUses(w_), 1);
  EXPECT_EQ(function_->UseCounts()[a], 3);
  EXPECT_EQ(function_->ReplaceAllUses(a, y_), 3);
  EXPECT_EQ(function_->results()[1], y_);
  function_->Erase(a->producer());
  EXPECT_THAT(Order(), ElementsAre(b));
  function_->RemoveParameter(x_);
  EXPECT_EQ(function_->FindParameter("x"), nullptr);
  EXPECT_EQ(function_->FindParameter("y"), y_);
}

TEST_F(IrFunction, ErasingAUsedNodeIsAnInternalError) {
  Value* a = Add(x_, y_);
  function_->results() = {a};
  EXPECT_DEATH(function_->Erase(a->producer()), "a result of add is used");
  EXPECT_DEATH(function_->RemoveParameter(x_), "parameter %x is used");
}

TEST_F(IrFunction, DeadNodesGoWithTheirDeadOperands) {
  Value* a = Add(x_, y_);
  Add(Add(a, a), y_);
  function_->results() = {a};
  EXPECT_EQ(function_->RemoveDeadNodes(), 2);
  EXPECT_THAT(Order(), ElementsAre(a));
  EXPECT_EQ(function_->RemoveDeadNodes(), 0);
}

TEST_F(IrFunction, UnusedWeightsGo) {
  Value* last = module_.AddWeight("last", kVector);
  function_->results() = {Add(x_, last)};
  EXPECT_EQ(module_.RemoveUnusedWeights(), 1);
  EXPECT_EQ(module_.FindWeight("w"), nullptr);
  EXPECT_EQ(module_.FindWeight("last"), last);
  EXPECT_EQ(module_.WeightOf(last).value.get(), last);
}

TEST_F(IrFunction, AnExpressionOverWeightsIsConstant) {
  Value* sum = Add(w_, w_);
  EXPECT_TRUE(IsConstant(w_));
  EXPECT_TRUE(IsConstant(sum));
  EXPECT_FALSE(IsConstant(x_));
  EXPECT_FALSE(IsConstant(Add(sum, x_)));
}

TEST_F(IrFunction, ConstancyOfADeepAndWideGraphIsFoundQuickly) {
  Value* value = w_;
  for (int i = 0; i < 20000; ++i) value = Add(value, value);
  EXPECT_TRUE(IsConstant(value));
}

TEST_F(IrFunction, AttributesAreSetByNameAndKeepTheRowsOrder) {
  Node* node = function_->Insert(Op::kSlice, {x_}, {kVector}, {});
  node->set_attr("end", AttrValue(int64_t{3}));
  node->set_attr("axis", AttrValue(int64_t{0}));
  node->set_attr("begin", AttrValue(int64_t{1}));
  node->set_attr("begin", AttrValue(int64_t{2}));
  EXPECT_EQ(node->attrs()[0].name, "axis");
  EXPECT_EQ(node->attr_int("begin"), 2);
  EXPECT_EQ(node->find_attr("step"), nullptr);
  EXPECT_TRUE(node->attr_bool("transpose_b", true));
  EXPECT_DEATH(node->attr_float("begin"), "attribute begin of slice");
}

// --- copies ---

TEST(IrModule, ACopyPrintsTheSameAndSharesNothing) {
  Module module = MakeRandomGraph(11).module;
  const std::string text = Print(module);
  Module copy = module.Clone();
  copy.functions()[0]->nodes()[0]->result()->set_name("changed");
  copy.symbols()[0].max = 5;
  EXPECT_EQ(Print(module), text);
  EXPECT_NE(Print(copy), text);
  for (const Weight& weight : copy.weights()) {
    EXPECT_NE(weight.value.get(), module.FindWeight(weight.value->name()));
  }
}

TEST(IrModule, ACopiedFunctionMapsItsValuesAndKeepsOuterOnes) {
  Module module("m");
  Value* w = module.AddWeight("w", kVector);
  Function* function = module.AddFunction("f");
  Value* x = function->AddParameter("x", kVector);
  Value* sum = function->Insert(Op::kAdd, {x, w}, {kVector}, {})->result();
  function->results() = {sum};
  absl::flat_hash_map<const Value*, Value*> values;
  const std::unique_ptr<Function> copy = CloneFunction(*function, "g", values);
  EXPECT_EQ(copy->name(), "g");
  EXPECT_EQ(values[x], copy->parameters()[0].get());
  EXPECT_EQ(values[sum], copy->results()[0]);
  EXPECT_EQ(copy->nodes()[0]->operand(1), w);
}

TEST(IrModule, NamesThatComeTwiceAreInternalErrors) {
  Module module("m");
  module.AddWeight("w", kVector);
  module.AddFunction("f");
  module.AddSymbol("T", 1, 2);
  EXPECT_DEATH(module.AddWeight("w", kVector), "weight @w is declared twice");
  EXPECT_DEATH(module.AddFunction("f"), "function @f is defined twice");
  EXPECT_DEATH(module.AddSymbol("T", 1, 2), "dimension T is declared twice");
}

// --- the generator of random graphs ---

TEST(RandomGraph, WeightsAreThereInTheDeclaredTypeAndShape) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const RandomGraph graph = MakeRandomGraph(seed);
    for (const Weight& weight : graph.module.weights()) {
      if (!weight.literal.empty()) continue;
      const auto view = graph.weights->Find(weight.value->name());
      ASSERT_TRUE(view.ok()) << view.status();
      EXPECT_EQ(view->dtype, weight.value->type().dtype);
      ASSERT_EQ(static_cast<int>(view->shape.size()), weight.value->type().rank());
      for (size_t d = 0; d < view->shape.size(); ++d) {
        EXPECT_EQ(view->shape[d], weight.value->type().shape[d].offset);
      }
    }
  }
  EXPECT_EQ(MakeRandomGraph(1).weights->Find("no").status().message(),
            "weights: tensor no: expected data, found none");
}

TEST(RandomGraph, EveryOpOfTheImporterComesUp) {
  absl::flat_hash_map<Op, int> seen;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const RandomGraph graph = MakeRandomGraph(seed);
    for (const auto& node : graph.module.functions()[0]->nodes()) ++seen[node->op()];
  }
  for (const OpInfo& info : AllOps()) {
    const bool imported = info.stages.find('I') != absl::string_view::npos;
    // Not made yet: what only some families' attention, rope and routing are written with.
    constexpr absl::string_view kLeftOut[] = {"alibi", "floor",       "greater", "grouped_linear",
                                              "log",   "max",         "min",     "take_columns",
                                              "top_k", "weighted_sum"};
    const bool left_out =
        std::find(std::begin(kLeftOut), std::end(kLeftOut), info.name) != std::end(kLeftOut);
    if (!imported || left_out || info.op == Op::kGatherRows) continue;
    EXPECT_GT(seen[info.op], 0) << info.name;
  }
}

TEST(RandomGraph, OptionsLeaveOutAttentionAndHalfPrecision) {
  RandomGraphOptions options;
  options.attention = false;
  options.half_weights = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string text = Print(MakeRandomGraph(seed, options).module);
    EXPECT_EQ(text.find("causal_mask"), std::string::npos);
    EXPECT_EQ(text.find("f16["), std::string::npos);
  }
}

}  // namespace
}  // namespace ninfer::ir
