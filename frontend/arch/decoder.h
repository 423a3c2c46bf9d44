// The decoder that most families since Llama share: an embedding, blocks of attention and an MLP on
// a residual stream, a norm and a head. A family's file reads its own configuration into a Decoder,
// which says where it differs, and calls BuildDecoder. Names of tensors are those that Llama's
// checkpoints have. Tested by tests/frontend_options_test.cc and tests/eager_models_test.cc.
#ifndef NINFER_FRONTEND_ARCH_DECODER_H_
#define NINFER_FRONTEND_ARCH_DECODER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "frontend/arch/common.h"
#include "frontend/arch/rope.h"

namespace ninfer::frontend {

// What a family's configuration class has for keys that are absent, and how it names them.
struct DecoderDefaults {
  int64_t vocab, hidden, intermediate, layers, heads;
  int64_t kv_heads = 0;  // 0: as many as heads
  int64_t head_dim = 0;  // 0: hidden / heads
  int64_t context;       // max_position_embeddings
  double eps = 1e-6;
  bool tied = false;
  absl::string_view activation = "silu";
  absl::string_view eps_key = "rms_norm_eps";  // empty: no key, eps is fixed
  absl::string_view activation_key = "hidden_act";
  RopeOptions rope;
};

struct Norm {
  enum Kind { kRms, kLayer } kind = kRms;
  bool weight = true;     // false: no weight is stored, it is 1
  bool bias = false;      // of LayerNorm; otherwise it is 0
  bool plus_one = false;  // the weight is what is stored, plus 1
  double eps = 1e-6;
};

// A norm of q and k before they are turned: over each head, with one weight for all heads or a
// weight for each (in one tensor, or apart in NAME.norms.N); or over all heads together.
enum class QkNorm { kNone, kHead, kEachHead, kHeadsApart, kAllHeads };

struct MlpShape {
  int64_t hidden = 1, intermediate = 1;
  std::string activation;
  bool bias = false;
  bool fused = false;  // gate_up_proj in place of gate_proj and up_proj
};

struct LayerKind {
  int64_t window = 0;  // see AttentionShape
  int rope = 0;        // index into Decoder::ropes; -1: positions do not matter
};

struct Decoder {
  absl::string_view prefix = "model.";  // of all tensors but the head's
  absl::string_view head = "lm_head";
  bool pictures = false;  // rows of pictures take the place of embeddings
  int64_t vocab = 1, hidden = 1, layers = 1, context = 1;
  bool tied = false;
  AttentionShape attention;  // its window is the layer's
  MlpShape mlp;
  Norm norm;
  // A block's norms by the names of their weights; an empty one is left out.
  absl::string_view before_attention = "input_layernorm", after_attention;
  absl::string_view before_mlp = "post_attention_layernorm", after_mlp;
  bool parallel = false;  // attention and MLP side by side, on what before_attention gives

  bool qkv_bias = false, output_bias = false, head_bias = false;
  bool fused_qkv = false;  // qkv_proj in place of q_proj, k_proj and v_proj
  QkNorm qk_norm = QkNorm::kNone;
  absl::string_view q_norm = "q_norm", k_norm = "k_norm";
  absl::string_view output_name = "o_proj", final_norm = "norm";
  double clip_qkv = 0;  // q, k and v are clipped to [-clip_qkv, clip_qkv]; 0: they are not

  std::vector<Rope> ropes;
  std::vector<LayerKind> kinds;  // [layers]

  double embedding_scale = 1, residual_scale = 1, logits_scale = 1;
  double logits_softcap = 0;  // c tanh(logits / c); 0: none
  // The MLP of a layer, x [T, hidden] -> [T, hidden]; unset: GatedMlp of "layers.N.mlp".
  std::function<ir::Value*(ir::Value* x, int64_t layer)> make_mlp;
};

// Sizes, heads, norm, activation, tied head and one rope for all layers.
Decoder ReadDecoder(ModelBuilder& m, const DecoderDefaults& defaults);

// Which layers have a sliding window: as layer_types says, or else the family.
std::vector<bool> ReadSlidingLayers(ConfigReader& config, int64_t layers,
                                    absl::FunctionRef<bool(int64_t layer)> by_default);
// Gives those layers the window of sliding_window, which must then be a number.
void SetWindows(ConfigReader& config, int64_t default_window, const std::vector<bool>& sliding,
                Decoder& d);
// Gives all layers the window of sliding_window; null and, with a default of 0, absent is none.
void SetWindowOfAll(ConfigReader& config, int64_t default_window, Decoder& d);
// Refuses layer types with windows where use_sliding_window is false.
void RefuseWindowsThatAreOff(ConfigReader& config, bool windows, const std::vector<bool>& sliding);
// Qwen's rule: with use_sliding_window, layers from max_window_layers on have a window.
void SetUpperWindows(ConfigReader& config, Decoder& d);
// One rope for layers that see all and one for those with a window.
void SetRopesByLayer(ModelBuilder& m, const RopeOptions& global, const RopeOptions& local,
                     const std::vector<bool>& sliding, Decoder& d);

// A number above 0; for a soft cap, 0 where it is null.
double PositiveOr(ConfigReader& config, absl::string_view key, double fallback);
double SoftcapOr(ConfigReader& config, absl::string_view key, double fallback);

// down_proj(act(gate_proj(x)) * up_proj(x)), under `name`.
ir::Value* GatedMlp(ModelBuilder& m, ir::Value* x, absl::string_view name, const MlpShape& shape);

// second(act(first(x))), under `name`.
ir::Value* PlainMlp(ModelBuilder& m, ir::Value* x, absl::string_view name, absl::string_view first,
                    absl::string_view second, const MlpShape& shape);

// `name` of the two that the configuration has: its own, else the general one.
absl::string_view KeyOf(const ConfigReader& config, absl::string_view own,
                        absl::string_view general);

absl::Status BuildDecoder(ModelBuilder& m, const Decoder& d);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_DECODER_H_
