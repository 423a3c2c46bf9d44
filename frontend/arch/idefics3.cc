// Idefics3, SmolVLM and SmolVLM2 (Laurençon et al., 2024; Marafioti et al., 2025): a SigLIP tower
// (Zhai et al., 2023), whose patches of a square are put side by side (pixel shuffle) and projected
// to rows of Llama's embedding. Agrees with transformers' modeling_smolvlm.py; defaults are
// SmolVLMConfig's and SmolVLMVisionConfig's.
//
// A patch is cut out before it comes here, so the convolution is a linear over its pixels. Which
// patches stand in a picture, and where, are arguments: patches that are padding come last, where
// no row looks at them. Tested by tests/frontend_vision_test.cc and tests/eager_vision_test.cc.
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "frontend/arch/decoder.h"

namespace ninfer::frontend {
namespace {

using ir::Dim;
using ir::Value;

struct Tower {
  int64_t hidden = 1, layers = 1;
  MlpShape mlp;
  AttentionShape attention;
  double eps = 1e-6;
};

// A size on both sides: a number, or two that are equal.
int64_t ReadSide(ConfigReader& config, absl::string_view key, int64_t fallback) {
  const nlohmann::json* value = config.Peek(key);
  if (value == nullptr || !value->is_array()) return config.IntOr(key, fallback, 1, 1 << 14);
  const std::vector<int64_t> sides = config.Ints(key, 1, 1 << 14);
  if (sides.size() == 2 && sides[0] == sides[1]) return sides[0];
  config.Refuse(key, "a number, or two that are equal");
  return fallback;
}

Tower ReadTower(ModelBuilder& v, VisionInfo& vision) {
  ConfigReader& config = v.config();
  Tower tower;
  tower.hidden = config.IntOr("hidden_size", 1152, 1, kMaxSize);
  tower.layers = config.IntOr("num_hidden_layers", 12, 1, kMaxLayers);
  tower.mlp.hidden = tower.hidden;
  tower.mlp.intermediate = config.IntOr("intermediate_size", 3072, 1, kMaxSize);
  tower.mlp.activation = v.ReadActivation("hidden_act", "gelu_pytorch_tanh");
  tower.mlp.bias = true;
  tower.eps = v.ReadEpsilon("layer_norm_eps", 1e-6);
  AttentionShape& attention = tower.attention;
  attention.heads = attention.kv_heads = config.IntOr("num_attention_heads", 16, 1, kMaxSize);
  if (tower.hidden % attention.heads != 0) {
    config.Refuse("num_attention_heads", absl::StrCat("a divisor of hidden_size, ", tower.hidden));
  }
  attention.head_dim = tower.hidden / attention.heads;
  attention.scale = 1 / std::sqrt(static_cast<double>(attention.head_dim));
  vision.channels = config.IntOr("num_channels", 3, 3, 3);
  vision.patch_size = ReadSide(config, "patch_size", 32);
  vision.grid = ReadSide(config, "image_size", 224) / vision.patch_size;
  if (vision.grid < 1 || vision.grid % vision.scale_factor != 0) {
    config.Refuse("image_size", absl::StrCat("a multiple of patch_size times scale_factor, ",
                                             vision.patch_size * vision.scale_factor));
  }
  return tower;
}

// x [T, hidden] of patches: their pixels' projection and their positions.
Value* Embed(ModelBuilder& v, const ModelBuilder::VisionArguments& arguments, const Tower& tower,
             const VisionInfo& vision) {
  const int64_t side = vision.patch_size, pixels = vision.channels * side * side;
  v.Scope("embeddings.patch_embedding");
  Value* weight =
      v.Weight("embeddings.patch_embedding.weight", {tower.hidden, vision.channels, side, side});
  weight = v.ops().Reshape(weight, {Dim::Static(tower.hidden), Dim::Static(pixels)});
  Value* bias = v.AsF32(v.Weight("embeddings.patch_embedding.bias", {tower.hidden}));
  Value* x = v.ops().Add(v.ops().Linear(arguments.pixels, weight), bias);
  v.Scope("embeddings.position_embedding");
  Value* table =
      v.Weight("embeddings.position_embedding.weight", {vision.grid * vision.grid, tower.hidden});
  return v.NameHidden(v.ops().Add(x, v.ops().Embedding(arguments.patch_ids, table)), 0);
}

Value* Layer(ModelBuilder& v, Value* x, const Tower& tower, int64_t layer) {
  const std::string name = absl::StrCat("encoder.layers.", layer);
  const std::string attention = absl::StrCat(name, ".self_attn");
  const int64_t hidden = tower.hidden;
  Value* h = v.LayerNorm(x, absl::StrCat(name, ".layer_norm1"), hidden, tower.eps);
  Value* q = v.Linear(h, absl::StrCat(attention, ".q_proj"), hidden, hidden, true);
  Value* k = v.Linear(h, absl::StrCat(attention, ".k_proj"), hidden, hidden, true);
  Value* values = v.Linear(h, absl::StrCat(attention, ".v_proj"), hidden, hidden, true);
  v.Scope(attention);
  h = v.Attention(q, k, values, tower.attention, nullptr, layer);  // [T, hidden]
  x = v.ops().Add(x, v.Linear(h, absl::StrCat(attention, ".out_proj"), hidden, hidden, true));
  h = v.LayerNorm(x, absl::StrCat(name, ".layer_norm2"), hidden, tower.eps);
  h = PlainMlp(v, h, absl::StrCat(name, ".mlp"), "fc1", "fc2", tower.mlp);
  return v.NameHidden(v.ops().Add(x, h), layer + 1);
}

absl::Status BuildVision(ModelBuilder& v, VisionInfo& vision) {
  const Tower tower = ReadTower(v, vision);
  if (!v.ok()) return v.status();
  const auto arguments = v.BeginVision(vision);
  v.UsePrefix("model.vision_model.");
  Value* x = Embed(v, arguments, tower, vision);
  for (int64_t layer = 0; layer < tower.layers && v.ok(); ++layer) x = Layer(v, x, tower, layer);
  x = v.LayerNorm(x, "post_layernorm", tower.hidden, tower.eps);
  x->set_name("vision_hidden");
  v.UsePrefix("model.connector.");
  v.Scope("pixel_shuffle");
  const int64_t joined = vision.scale_factor * vision.scale_factor * tower.hidden;
  Value* shuffled = v.ops().GatherRows(x, arguments.shuffle);  // [R, scale * scale, hidden]
  const Dim rows = shuffled->type().rank() > 0 ? shuffled->type().shape[0] : Dim::Static(1);
  shuffled = v.ops().Reshape(shuffled, {rows, Dim::Static(joined)});
  v.FinishVision(v.Linear(shuffled, "modality_projection.proj", joined, vision.columns, false));
  return v.status();
}

}  // namespace

absl::Status BuildIdefics3(ModelBuilder& m) {
  ConfigReader& config = m.config();
  VisionInfo& vision = m.vision_info();
  ConfigReader* text = config.Object("text_config");
  ConfigReader* seen = config.Object("vision_config");
  if (text == nullptr) config.Refuse("text_config", "an object");
  if (seen == nullptr) config.Refuse("vision_config", "an object");
  if (!config.ok()) return config.status();
  vision.scale_factor = config.IntOr("scale_factor", 2, 1, 64);
  const int64_t token = config.IntOr("image_token_id", 128257, 0, INT32_MAX);
  vision.image_token_id = static_cast<int32_t>(token);
  const bool tied = config.BoolOr("tie_word_embeddings", false);
  if (text->StringOr("model_type", "llama") != "llama") {
    text->Refuse("model_type", "\"llama\"");
  }
  m.UseConfig(text);
  Decoder d = ReadDecoder(m, {.vocab = 32000,
                              .hidden = 4096,
                              .intermediate = 11008,
                              .layers = 32,
                              .heads = 32,
                              .context = 2048});
  d.qkv_bias = d.output_bias = text->BoolOr("attention_bias", false);
  d.mlp.bias = text->BoolOr("mlp_bias", false);
  d.tied = tied;
  d.prefix = "model.text_model.";
  d.pictures = true;
  if (token >= d.vocab) config.Refuse("image_token_id", absl::StrCat("an id below ", d.vocab));
  m.SetDefaultIds(1, 2);
  vision.columns = d.hidden;
  const std::unique_ptr<ModelBuilder> v = m.AddVision(seen);
  const absl::Status built = BuildVision(*v, vision);
  if (!built.ok()) return built;
  return BuildDecoder(m, d);
}

}  // namespace ninfer::frontend
