// Qwen2-MoE and Qwen1.5-MoE (Yang et al., 2024), whose layers have a shared expert behind a gate,
// and Qwen3-MoE (Yang et al., 2025), whose layers have not; some layers may be dense. Agrees with
// transformers' modeling_qwen2_moe.py and modeling_qwen3_moe.py; defaults are those of their
// configuration classes. Tested by tests/eager_models_test.cc.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"
#include "frontend/arch/experts.h"

namespace ninfer::frontend {
namespace {

using ir::Value;

// True for layers whose MLP is a mixture.
std::vector<bool> ReadSparseLayers(ConfigReader& config, int64_t layers) {
  const auto dense = config.Ints("mlp_only_layers", 0, kMaxLayers);
  const int64_t step = config.IntOr("decoder_sparse_step", 1, 1, INT32_MAX);
  std::vector<bool> sparse;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const bool listed = std::find(dense.begin(), dense.end(), layer) != dense.end();
    sparse.push_back(!listed && (layer + 1) % step == 0);
  }
  return sparse;
}

// The shared expert, sigmoid(gate(x)) * mlp(x).
Value* SharedExpert(ModelBuilder& m, Value* x, const std::string& name, const MlpShape& shape) {
  Value* shared = GatedMlp(m, x, absl::StrCat(name, ".shared_expert"), shape);
  Value* gate = m.Linear(x, absl::StrCat(name, ".shared_expert_gate"), shape.hidden, 1, false);
  return m.ops().Mul(m.ops().Unary(ir::Op::kSigmoid, gate), shared);  // [T, 1] * [T, hidden]
}

// `shared` null: there is no shared expert.
void SetMixture(ModelBuilder& m, absl::string_view experts_key, int64_t default_experts,
                int64_t default_chosen, int64_t default_intermediate, const MlpShape* shared,
                Decoder& d) {
  ConfigReader& config = m.config();
  ExpertsShape shape{.hidden = d.hidden, .activation = d.mlp.activation};
  shape.intermediate = config.IntOr("moe_intermediate_size", default_intermediate, 1, kMaxSize);
  shape.normalised = config.BoolOr("norm_topk_prob", false);
  ReadExperts(config, experts_key, default_experts, default_chosen, shape);
  const bool has_shared = shared != nullptr;
  d.make_mlp = [&m, shape, has_shared, shared_shape = has_shared ? *shared : MlpShape(),
                dense = d.mlp,
                sparse = ReadSparseLayers(config, d.layers)](Value* x, int64_t layer) {
    const std::string name = absl::StrCat("layers.", layer, ".mlp");
    if (!sparse[layer]) return GatedMlp(m, x, name, dense);
    const ExpertsWeights weights = WeightsOfExperts(m, absl::StrCat(name, ".experts"), shape);
    Value* routed = Experts(m, x, name, absl::StrCat(name, ".gate"), weights, shape);
    if (!has_shared) return routed;
    return m.ops().Add(routed, SharedExpert(m, x, name, shared_shape));
  };
}

}  // namespace

absl::Status BuildQwen2Moe(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 151936,
                              .hidden = 2048,
                              .intermediate = 5632,
                              .layers = 24,
                              .heads = 16,
                              .kv_heads = 16,
                              .context = 32768});
  d.qkv_bias = config.BoolOr("qkv_bias", true);
  const bool windows = config.BoolOr("use_sliding_window", false);
  const int64_t below = config.IntOr("max_window_layers", 28, 0, INT32_MAX);
  const auto sliding = ReadSlidingLayers(
      config, d.layers, [&](int64_t layer) { return windows && layer % 2 == 0 && layer < below; });
  RefuseWindowsThatAreOff(config, windows, sliding);
  SetWindows(config, 4096, sliding, d);
  MlpShape shared = d.mlp;
  shared.intermediate = config.IntOr("shared_expert_intermediate_size", 5632, 1, kMaxSize);
  SetMixture(m, "num_experts", 60, 4, 1408, &shared, d);
  m.SetDefaultIds(absl::nullopt, absl::nullopt);
  return BuildDecoder(m, d);
}

absl::Status BuildQwen3Moe(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 151936,
                              .hidden = 2048,
                              .intermediate = 6144,
                              .layers = 24,
                              .heads = 32,
                              .kv_heads = 4,
                              .context = 32768});
  d.qkv_bias = d.output_bias = config.BoolOr("attention_bias", false);
  d.qk_norm = QkNorm::kHead;
  const bool some = config.Peek("sliding_window") == nullptr || config.Has("sliding_window");
  const bool windows = config.BoolOr("use_sliding_window", false) && some;
  SetWindows(config, 4096, std::vector<bool>(d.layers, windows), d);
  SetMixture(m, KeyOf(config, "num_experts", "num_local_experts"), 128, 8, 768, nullptr, d);
  m.SetDefaultIds(absl::nullopt, absl::nullopt);
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
