// Mixtures of experts through the whole compiler: what a token reads.
#include <string>

#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "tests/compiler_testing.h"

namespace ninfer::compiler {
namespace {

constexpr char kConfig[] = R"({
  "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 96,
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": CHOSEN,
  "max_position_embeddings": 128, "rms_norm_eps": 1e-05, "hidden_act": "silu",
  "tie_word_embeddings": false
})";

int64_t BytesPerToken(int chosen, const std::string& weights) {
  const std::string path =
      testing::TempDir() + "/experts-" + std::to_string(chosen) + "-" + weights + ".json";
  const std::string text = absl::StrReplaceAll(kConfig, {{"CHOSEN", std::to_string(chosen)}});
  EXPECT_TRUE(WriteFile(path, text).ok());
  const auto plan =
      CompileInPlace({{"random_weights", path}, {"weights", weights}, {"threads", 2}});
  EXPECT_TRUE(plan.ok()) << plan.status();
  if (!plan.ok()) return -1;
  const auto executor = Execute(*plan);
  EXPECT_TRUE(executor.ok()) << executor.status();
  return executor.ok() ? (*executor)->BytesPerToken(0) : -1;
}

TEST(Experts, ATokenReadsTheChosenOnesAlone) {
  // gate and up [2 * 96, 64], down [64, 96], in two layers.
  const int64_t elements = 2 * (2 * 96 * 64 + 64 * 96);
  const int64_t two = BytesPerToken(2, "bf16");
  EXPECT_EQ(BytesPerToken(8, "bf16") - two, 6 * elements * 2);
  EXPECT_EQ(BytesPerToken(3, "bf16") - two, elements * 2);
  // 34 bytes for every 32 integers, their scale included.
  EXPECT_EQ(BytesPerToken(3, "int8") - BytesPerToken(2, "int8"), elements / 32 * 34);
}

}  // namespace
}  // namespace ninfer::compiler
