// Options of config.json: what each changes in the graph, and what is refused by key and value.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "frontend/frontend.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "tests/support/model_folder.h"

namespace ninfer::frontend {
namespace {

using ::ninfer::testing::TinyGpt2;
using ::ninfer::testing::TinyLlama;
using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

absl::StatusOr<ImportedModel> Import(const json& config) {
  return ImportRandomModel("test", config.dump(), DType::kF32, 1, {});
}

std::string ErrorOf(const json& config) {
  const auto model = Import(config);
  if (!model.ok()) return std::string(model.status().message());
  const absl::Status verified = ir::Verify(model->module);
  EXPECT_TRUE(verified.ok()) << verified;
  return "no error";
}

json Llama(const json& changes = json::object()) {
  json config = TinyLlama().config;
  config.update(changes);
  return config;
}

json Gpt2(const json& changes = json::object()) {
  json config = TinyGpt2().config;
  config.update(changes);
  return config;
}

json Qwen2(const json& changes = json::object()) {
  json config = Llama({{"architectures", {"Qwen2ForCausalLM"}}, {"model_type", "qwen2"}});
  config.erase("attention_bias");
  config.erase("mlp_bias");
  config.update(changes);
  return config;
}

int CountOps(const json& config, ir::Op op) {
  const auto model = Import(config);
  EXPECT_TRUE(model.ok()) << model.status();
  int count = 0;
  if (!model.ok()) return -1;
  for (const auto& node : model->module.FindFunction("step")->nodes()) count += node->op() == op;
  return count;
}

// The constants by which scores are multiplied, layer by layer.
std::vector<double> Scales(const json& config) {
  const auto model = Import(config);
  EXPECT_TRUE(model.ok()) << model.status();
  std::vector<double> scales;
  if (!model.ok()) return scales;
  for (const auto& node : model->module.FindFunction("step")->nodes()) {
    if (node->op() == ir::Op::kConstant) scales.push_back(node->attr_float("value"));
  }
  return scales;
}

std::vector<float> Frequencies(const json& changes) {
  const auto model = Import(Llama(changes));
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  return model->module.WeightOf(model->module.FindWeight("rope.inv_freq")).literal;
}

// --- which family

TEST(Architecture, IsChosenByArchitecturesOrByModelType) {
  json config = Llama();
  config.erase("model_type");
  EXPECT_EQ(ErrorOf(config), "no error");
  config = Llama();
  config.erase("architectures");
  EXPECT_EQ(ErrorOf(config), "no error");
  for (const json& names : {json(nullptr), json({"LlamaModel"}), json({"LLaMAForCausalLM"})}) {
    config["architectures"] = names;
    EXPECT_EQ(ErrorOf(config), "no error") << names;
  }
}

TEST(Architecture, AnUnknownOneIsRefusedByKeyAndValue) {
  const std::string all = absl::StrJoin(ListArchitectures(), ", ");
  EXPECT_EQ(
      ErrorOf(Llama({{"architectures", {"MambaForCausalLM"}}})),
      "config.json: architectures: expected one of " + all + ", found [\"MambaForCausalLM\"]");
  const json classifier = Llama({{"architectures", {"LlamaForSequenceClassification"}}});
  EXPECT_EQ(ErrorOf(classifier), "config.json: architectures: expected one of " + all +
                                     ", found [\"LlamaForSequenceClassification\"]");
  EXPECT_EQ(ErrorOf({{"model_type", "mamba"}}),
            "config.json: model_type: expected one of " + all + ", found \"mamba\"");
  EXPECT_EQ(ErrorOf(json::object()),
            "config.json: architectures: expected one of " + all + ", found nothing");
  EXPECT_EQ(ErrorOf({{"architectures", "LlamaForCausalLM"}}),
            "config.json: architectures: expected a list of strings, found a string");
}

TEST(Architecture, ArchitecturesAndModelTypeMustAgree) {
  EXPECT_EQ(ErrorOf(Llama({{"model_type", "mistral"}})),
            "config.json: model_type: expected \"llama\" with architecture LlamaForCausalLM, found "
            "\"mistral\"");
}

TEST(Architecture, AllAreListed) {
  EXPECT_THAT(ListArchitectures(),
              IsSupersetOf({"GPT2LMHeadModel", "LlamaForCausalLM", "Qwen3MoeForCausalLM"}));
}

// --- sizes

TEST(Sizes, DefaultToThoseOfTheConfigurationClass) {
  json config = Llama();
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "num_key_value_heads", "head_dim"}) {
    config.erase(key);
  }
  const auto model = Import(config);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->info.vocab_size, 32000);
  EXPECT_EQ(model->info.parameters, 6738415616);  // Llama 2 7B
}

