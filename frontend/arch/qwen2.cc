// Qwen2 and Qwen2.5 (Yang et al., 2024): Llama with a bias on q, k and v. Agrees with transformers'
// modeling_qwen2.py where no layer has a sliding window; one that has is refused.
// Tested by tests/frontend_test.cc.
#include "frontend/arch/llama.h"

namespace ninfer::frontend {

absl::Status BuildQwen2(ModelBuilder& m) {
  ConfigReader& config = m.config();
  if (config.BoolOr("use_sliding_window", false)) config.Refuse("use_sliding_window", "false");
  // Without use_sliding_window this is not looked at, and real configurations carry it.
  config.OptionalInt("sliding_window", 0, INT64_MAX);
  LlamaVariant variant;
  variant.qkv_bias = true;
  variant.default_context = 32768;
  variant.default_kv_heads = 32;
  m.SetDefaultIds(absl::nullopt, absl::nullopt);
  return BuildLlamaDecoder(m, variant);
}

}  // namespace ninfer::frontend
