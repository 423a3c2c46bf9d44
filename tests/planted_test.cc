// Wrong rewrites, planted between the passes, each of which the comparison after every pass must
// catch and name. They are an argument of the run: the passes themselves know nothing of them.
#include <functional>

#include "base/status.h"
#include "ir/builder.h"
#include "passes/rewrite.h"
#include "tests/planted_testing.h"
#include "tests/support/random_graph.h"

namespace ninfer::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;
using ::testing::HasSubstr;

// y = w (x - tanh x): no importer writes a subtraction.
compiler::Source WithSubtraction() {
  compiler::Source source{frontend::ImportedModel{ir::Module("subtraction"), {}, nullptr}, "",
                          false};
  frontend::ImportedModel& model = source.model;
  model.info.vocab_size = 9;
  model.info.context_length = 64;
  const ir::Dim t = ir::Dim::Symbolic(model.module.AddSymbol("T", 1, 64));
  const ir::Dim s = ir::Dim::Symbolic(model.module.AddSymbol("S", 1, 4), 1);
  ir::Function* step = model.module.AddFunction("step");
  Value* tokens = step->AddParameter("tokens", {DType::kI32, {t}});
  step->AddParameter("positions", {DType::kI32, {t}});
  step->AddParameter("seq_bounds", {DType::kI32, {s}});
  const ir::Type type{DType::kF32, {ir::Dim::Static(9), ir::Dim::Static(7)}};
  ir::Builder builder(&model.module, step);
  Value* x = builder.Embedding(tokens, model.module.AddWeight("table", type));
  Value* y = builder.Sub(x, builder.Unary(Op::kTanh, x));
  step->results().push_back(builder.Linear(y, model.module.AddWeight("head", type)));
  EXPECT_TRUE(builder.status().ok()) << builder.status();
  auto weights = std::make_shared<MemoryWeights>();
  weights->AddRandom(model.module, 1, 1.0f);
  model.weights = weights;
  return source;
}

// Changes the graph around one node, making nodes before it; false when that is not one to change.
using Change = std::function<bool(ir::Builder&, ir::Function&, Node&)>;

// A pass that changes the first node that `change` accepts.
ExtraPass Plant(const std::string& after, const std::string& name, Op op, Change change) {
  const auto run = [op, change](ir::Module& module,
                                const PassOptions& options) -> absl::StatusOr<int> {
    Rewrites rewrites(options);
    ir::Function& step = *module.FindFunction("step");
    std::vector<Node*> nodes;
    for (const auto& node : step.nodes()) {
      if (node->op() == op) nodes.push_back(node.get());
    }
    for (Node* node : nodes) {
      ir::Builder builder(&module, &step, node);
      if (!change(builder, step, *node)) continue;
      NINFER_RETURN_IF_ERROR(builder.status());
      return rewrites.Next() ? 1 : 0;
    }
    return 0;
  };
  return {after, name, run};
}

void ExpectCaught(const compiler::Source& source, const ExtraPass& planted,
                  const PassOptions& choice = {}) {
  const std::string message = MessageWith(source, planted, choice);
  EXPECT_THAT(message, HasSubstr(absl::StrCat(" ", planted.name, ": rewrite 1: max error ")));
  EXPECT_THAT(message, HasSubstr(" exceeds bound 0.0001 at position "));
}

TEST(Planted, SwappedOperandsOfASubtraction) {
  ExpectCaught(WithSubtraction(), Plant("canonicalise", "swapped-subtraction", Op::kSub,
                                        [](ir::Builder&, ir::Function&, Node& node) {
                                          Value* a = node.operand(0);
                                          node.set_operand(0, node.operand(1));
                                          node.set_operand(1, a);
                                          return true;
                                        }));
}

TEST(Planted, DroppedScaleOfTheScores) {
  ExpectCaught(Llama(), Plant("fold", "dropped-scale", Op::kCausalMask,
                              [](ir::Builder&, ir::Function&, Node& node) {
                                node.set_operand(0, node.operand(0)->producer()->operand(0));
                                return true;
                              }));
}

TEST(Planted, DroppedMask) {
  ExpectCaught(Gpt2(), Plant("cse", "dropped-mask", Op::kSoftmax,
                             [](ir::Builder&, ir::Function&, Node& node) {
                               node.set_operand(0, node.operand(0)->producer()->operand(0));
                               return true;
                             }));
}

