// What --quality measures: divergences against figures made by hand, errors of linears against
// their definition, and what stands in the plan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/quantise.h"
#include "compiler/divergence.h"
#include "compiler/quality.h"
#include "tests/compiler_testing.h"
#include "tests/support/model_folder.h"

namespace ninfer::compiler {
namespace {

using ::testing::Each;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Lt;

constexpr char kDemo[] = NINFER_SOURCE_DIR "/models/demo";

// p = (1/2, 1/4, 1/4) against q = (1/4, 1/2, 1/4), then p against itself.
TEST(Divergence, IsThatOfTheDistributions) {
  const float l = std::log(2.0f);
  const float p[] = {l, 0, 0, l, 0, 0}, q[] = {0, l, 0, 5 + l, 5, 5};
  const int32_t next[] = {1};
  Divergence sum;
  sum.Add(p, q, 2, 3, next);
  EXPECT_EQ(sum.rows, 2);
  EXPECT_EQ(sum.flips, 1);
  EXPECT_NEAR(sum.kl, 0.25 * std::log(2.0), 1e-6);
  EXPECT_NEAR(sum.mean_kl(), sum.kl / 2, 1e-12);
  EXPECT_EQ(sum.predictions, 1);
  EXPECT_NEAR(sum.reference_perplexity(), 4, 1e-5);
  EXPECT_NEAR(sum.perplexity(), 2, 1e-5);
}

class QualityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::WriteModel(folder_.path(), testing::TinyLlama({.hidden = 64, .context = 200}));
  }
  Json Options() const { return ExactOptions(folder_.path()); }
  plan::Quality Measure(Json json, std::vector<std::string>* lines = nullptr) {
    Callbacks callbacks;
    callbacks.log = [&](const std::string& line) {
      if (lines != nullptr) lines->push_back(line);
    };
    const auto compiled = CompileWith(json, callbacks);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    if (!compiled.ok()) return {};
    const auto plan = plan::ParseSections(plan::SerializeSections(compiled->plan), "plan");
    EXPECT_TRUE(plan.ok() && plan->evidence.quality.has_value());
    return plan.ok() ? plan->evidence.quality.value_or(plan::Quality()) : plan::Quality();
  }
  static std::vector<double> Errors(const plan::Quality& quality) {
    std::vector<double> errors;
    for (const plan::LinearError& linear : quality.linears) errors.push_back(linear.error);
    return errors;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(QualityTest, WithoutRoundingThereIsNoneToReport) {
  Json json = Options();
  json["quality"] = "sampled";
  const plan::Quality quality = Measure(json);
  EXPECT_GT(quality.tokens, 32);
  EXPECT_LT(quality.kl_divergence, 1e-8);
  EXPECT_EQ(quality.argmax_flips, 0);
  EXPECT_NEAR(quality.perplexity, quality.reference_perplexity, 1e-4);
  EXPECT_TRUE(quality.linears.empty());
}

TEST_F(QualityTest, WithoutACacheRowsAreWantedInTurn) {
  Json json = Options();
  json.update({{"quality", "sampled"}, {"disable_passes", {"kv-cache"}}, {"max_rows", 6}});
  const plan::Quality quality = Measure(json);
  EXPECT_GT(quality.tokens, 32);
  EXPECT_LT(quality.kl_divergence, 1e-8);
}

TEST_F(QualityTest, FewerBitsCostMore) {
  Json json = Options();
  json["quality"] = "sampled";
  double last = 0;
  for (const char* weights : {"bf16", "int8", "int4"}) {
    json["weights"] = weights;
    const plan::Quality quality = Measure(json);
    EXPECT_GT(quality.kl_divergence, last * 2) << weights;
    last = quality.kl_divergence;
    EXPECT_EQ(quality.linears.size(), 2u * 4 + 1) << weights;
    EXPECT_THAT(Errors(quality), Each(Gt(0))) << weights;
    EXPECT_THAT(Errors(quality), Each(Lt(0.15))) << weights;
  }
}

TEST_F(QualityTest, ReportsLayersTogetherAndIsReadBack) {
  std::vector<std::string> lines;
  const plan::Quality quality = Measure(
      {{"model", kDemo}, {"weights", "int8"}, {"quality", "bundled"}, {"threads", 2}}, &lines);
  EXPECT_EQ(quality.origin, "bundled text");
  EXPECT_GT(quality.tokens, 300);
  EXPECT_GT(quality.reference_perplexity, 1);
  EXPECT_EQ(quality.linears.size(), 6u * 4 + 1);
  EXPECT_EQ(quality.linears[0].name,
            "model.layers.0.self_attn.q_proj.weight/k_proj.weight/v_proj.weight");
  EXPECT_EQ(quality.linears[0].weight, "int8_g32");
  EXPECT_EQ(quality.linears[0].input, "int8_g32_f32");
  ASSERT_EQ(lines.size(), 2u + 1 + 5 + 1);
  EXPECT_THAT(lines[2], HasSubstr("tokens, bundled text: KL "));
  EXPECT_THAT(lines[3], HasSubstr("model.layers.*.self_attn.q_proj.weight/k_proj.weight"));
}

// The head by its definition: x and y from the graph, the weight as it is stored.
TEST_F(QualityTest, ErrorOfALinearIsThatOfItsOutputAlone) {
  Json json = Options();
  json["weights"] = "int4";
  json["activations"] = "int8";
  const auto options = ParseOptions(json.dump(), Caller::kCompile);
  ASSERT_TRUE(options.ok()) << options.status();
  const auto source = OpenSource(*options);
  ASSERT_TRUE(source.ok()) << source.status();
  std::string explanation;
  const auto choice = PassOptionsFor(*options, *source, &explanation);
  ASSERT_TRUE(choice.ok()) << choice.status();
  const Texts texts = {{1, 2, 3, 5, 8, 13, 21, 34, 18}};
  const auto errors = MeasureLinears(*source, *choice, texts, 2);
  ASSERT_TRUE(errors.ok()) << errors.status();

  const auto graph = GraphBeforePrecision(*source, *choice);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const ir::Node* head = nullptr;
  for (const auto& node : graph->FindFunction("step")->nodes()) {
    if (node->op() == ir::Op::kLinear) head = node.get();
  }
  std::vector<float> x, y;
  const auto observe = [&](const ir::Node& node, absl::Span<const eager::Tensor> results) {
    std::vector<float>* to = &node == head                           ? &y
                             : head->operand(0)->producer() == &node ? &x
                                                                     : nullptr;
    if (to != nullptr) to->insert(to->end(), results[0].floats->begin(), results[0].floats->end());
    return absl::OkStatus();
  };
  const eager::Observer observer(observe);
  ASSERT_TRUE(RunGraph(*graph, source->model.weights, texts, 0, 1, &observer).ok());
  const auto stored = source->model.weights->Find("lm_head.weight");
  ASSERT_TRUE(stored.ok()) << stored.status();
  const int64_t n = stored->shape[0], k = stored->shape[1];
  std::vector<float> w(static_cast<const float*>(stored->data),
                       static_cast<const float*>(stored->data) + n * k);
  for (int64_t r = 0; r < n; ++r) {
    QuantiseRow(*FindQuantiseScheme("int4_g32"), &w[r * k], k, &w[r * k]);
  }
  double difference = 0, magnitude = 0;
  for (size_t row = 0; row * k < x.size(); ++row) {
    QuantiseRow(*FindQuantiseScheme("int8_g32_f32"), &x[row * k], k, &x[row * k]);
  }
  ASSERT_EQ(x.size(), texts[0].size() * k);
  for (size_t row = 0; row < texts[0].size(); ++row) {
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += double{x[row * k + i]} * w[c * k + i];
      difference += (sum - y[row * n + c]) * (sum - y[row * n + c]);
      magnitude += double{y[row * n + c]} * y[row * n + c];
    }
  }
  EXPECT_EQ(errors->back().name, "lm_head.weight");
  EXPECT_NEAR(errors->back().error, std::sqrt(difference / magnitude), 1e-6);
}

TEST_F(QualityTest, MixturesOfExpertsHaveErrorsToo) {
  const std::string path = folder_.File("experts.json");
  testing::WriteText(path, R"({
  "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 96,
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
  "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2,
  "max_position_embeddings": 128, "rms_norm_eps": 1e-05, "hidden_act": "silu",
  "tie_word_embeddings": false})");
  const plan::Quality quality = Measure({{"random_weights", path},
                                         {"random_dtype", "f32"},
                                         {"weights", "int8"},
                                         {"quality", "sampled"},
                                         {"threads", 2}});
  int experts = 0;
  for (const plan::LinearError& linear : quality.linears) {
    experts += linear.name.find("experts") != std::string::npos;
  }
  EXPECT_EQ(experts, 2);  // gate and up, down
  EXPECT_THAT(Errors(quality), Each(Gt(1e-4)));
  EXPECT_THAT(Errors(quality), Each(Lt(0.02)));
}

