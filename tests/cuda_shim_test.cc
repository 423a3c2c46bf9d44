// The generated CUDA C++, run on the host shim, against the program's interpreter: random graphs,
// and small models of several families, prefilled and continued token by token over pages that lie
// out of order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "eager/program_interpreter.h"
#include "frontend/frontend.h"
#include "passes/pass.h"
#include "tests/program_testing.h"
#include "tests/support/shim_program.h"
#include "tests/tier.h"

namespace ninfer {
namespace {

using eager::StepArguments;
using eager::Tensor;

// The program through both, step after step.
class Pair {
 public:
  Pair(const program::Program& program, const ir::WeightSource& weights, const std::string& name)
      : program_(program::Clone(program)), packed_(program.weight_bytes + 64) {
    const absl::Status packing = eager::PackWeights(
        program_, weights, 1, [](int64_t) {}, packed_.data());
    EXPECT_TRUE(packing.ok()) << packing;
    auto interpreter = eager::ProgramInterpreter::Create(&program_, packed_.data(), 1, kPages);
    EXPECT_TRUE(interpreter.ok()) << interpreter.status();
    if (interpreter.ok()) interpreter_ = std::move(*interpreter);
    auto shim = ShimProgram::Create(&program_, weights, kPages, name);
    EXPECT_TRUE(shim.ok()) << shim.status();
    if (shim.ok()) shim_ = std::move(*shim);
  }
  static constexpr int64_t kPages = 12;

  void ExpectAgree(const StepArguments& step, double bound, const std::string& what) {
    ASSERT_TRUE(interpreter_ != nullptr && shim_ != nullptr);
    const auto expected = interpreter_->Run(step);
    ASSERT_TRUE(expected.ok()) << what << ": " << expected.status();
    const auto found = shim_->Run(step);
    ASSERT_TRUE(found.ok()) << what << ": " << found.status();
    EXPECT_LE(testing::Difference(*expected->floats, *found->floats), bound) << what;
    ExpectIdsOf(*found, shim_->Argmax(), what);
  }

  void ExpectSameBitsAgain(const StepArguments& step) {
    ASSERT_TRUE(shim_ != nullptr);
    const auto first = shim_->Run(step), again = shim_->Run(step);
    ASSERT_TRUE(first.ok() && again.ok()) << first.status() << again.status();
    EXPECT_TRUE(*again->floats == *first->floats);
  }

 private:
  // The largest of the logits beside them.
  static void ExpectIdsOf(const Tensor& logits, const Tensor& ids, const std::string& what) {
    if (ids.ints == nullptr) return;  // the pass does not apply, or is left out
    const size_t columns = logits.shape[1];
    for (int64_t row = 0; row < logits.shape[0]; ++row) {
      const auto own = absl::MakeConstSpan(*logits.floats).subspan(row * columns, columns);
      const auto largest = std::max_element(own.begin(), own.end());  // the first
      EXPECT_EQ((*ids.ints)[row], largest - own.begin()) << what << ", row " << row;
    }
  }

