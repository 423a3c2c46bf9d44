// Rotary position embedding (Su et al., 2021): the frequencies as transformers computes them, in
// f32 and in its order of operations (modeling_rope_utils.py). Tested by
// tests/frontend_options_test.cc and tests/eager_models_test.cc.
#ifndef NINFER_FRONTEND_ARCH_ROPE_H_
#define NINFER_FRONTEND_ARCH_ROPE_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "frontend/config.h"

namespace ninfer::frontend {

// What a configuration asks for. Angles are position * frequency; n frequencies turn the first 2 n
// columns of a head.
struct Rope {
  std::vector<float> inv_freq;
  double scale = 1.0;                // of cos and sin (yarn, longrope)
  absl::string_view style = "half";  // see Rotary
  // Types whose frequencies depend on the length of the text, past `original_length` positions:
  // longrope takes these frequencies instead; dynamic lets the base grow, by `growth` a length.
  std::vector<float> long_inv_freq;
  double growth = 0;
  int64_t original_length = 0;
  // Queries are multiplied by 1 + beta ln(1 + floor(position / original_length)) (Ministral 3).
  double query_beta = 0;

  bool depends_on_length() const { return growth > 0 || !long_inv_freq.empty(); }
};

// Where families differ in what they read, and their defaults.
struct RopeOptions {
  double theta = 10000.0;
  absl::string_view theta_key = "rope_theta";
  absl::string_view style = "half";
  // The share of a head that is turned, where `partial_key` is absent; 0: the family turns
  // whole heads and takes no such key.
  double partial = 0;
  absl::string_view partial_key = "partial_rotary_factor";
  // Default of original_max_position_embeddings; 0: max_position_embeddings.
  int64_t original_length = 0;
  // The key under which rope_parameters are nested; empty: they are not.
  absl::string_view layer_type;
  bool reads_rope_scaling = true;
  // Phi-3 calls longrope "su" and, in its first files, "yarn".
  bool scaled_is_longrope = false;
  bool reads_query_beta = false;
};

// 1 / theta^(2i / columns), each step rounded to f32 as torch does.
std::vector<float> PlainFrequencies(double theta, int64_t columns);

// Reads rope_theta, partial_rotary_factor and rope_scaling, or transformers 5's rope_parameters.
// `context` is max_position_embeddings. Errors stand in the reader's status.
Rope ReadRope(ConfigReader& config, int64_t head_dim, int64_t context, const RopeOptions& options);

// The context of a model that was trained on so many positions: dynamic frequencies are there to go
// beyond them.
int64_t ContextOf(const Rope& rope, int64_t positions);

}  // namespace ninfer::frontend

#endif  // NINFER_FRONTEND_ARCH_ROPE_H_