// Right while nothing is cached: only texts cut into steps show it.
TEST(Planted, AttentionOverTheStepsOwnKeysInsteadOfTheCache) {
  ExpectCaught(Llama(), Plant("attention", "cache-not-read", Op::kPagedAttention,
                              [](ir::Builder& builder, ir::Function& step, Node& node) {
                                const Node* append = node.operand(1)->producer();
                                Value* bounds = node.operand(3);
                                Value* own = builder.Make(
                                    Op::kAttention,
                                    {node.operand(0), append->operand(1), append->operand(2),
                                     node.operand(2), bounds, bounds},
                                    node.attrs());
                                step.ReplaceAllUses(node.result(), own);
                                return true;
                              }));
}

TEST(Planted, WrongEpsilonOfANorm) {
  ExpectCaught(Llama(), Plant("merge-linears", "wrong-epsilon", Op::kRmsNorm,
                              [](ir::Builder&, ir::Function&, Node& node) {
                                node.set_attr("eps", node.attr_float("eps") * 1000);
                                return true;
                              }));
}

TEST(Planted, KvHeadsTiledInsteadOfRepeated) {
  ExpectCaught(Llama(), Plant("canonicalise", "tiled-heads", Op::kRepeat,
                              [](ir::Builder& builder, ir::Function& step, Node& node) {
                                Value* x = node.operand(0);
                                step.ReplaceAllUses(node.result(), builder.Concat({x, x}, 0));
                                return true;
                              }));
}

TEST(Planted, RopeTurningTheOtherWay) {
  ExpectCaught(Llama(), Plant("attention", "rope-sign", Op::kRope,
                              [](ir::Builder& builder, ir::Function&, Node& node) {
                                node.set_operand(2, builder.Unary(Op::kNeg, node.operand(2)));
                                return true;
                              }));
}

TEST(Planted, PositionOfQueriesOffByOne) {
  ExpectCaught(Llama(), Plant("cse", "position-off-by-one", Op::kRope,
                              [](ir::Builder& builder, ir::Function&, Node& node) {
                                Value* angles = node.operand(1)->producer()->operand(0);
                                Node* product = angles->producer();  // of positions and frequencies
                                Value* later =
                                    builder.Add(product->operand(0), builder.Constant(1));
                                angles = builder.Mul(later, product->operand(1));
                                node.set_operand(1, builder.Unary(Op::kCos, angles));
                                node.set_operand(2, builder.Unary(Op::kSin, angles));
                                return true;
                              }));
}

TEST(Planted, CacheOfKeysThatWereNotRotated) {
  ExpectCaught(Llama(), Plant("kv-cache", "keys-not-rotated", Op::kKvAppend,
                              [](ir::Builder&, ir::Function&, Node& node) {
                                node.set_operand(1, node.operand(1)->producer()->operand(0));
                                return true;
                              }));
}

TEST(Planted, ValuesReadWhereKeysShouldBe) {
  ExpectCaught(Gpt2(), Plant("last-rows", "values-for-keys", Op::kKvAppend,
                             [](ir::Builder&, ir::Function&, Node& node) {
                               node.set_operand(1, node.operand(2));
                               return true;
                             }));
}

TEST(Planted, DroppedResidual) {
  ExpectCaught(Gpt2(), Plant("precision", "dropped-residual", Op::kLayerNorm,
                             [](ir::Builder&, ir::Function&, Node& node) {
                               const Node* sum = ProducerIf(node.operand(0), Op::kAdd);
                               if (sum == nullptr || sum->operand(1)->is_weight()) return false;
                               node.set_operand(0, sum->operand(1));
                               return true;
                             }));
}

TEST(Planted, BiasAddedTwice) {
  ExpectCaught(Gpt2(), Plant("merge-linears", "bias-twice", Op::kAdd,
                             [](ir::Builder& builder, ir::Function&, Node& node) {
                               if (!ir::IsConstant(node.operand(1))) return false;
                               node.set_operand(0, builder.Add(node.operand(0), node.operand(1)));
                               return true;
                             }));
}

TEST(Planted, SliceThatBeginsOneColumnLate) {
  ExpectCaught(Gpt2(), Plant("attention", "late-slice", Op::kSlice,
                             [](ir::Builder&, ir::Function&, Node& node) {
                               if (ir::IsConstant(node.result())) return false;
                               node.set_attr("begin", node.attr_int("begin") + 1);
                               node.set_attr("end", node.attr_int("end") + 1);
                               return true;
                             }));
}