TEST(Sizes, OutsideTheirRangeAreRefused) {
  EXPECT_EQ(ErrorOf(Llama({{"num_hidden_layers", 0}})),
            "config.json: num_hidden_layers: expected an integer in [1, 1024], found 0");
  EXPECT_EQ(ErrorOf(Llama({{"num_hidden_layers", 1000000000}})),
            "config.json: num_hidden_layers: expected an integer in [1, 1024], found 1000000000");
  EXPECT_EQ(ErrorOf(Llama({{"hidden_size", "24"}})),
            "config.json: hidden_size: expected an integer, found a string");
  EXPECT_EQ(ErrorOf(Llama({{"vocab_size", -3}})),
            "config.json: vocab_size: expected an integer in [1, 2147483647], found -3");
}

TEST(Sizes, HeadsMustDivideWhatTheySplit) {
  EXPECT_EQ(
      ErrorOf(Llama({{"num_key_value_heads", 3}})),
      "config.json: num_key_value_heads: expected a divisor of num_attention_heads, 4, found 3");
  EXPECT_EQ(ErrorOf(Llama({{"num_attention_heads", 5}, {"num_key_value_heads", 5}})),
            "config.json: num_attention_heads: expected a divisor of hidden_size, 24, found 5");
  EXPECT_EQ(ErrorOf(Llama({{"head_dim", 7}})),
            "config.json: head_dim: expected an even size of each head, found 7");
  EXPECT_EQ(ErrorOf(Gpt2({{"n_head", 5}})),
            "config.json: n_head: expected a divisor of n_embd, 24, found 5");
}

TEST(Sizes, Gpt2TakesTheGeneralNamesToo) {
  json config = Gpt2();
  for (const auto& [own, general] : {std::pair{"n_embd", "hidden_size"},
                                     {"n_layer", "num_hidden_layers"},
                                     {"n_head", "num_attention_heads"},
                                     {"n_positions", "max_position_embeddings"}}) {
    config[general] = config[own];
    config.erase(own);
  }
  EXPECT_EQ(ErrorOf(config), "no error");
}

// --- activations, norms, attention

TEST(Activation, EachNameIsItsFunction) {
  EXPECT_EQ(CountOps(Llama(), ir::Op::kSilu), 2);
  EXPECT_EQ(CountOps(Llama({{"hidden_act", "gelu"}}), ir::Op::kGelu), 2);
  EXPECT_EQ(CountOps(Llama({{"hidden_act", "gelu_pytorch_tanh"}}), ir::Op::kGeluTanh), 2);
  EXPECT_EQ(CountOps(Llama({{"hidden_act", "relu"}}), ir::Op::kRelu), 2);
  EXPECT_EQ(CountOps(Llama({{"hidden_act", "quick_gelu"}}), ir::Op::kSigmoid), 2);
  EXPECT_EQ(CountOps(Gpt2(), ir::Op::kGeluTanh), 2);
  EXPECT_EQ(CountOps(Gpt2({{"activation_function", "gelu"}}), ir::Op::kGelu), 2);
}

TEST(Activation, AnUnknownOneIsRefusedByKeyAndValue) {
  EXPECT_EQ(
      ErrorOf(Llama({{"hidden_act", "mish"}})),
      "config.json: hidden_act: expected one of gelu, gelu_python, gelu_new, gelu_pytorch_tanh, "
      "gelu_fast, gelu_python_tanh, gelu_accurate, quick_gelu, relu, relu2, sigmoid, silu, swish, "
      "tanh, found "
      "\"mish\"");
  EXPECT_EQ(ErrorOf(Gpt2({{"activation_function", nullptr}})),
            "config.json: activation_function: expected a string, found null");
}

TEST(Norm, TheEpsilonIsRead) {
  const auto model = Import(Llama({{"rms_norm_eps", 1e-3}}));
  ASSERT_TRUE(model.ok());
  for (const auto& node : model->module.FindFunction("step")->nodes()) {
    if (node->op() != ir::Op::kRmsNorm) continue;
    EXPECT_EQ(node->attr_float("eps"), 1e-3);
  }
  EXPECT_EQ(ErrorOf(Llama({{"rms_norm_eps", -1}})),
            "config.json: rms_norm_eps: expected a number in [0, 1], found -1");
}