  program::Program program_;
  std::vector<uint8_t> packed_;
  std::unique_ptr<eager::ProgramInterpreter> interpreter_;
  std::unique_ptr<ShimProgram> shim_;
};

// --- random graphs -------------------------------------------------------------------------------

class CudaRandomPrograms : public ::testing::TestWithParam<uint64_t> {};

TEST_P(CudaRandomPrograms, AgreeWithTheInterpreter) {
  RandomGraphOptions shapes;
  shapes.moves = false;  // no kernel takes them
  RandomGraph graph = MakeRandomGraph(GetParam(), shapes);
  passes::PassOptions options = testing::RandomPassOptions(GetParam());
  const auto result = passes::RunPipeline(std::move(graph.module), options);
  if (!result.ok()) GTEST_SKIP() << "no kernel takes it: " << result.status().message();
  Pair pair(result->program, *graph.weights, absl::StrCat("random", GetParam()));
  // Over a cache of integers the interpreter rounds the weights of values, too.
  const double bound = options.weights != DType::kF32   ? 2e-2
                       : options.kv_cache == DType::kI8 ? 2e-3
                                                        : 2e-5;
  pair.ExpectAgree(testing::WholeTexts({1}, graph.vocab), bound, "one token");
  pair.ExpectAgree(testing::WholeTexts({3, 2}, graph.vocab), bound, "few tokens");
  pair.ExpectAgree(testing::WholeTexts({17, 1, 40}, graph.vocab), bound, "many tokens");
}

std::vector<uint64_t> Seeds() {
  if (!FullTier()) return {4, 7};
  std::vector<uint64_t> seeds(40);
  std::iota(seeds.begin(), seeds.end(), 0);
  return seeds;
}
INSTANTIATE_TEST_SUITE_P(Seeds, CudaRandomPrograms, ::testing::ValuesIn(Seeds()));

// --- models --------------------------------------------------------------------------------------

// Two texts of 71 and 9 tokens, then a token of each, then two of the second alone.
std::vector<StepArguments> Steps(int64_t vocab) {
  const std::vector<int32_t> tables[2] = {{7, 2}, {0, 9}};
  const auto step = [&](const std::vector<std::pair<int, std::pair<int, int>>>& pieces) {
    StepArguments arguments;
    arguments.seq_bounds = {0};
    for (const auto& [text, range] : pieces) {
      for (int i = range.first; i < range.second; ++i) {
        arguments.tokens.push_back(static_cast<int32_t>((i * 7 + 31 * text + 3) % vocab));
        arguments.positions.push_back(i);
        arguments.rope_len.push_back(range.second);
      }
      arguments.seq_bounds.push_back(static_cast<int32_t>(arguments.tokens.size()));
      arguments.cached_lens.push_back(range.first);
      arguments.rows.push_back(static_cast<int32_t>(arguments.tokens.size()) - 1);
      arguments.page_table.insert(arguments.page_table.end(), tables[text].begin(),
                                  tables[text].end());
    }
    return arguments;
  };
  return {step({{0, {0, 71}}, {1, {0, 9}}}), step({{0, {71, 72}}, {1, {9, 10}}}),
          step({{1, {10, 12}}}), step({{0, {72, 73}}})};
}

constexpr char kLlama[] = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 211,
  "hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 2, "num_attention_heads": 6,
  "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-05,
  "tie_word_embeddings": true
})";
constexpr char kGpt2[] = R"({
  "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 211, "n_positions": 256,
  "n_embd": 60, "n_layer": 2, "n_head": 3, "activation_function": "gelu_new",
  "layer_norm_epsilon": 1e-05, "tie_word_embeddings": true
})";
// Experts, and norms of single heads.
constexpr char kQwen3Moe[] = R"({
  "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 211,
  "hidden_size": 96, "intermediate_size": 128, "moe_intermediate_size": 40, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 8,
  "num_experts_per_tok": 3, "max_position_embeddings": 128, "norm_topk_prob": true
})";
// A window, scores that are capped, norms behind the layers.
constexpr char kGemma2[] = R"({
  "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "vocab_size": 211,
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "head_dim": 24, "max_position_embeddings": 256, "sliding_window": 20,
  "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0, "query_pre_attn_scalar": 24
})";
// Biases by distance, one KV head for each query head.
constexpr char kBloom[] = R"({
  "architectures": ["BloomForCausalLM"], "model_type": "bloom", "vocab_size": 211, "hidden_size": 64,
  "n_layer": 2, "n_head": 4, "layer_norm_epsilon": 1e-05
})";
// Eleven query heads that share one KV head: more than a block takes.
constexpr char kBigCode[] = R"({
  "architectures": ["GPTBigCodeForCausalLM"], "model_type": "gpt_bigcode", "vocab_size": 211,
  "n_positions": 256, "n_embd": 88, "n_layer": 2, "n_head": 11, "multi_query": true,
  "activation_function": "gelu_pytorch_tanh", "layer_norm_epsilon": 1e-05
})";

struct ModelCase {
  const char* name;
  const char* config;
  DType weights, activations;
  bool cached = true;
  const char* scheme = "";  // of linears' weights, by --weights' name
  bool int8_inputs = true;
  const char* attention = "flash";
  bool int8_cache = false;
  const char* input_scheme = "";
};

class CudaModels : public ::testing::TestWithParam<ModelCase> {};