TEST_F(QualityTest, SampledTextsBeginWithTheFirstIdAndDependOnTheSeedAlone) {
  const auto options = ParseOptions(Options().dump(), Caller::kCompile);
  ASSERT_TRUE(options.ok());
  const auto texts = SampleTexts(*options, 20, 30, 7, {});
  ASSERT_TRUE(texts.ok()) << texts.status();
  ASSERT_EQ(texts->size(), 20u);
  size_t longest = 0;
  for (const std::vector<int32_t>& text : *texts) {
    EXPECT_EQ(text[0], texts->front()[0]);
    longest = std::max(longest, text.size());
  }
  EXPECT_EQ(longest, 30u);
  const auto again = SampleTexts(*options, 20, 30, 7, {});
  const auto others = SampleTexts(*options, 20, 30, 8, {});
  ASSERT_TRUE(again.ok() && others.ok());
  EXPECT_EQ(*again, *texts);
  EXPECT_NE(*others, *texts);
}

TEST_F(QualityTest, TextsAreCutAtTheContextAndBeginAlike) {
  const std::string path = folder_.File("text.txt");
  std::string story;
  for (int i = 0; i < 400; ++i) story += "One day a small boat went out to sea. ";
  testing::WriteText(path, story);
  const plan::Quality quality = Measure({{"model", kDemo}, {"quality", path}, {"threads", 2}});
  EXPECT_EQ(quality.origin, path);
  EXPECT_GT(quality.tokens, 2000);
}

TEST_F(QualityTest, WhatHasNoTokenizerOrTextIsRefused) {
  Json json = Options();
  json["quality"] = "bundled";
  EXPECT_EQ(CompileWith(json).status().message(),
            "--quality: expected 'sampled' for a model without a tokenizer, found 'bundled'");
  EXPECT_THAT(std::string(CompileWith({{"model", kDemo}, {"quality", "/nowhere"}, {"threads", 2}})
                              .status()
                              .message()),
              HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace ninfer::compiler