TEST(Attention, ScoresAreScaledAsTheConfigurationSays) {
  const double d = 1.0 / std::sqrt(6.0);
  EXPECT_THAT(Scales(Llama()), ElementsAre(d, d));
  EXPECT_THAT(Scales(Gpt2()), ElementsAre(d, d));
  EXPECT_THAT(Scales(Gpt2({{"scale_attn_weights", false}})), ElementsAre());
  EXPECT_THAT(Scales(Gpt2({{"scale_attn_by_inverse_layer_idx", true}})), ElementsAre(d, d / 2));
}

// --- rotary embedding

TEST(Rope, FrequenciesAreThoseOfThePaper) {
  const std::vector<float> f = Frequencies({{"head_dim", 6}});
  ASSERT_EQ(f.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_FLOAT_EQ(f[i], std::pow(10000.0, -i / 3.0));
}

TEST(Rope, ThetaIsReadInEitherSpelling) {
  const std::vector<float> expected = Frequencies({{"rope_theta", 500000.0}});
  EXPECT_FLOAT_EQ(expected[1], std::pow(500000.0, -1 / 3.0));
  EXPECT_EQ(Frequencies({{"rope_theta", 1.0},
                         {"rope_parameters", {{"rope_theta", 500000}, {"rope_type", "default"}}}}),
            expected);
  json none = Llama();
  none.erase("rope_theta");
  const auto model = Import(none);
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->module.WeightOf(model->module.FindWeight("rope.inv_freq")).literal,
            Frequencies(json::object()));
}

TEST(Rope, LinearDividesFrequencies) {
  const std::vector<float> plain = Frequencies(json::object());
  for (const char* key : {"type", "rope_type"}) {
    const std::vector<float> scaled =
        Frequencies({{"rope_scaling", {{key, "linear"}, {"factor", 4.0}}}});
    ASSERT_EQ(scaled.size(), plain.size());
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(scaled[i], plain[i] / 4.0f);
  }
}

TEST(Rope, Llama3KeepsShortWavelengthsDividesLongOnesAndBlendsBetween) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 64}};
  const std::vector<float> plain = Frequencies({{"head_dim", 16}});
  const std::vector<float> scaled = Frequencies({{"head_dim", 16}, {"rope_scaling", scaling}});
  ASSERT_EQ(scaled.size(), 8u);
  bool blended = false;
  for (int i = 0; i < 8; ++i) {
    const double wavelength = 2 * M_PI / plain[i];
    if (wavelength < 16) {
      EXPECT_EQ(scaled[i], plain[i]);
    } else if (wavelength > 64) {
      EXPECT_EQ(scaled[i], plain[i] / 8.0f);
    } else {
      const double smooth = (64 / wavelength - 1) / 3;
      EXPECT_FLOAT_EQ(scaled[i], (1 - smooth) * plain[i] / 8 + smooth * plain[i]);
      blended = true;
    }
  }
  EXPECT_TRUE(blended);
}

TEST(Rope, OtherTypesAreRefusedByName) {
  const auto error = [](const json& scaling) {
    return ErrorOf(Llama({{"rope_scaling", scaling}}));
  };
  for (absl::string_view type : {"su", "mrope", "proportional"}) {
    EXPECT_EQ(error({{"type", std::string(type)}, {"factor", 2.0}}),
              absl::StrCat("config.json: rope_scaling.type: expected \"default\", \"linear\", "
                           "\"dynamic\", \"yarn\", \"longrope\" or \"llama3\", found \"",
                           type, "\""));
  }
  EXPECT_EQ(error({{"rope_type", "default"}, {"mrope_section", {1, 2}}}),
            "config.json: rope_scaling.mrope_section: expected no such option, found [1,2]");
  EXPECT_EQ(error({{"rope_type", "yarn"}, {"factor", 4.0}, {"llama_4_scaling_beta", 0.1}}),
            "config.json: rope_scaling.llama_4_scaling_beta: expected no such option, found 0.1");
  EXPECT_EQ(error({{"rope_type", "longrope"}, {"short_factor", {1.0}}}),
            "config.json: rope_scaling.short_factor: expected a list of 3 numbers, found [1.0]");
  EXPECT_EQ(error({{"rope_type", "linear"}}),
            "config.json: rope_scaling.factor: expected a number, found nothing");
  EXPECT_EQ(error({{"rope_type", "linear"}, {"factor", 0}}),
            "config.json: rope_scaling.factor: expected a number in [1, 1e6], found 0");
  EXPECT_EQ(
      error({{"rope_type", "llama3"},
             {"factor", 8.0},
             {"low_freq_factor", 4.0},
             {"high_freq_factor", 1.0},
             {"original_max_position_embeddings", 64}}),
      "config.json: rope_scaling.high_freq_factor: expected a number above low_freq_factor, found "
      "1.0");
  EXPECT_EQ(error({{"rope_type", "longrope"},
                   {"short_factor", {1.0, 0.0, 1.0}},
                   {"long_factor", {1.0, 1.0, 1.0}},
                   {"factor", 2.0}}),
            "config.json: rope_scaling.rope_type: expected a type that gives finite frequencies "
            "with the numbers beside it, found \"longrope\"");
  EXPECT_EQ(
      error({{"rope_type", "yarn"}, {"factor", 2.0}, {"original_max_position_embeddings", 1e300}}),
      "config.json: rope_scaling.original_max_position_embeddings: expected a number in "
      "[1, 16777216], found 1e+300");
  EXPECT_EQ(ErrorOf(Llama({{"rope_theta", 1},
                           {"rope_scaling",
                            {{"rope_type", "yarn"},
                             {"factor", 2.0},
                             {"original_max_position_embeddings", 1024}}}})),
            "config.json: rope_scaling.rope_type: expected a type that gives finite frequencies "
            "with the numbers beside it, found \"yarn\"");
  EXPECT_EQ(ErrorOf(Llama({{"rope_theta", 0}})),
            "config.json: rope_theta: expected a number above 0, found 0");
  EXPECT_EQ(ErrorOf(Llama({{"rope_theta", 1e-300}})),
            "config.json: rope_theta: expected a base with finite frequencies, found 1e-300");
  EXPECT_EQ(ErrorOf(Llama({{"rope_parameters", {{"partial_rotary_factor", 0.5}}}})),
            "config.json: rope_parameters.partial_rotary_factor: expected 1, found 0.5");
}

