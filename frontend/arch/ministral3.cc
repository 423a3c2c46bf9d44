// Ministral 3 (2025): Mistral with yarn, whose queries grow with the logarithm of the position.
// Agrees with transformers' modeling_ministral3.py; defaults are Ministral3Config's. Tested by
// tests/eager_models_test.cc.
#include "frontend/arch/llava.h"

namespace ninfer::frontend {
namespace {

constexpr RopeOptions kRope = {.reads_query_beta = true};

// What Ministral3Config has where there are no rope_parameters.
constexpr absl::string_view kDefaultRope = R"({"rope_parameters": {"type": "yarn",
    "rope_theta": 1000000.0, "factor": 16.0, "original_max_position_embeddings": 16384,
    "beta_fast": 32.0, "beta_slow": 1.0, "mscale_all_dim": 1.0, "mscale": 1.0,
    "llama_4_scaling_beta": 0.1}})";

}  // namespace

Decoder ReadMinistral3(ModelBuilder& m) {
  ConfigReader& config = m.config();
  Decoder d = ReadDecoder(m, {.vocab = 131072,
                              .hidden = 4096,
                              .intermediate = 14336,
                              .layers = 34,
                              .heads = 32,
                              .kv_heads = 8,
                              .head_dim = 128,
                              .context = 262144,
                              .eps = 1e-5,
                              .rope = kRope});
  if (config.ok() && !config.Has("rope_parameters") && !config.Has("rope_scaling")) {
    const auto defaults = ConfigReader::Parse("Ministral3Config", kDefaultRope);
    d.ropes = {ReadRope(**defaults, d.attention.head_dim, d.context, kRope)};
  }
  SetWindowOfAll(config, 0, d);
  m.SetDefaultIds(1, 2);
  return d;
}

absl::Status BuildMinistral3(ModelBuilder& m) { return BuildDecoder(m, ReadMinistral3(m)); }

}  // namespace ninfer::frontend