TEST(Planted, RoundingThatNobodyChose) {
  ExpectCaught(Llama(), Plant("precision", "rounded-norm", Op::kLinear,
                              [](ir::Builder& builder, ir::Function&, Node& node) {
                                node.set_operand(0, builder.Cast(node.operand(0), DType::kBF16));
                                return true;
                              }));
}

// Before precision nothing may round, whatever types were chosen: a pass that does loosens no
// bound.
TEST(Planted, RoundingBeforeItsPlace) {
  PassOptions choice;
  choice.weights = choice.activations = choice.kv_cache = DType::kBF16;
  ExpectCaught(Llama(),
               Plant("attention", "rounded-early", Op::kLinear,
                     [](ir::Builder& builder, ir::Function&, Node& node) {
                       Value* rounded = builder.Cast(node.operand(0), DType::kBF16);
                       node.set_operand(0, builder.Cast(rounded, DType::kF32));
                       return true;
                     }),
               choice);
}

// The same as long as a text fits one page of the cache: only a longer one shows it.
TEST(Planted, PositionsThatStopAtTheEndOfAPage) {
  ExpectCaught(Llama(), Plant("cse", "clamped-position", Op::kRope,
                              [](ir::Builder& builder, ir::Function&, Node& node) {
                                Node* product = node.operand(1)->producer()->operand(0)->producer();
                                Value* last = builder.Constant(63);
                                Value* left = builder.Unary(Op::kRelu,
                                                            builder.Sub(last, product->operand(0)));
                                Value* angles =
                                    builder.Mul(builder.Sub(last, left), product->operand(1));
                                node.set_operand(1, builder.Unary(Op::kCos, angles));
                                node.set_operand(2, builder.Unary(Op::kSin, angles));
                                return true;
                              }));
}

TEST(Planted, WrongWeightInsideARegion) {
  ExpectCaught(Llama(), Plant("fuse", "activation-left-out", Op::kFused,
                              [](ir::Builder&, ir::Function&, Node& node) {
                                ir::Function& body = *node.body();
                                for (const auto& inner : body.nodes()) {
                                  if (inner->op() != Op::kSilu) continue;
                                  body.ReplaceAllUses(inner->result(), inner->operand(0));
                                  return true;
                                }
                                return false;
                              }));
}

// Where rounding may change the experts of a row, and so all of it: behind precision the reference
// is what precision left.
TEST(Planted, AnotherActivationInARoundedMixtureOfExperts) {
  const compiler::Source mixture = Shape(R"({
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 75,
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_local_experts": 5, "num_experts_per_tok": 2,
    "max_position_embeddings": 128})");
  for (const char* weights : {"bf16", "int8", "int4"}) {
    PassOptions choice;
    ASSERT_TRUE(choice.SetWeights(weights));
    choice.activations = choice.kv_cache = DType::kBF16;
    ExpectCaught(mixture,
                 Plant("precision", "relu-for-silu", Op::kSilu,
                       [](ir::Builder& builder, ir::Function& step, Node& node) {
                         step.ReplaceAllUses(node.result(),
                                             builder.Unary(Op::kRelu, node.operand(0)));
                         return true;
                       }),
                 choice);
  }
}

// Of many rewrites the wrong one is named.
TEST(Planted, TheWrongRewriteAmongRightOnesIsNamedByItsNumber) {
  const compiler::Source source = Llama();
  const auto run = [](ir::Module& module, const PassOptions& options) -> absl::StatusOr<int> {
    Rewrites rewrites(options);
    ir::Function& step = *module.FindFunction("step");
    std::vector<Node*> norms;
    for (const auto& node : step.nodes()) {
      if (node->op() == Op::kRmsNorm) norms.push_back(node.get());
    }
    for (Node* norm : norms) {
      if (!rewrites.Next()) return rewrites.made();
      ir::Builder builder(&module, &step, norm);
      Value* x = builder.Unary(Op::kNeg, norm->operand(0));
      // Back again, but not the fourth time.
      norm->set_operand(0, rewrites.made() == 4 ? x : builder.Unary(Op::kNeg, x));
    }
    return rewrites.made();
  };
  EXPECT_THAT(MessageWith(source, {"cse", "mostly-right", run}),
              HasSubstr("pass 4 mostly-right: rewrite 4: max error "));
}

}  // namespace
}  // namespace ninfer::passes