std::string TextOf(const json& config) {
  const auto model = Import(config);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? ir::Print(model->module) : "";
}

json Phi3(const json& changes) {
  json config = Llama({{"architectures", {"Phi3ForCausalLM"}}, {"model_type", "phi3"}});
  for (const char* key : {"attention_bias", "mlp_bias", "head_dim", "rope_theta"}) {
    config.erase(key);
  }
  config.update({{"hidden_size", 64}, {"num_attention_heads", 4}, {"num_key_value_heads", 4}});
  config.update(changes);
  return config;
}

TEST(Rope, TheShareOfAHeadIsReadWhereverItStandsAndTheInnerOneCounts) {
  const json inner = {
      {"rope_type", "default"}, {"rope_theta", 1e4}, {"partial_rotary_factor", 0.5}};
  const std::string expected = TextOf(Phi3({{"partial_rotary_factor", 0.5}}));
  EXPECT_NE(expected, TextOf(Phi3(json::object())));
  EXPECT_EQ(TextOf(Phi3({{"rope_parameters", inner}})), expected);
  EXPECT_EQ(TextOf(Phi3({{"rope_parameters", inner}, {"partial_rotary_factor", 0.75}})), expected);
  const json neox = {{"architectures", {"GPTNeoXForCausalLM"}},
                     {"model_type", "gpt_neox"},
                     {"vocab_size", 32},
                     {"hidden_size", 80},
                     {"intermediate_size", 64},
                     {"num_hidden_layers", 1},
                     {"num_attention_heads", 4},
                     {"max_position_embeddings", 64},
                     {"rotary_pct", 0.25}};
  EXPECT_EQ(ErrorOf(neox),
            "config.json: rotary_pct: expected a share of 20 columns that is even, found 0.25");
}

TEST(Rope, AnEmptyScalingIsNone) {
  const json linear = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 1e4}};
  EXPECT_EQ(Frequencies({{"rope_parameters", linear}, {"rope_scaling", json::object()}}),
            Frequencies({{"rope_parameters", linear}}));
  EXPECT_EQ(Frequencies({{"rope_scaling", json::object()}}), Frequencies(json::object()));
}

// --- options that we do not do

TEST(Options, OfOtherFamiliesAreRefusedByKeyAndValue) {
  const auto error = [](const std::string& key, const json& value) {
    return ErrorOf(Llama({{key, value}}));
  };
  const std::string no = ": expected no such option for LlamaForCausalLM, found ";
  EXPECT_EQ(error("sliding_window", 4096), "config.json: sliding_window" + no + "4096");
  EXPECT_EQ(error("attn_logit_softcapping", 50.0),
            "config.json: attn_logit_softcapping" + no + "50.0");
  EXPECT_EQ(error("partial_rotary_factor", 0.5), "config.json: partial_rotary_factor" + no + "0.5");
  EXPECT_EQ(error("num_local_experts", 8), "config.json: num_local_experts" + no + "8");
  EXPECT_EQ(error("quantization_config", {{"bits", 4}}),
            "config.json: quantization_config" + no + "{\"bits\":4}");
  EXPECT_EQ(error("layer_types", {"full_attention", "sliding_attention"}),
            "config.json: layer_types: expected \"full_attention\" in every layer, found "
            "[\"full_attention\",\"sliding_attention\"]");
  EXPECT_EQ(
      ErrorOf(Gpt2({{"add_cross_attention", true}})),
      "config.json: add_cross_attention: expected no such option for GPT2LMHeadModel, found true");
}