TEST_P(CudaModels, AgreeWithTheInterpreterStepByStep) {
  const ModelCase& c = GetParam();
  const auto model = frontend::ImportRandomModel(c.name, c.config, DType::kF32, 1, {});
  ASSERT_TRUE(model.ok()) << model.status();
  passes::PassOptions options;
  options.weights = c.weights;
  options.activations = options.kv_cache = c.activations;
  ASSERT_TRUE(*c.scheme == 0 || options.SetWeights(c.scheme));
  if (!c.int8_inputs) options.input_scheme.clear();
  options.context_length = 128;
  options.max_tokens = 128;
  options.attention = c.attention;
  if (c.int8_cache) options.kv_cache = DType::kI8;
  if (*c.input_scheme != 0) options.input_scheme = c.input_scheme;
  if (!c.cached) options.disabled.insert("kv-cache");
  const auto result = passes::RunPipeline(model->module.Clone(), options);
  ASSERT_TRUE(result.ok()) << result.status();
  Pair pair(result->program, *model->weights, c.name);
  const double bound = c.activations == DType::kBF16 ? 2e-2 : c.int8_cache ? 2e-3 : 2e-5;
  const std::vector<StepArguments> steps = Steps(211);
  for (size_t i = 0; i < (c.cached ? steps.size() : 1); ++i) {
    pair.ExpectAgree(steps[i], bound, absl::StrCat("step ", i));
  }
  pair.ExpectSameBitsAgain(steps[c.cached ? 1 : 0]);
}

// Every family, every type of weights, cache and inputs, and every form of attention once or more;
// the full tier has each by itself, too.
std::vector<ModelCase> Models() {
  constexpr DType f16 = DType::kF16, f32 = DType::kF32, bf16 = DType::kBF16;
  std::vector<ModelCase> cases = {
      {"llama_bf16", kLlama, bf16, bf16},
      {"llama_f16_without_cache", kLlama, f16, f32, false},
      {"gpt2", kGpt2, f32, f32},
      {"gpt2_int4a_naive", kGpt2, f32, f32, true, "int4a:128", true, "naive"},
      {"qwen3_moe", kQwen3Moe, bf16, f32},
      {"qwen3_moe_int4_int8_cache", kQwen3Moe, f32, f32, true, "int4", false, "flash", true},
      {"gemma2_naive", kGemma2, f32, f32, true, "", true, "naive"},
      {"gemma2_nu4_efficient", kGemma2, f32, bf16, true, "nu4", true, "efficient"},
      {"bloom_int8", kBloom, f32, f32, true, "int8"},
      {"bigcode_efficient", kBigCode, bf16, f32, false, "", true, "efficient"},
      {"llama_int8_rows", kLlama, f32, f32, true, "int8:channel", true, "flash", false,
       "int8_row_f32"},
      {"llama_int8_channel", kLlama, f32, bf16, true, "int8:channel", false, "naive", true}};
  if (!FullTier()) return cases;
  const std::vector<ModelCase> more = {
      {"llama_f32", kLlama, f32, f32},
      {"gemma2", kGemma2, f32, f32},
      {"bloom", kBloom, f32, f32},
      {"bigcode", kBigCode, bf16, f32},
      {"llama_int8", kLlama, f32, f32, true, "int8"},
      {"qwen3_moe_int4", kQwen3Moe, f32, f32, true, "int4"},
      {"gpt2_int4a", kGpt2, f32, f32, true, "int4a:128", false},
      {"gemma2_nu4", kGemma2, f32, bf16, true, "nu4"},
      {"bloom_naive", kBloom, f32, bf16, false, "", true, "naive"},
      {"gemma2_efficient", kGemma2, f32, bf16, true, "", true, "efficient"},
      {"qwen3_moe_int8_cache", kQwen3Moe, f32, f32, true, "", true, "flash", true},
      {"gemma2_int8_cache", kGemma2, f32, f32, true, "", true, "efficient", true},
      {"gpt2_int8_cache", kGpt2, bf16, f32, false, "", true, "naive", true}};
  cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Families, CudaModels, ::testing::ValuesIn(Models()),
                         [](const ::testing::TestParamInfo<ModelCase>& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace ninfer