TEST(Options, TheWholeOfGemma3CapsNoLogits) {
  json config = {{"architectures", {"Gemma3ForConditionalGeneration"}}, {"model_type", "gemma3"}};
  config["text_config"] = {
      {"model_type", "gemma3_text"}, {"vocab_size", 32},       {"hidden_size", 16},
      {"intermediate_size", 32},     {"num_hidden_layers", 1}, {"num_attention_heads", 2},
      {"num_key_value_heads", 1},    {"head_dim", 8},          {"max_position_embeddings", 64}};
  const std::string without = TextOf(config);
  config["text_config"]["final_logit_softcapping"] = 30.0;
  EXPECT_EQ(TextOf(config), without);
}

TEST(Options, ThatAskForNothingAreTaken) {
  EXPECT_EQ(ErrorOf(Llama({{"sliding_window", nullptr},
                           {"use_sliding_window", false},
                           {"logit_scale", 1.0},
                           {"quantization_config", nullptr},
                           {"layer_types", {"full_attention", "full_attention"}},
                           {"pruned_heads", json::object()},
                           {"is_llama_config", true},
                           {"rope_interleaved", false},
                           {"transformers.js_config", {{"x", 1}}}})),
            "no error");
}

TEST(Options, Qwen2HasBiasesOnQKAndVAndItsOwnDefaultOfKvHeads) {
  const auto model = Import(Qwen2({{"use_sliding_window", false}, {"sliding_window", 32768}}));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_NE(model->module.FindWeight("model.layers.0.self_attn.v_proj.bias"), nullptr);
  EXPECT_EQ(model->module.FindWeight("model.layers.0.self_attn.o_proj.bias"), nullptr);
  json config = Qwen2();
  config.erase("num_key_value_heads");  // Qwen2Config's own default
  EXPECT_EQ(ErrorOf(config),
            "config.json: num_key_value_heads: expected a divisor of num_attention_heads, 4, found "
            "nothing");
  config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(ErrorOf(config), "no error");
}

// The windows of the layers' masks; 0 for none.
std::vector<int64_t> Windows(const json& config) {
  const auto model = Import(config);
  EXPECT_TRUE(model.ok()) << model.status();
  std::vector<int64_t> windows;
  if (!model.ok()) return windows;
  for (const auto& node : model->module.FindFunction("step")->nodes()) {
    if (node->op() != ir::Op::kCausalMask) continue;
    windows.push_back(node->attr_int_or("window", 0));
  }
  return windows;
}

TEST(Windows, LayerTypesWinOverEveryRule) {
  const json on = {{"use_sliding_window", true}, {"sliding_window", 16}, {"max_window_layers", 1}};
  EXPECT_THAT(Windows(Qwen2(on)), ElementsAre(0, 16));
  json typed = on;
  typed["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_THAT(Windows(Qwen2(typed)), ElementsAre(16, 0));
  typed["use_sliding_window"] = false;
  EXPECT_EQ(ErrorOf(Qwen2(typed)),
            "config.json: use_sliding_window: expected true, as layer_types has windows, found "
            "false");
  json experts = typed;
  experts.update({{"architectures", {"Qwen2MoeForCausalLM"}}, {"model_type", "qwen2_moe"}});
  EXPECT_EQ(ErrorOf(Qwen2(experts)),
            "config.json: use_sliding_window: expected true, as layer_types has windows, found "
            "false");
  typed["layer_types"] = {"full_attention"};
  EXPECT_EQ(ErrorOf(Qwen2(typed)),
            "config.json: layer_types: expected a type for each of 2 layers, found "
            "[\"full_attention\"]");
  typed["layer_types"] = {"full_attention", "chunked_attention"};
  EXPECT_EQ(ErrorOf(Qwen2(typed)),
            "config.json: layer_types: expected \"full_attention\" or \"sliding_attention\" for "
            "each layer, found [\"full_attention\",\"chunked_attention\"]");
}

}  // namespace
}  // namespace ninfer::frontend
