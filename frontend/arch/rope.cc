// See the header.
// Tested by tests/frontend_test.cc.
#include "frontend/arch/rope.h"

#include <cmath>
#include <string>

namespace ninfer::frontend {
namespace {

// 1 / theta^(2i / d), each step rounded to f32 as torch does.
std::vector<float> DefaultFrequencies(double theta, int64_t head_dim) {
  std::vector<float> inv_freq;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    inv_freq.push_back(1.0f / std::pow(static_cast<float>(theta), exponent));
  }
  return inv_freq;
}

double ReadPositive(ConfigReader& config, absl::string_view key) {
  const double value = config.Number(key);
  if (value > 0) return value;
  config.Refuse(key, "a number above 0");
  return 1.0;
}

// transformers warns of a factor below 1 and computes; such a one is a mistake in the file.
double ReadFactor(ConfigReader& config) {
  const double value = config.Number("factor");
  if (value >= 1 && value <= 1e6) return value;
  config.Refuse("factor", "a number in [1, 1e6]");
  return 1.0;
}

void ScaleLinear(ConfigReader& rope, std::vector<float>& inv_freq) {
  const float factor = static_cast<float>(ReadFactor(rope));
  for (float& f : inv_freq) f /= factor;
}

// Llama 3.1: short wavelengths are kept, long ones divided by the factor, the band between blended.
void ScaleLlama3(ConfigReader& rope, std::vector<float>& inv_freq) {
  const double factor = ReadFactor(rope);
  const double low = ReadPositive(rope, "low_freq_factor");
  const double high = ReadPositive(rope, "high_freq_factor");
  const double original = ReadPositive(rope, "original_max_position_embeddings");
  if (high <= low) rope.Refuse("high_freq_factor", "a number above low_freq_factor");
  const float longest_kept = static_cast<float>(original / high);
  const float shortest_divided = static_cast<float>(original / low);
  for (float& f : inv_freq) {
    const float wavelength = static_cast<float>(2 * M_PI) / f;
    if (wavelength > shortest_divided) {
      f /= static_cast<float>(factor);
    } else if (wavelength >= longest_kept) {
      const float smooth = (static_cast<float>(original) / wavelength - static_cast<float>(low)) /
                           static_cast<float>(high - low);
      f = (1 - smooth) * f / static_cast<float>(factor) + smooth * f;
    }
  }
}

}  // namespace

std::vector<float> ReadRopeFrequencies(ConfigReader& config, double default_theta,
                                       int64_t head_dim) {
  // Where both spellings stand, transformers takes the older one, and the inner theta.
  ConfigReader* parameters = config.Object("rope_parameters");
  ConfigReader* rope = config.Object("rope_scaling");
  if (rope == nullptr) rope = parameters;
  const bool inner_theta = rope != nullptr && rope->Has("rope_theta");
  double theta = default_theta;
  if (inner_theta) {
    theta = ReadPositive(*rope, "rope_theta");
  } else if (config.Has("rope_theta")) {
    theta = ReadPositive(config, "rope_theta");
  }
  std::vector<float> inv_freq = DefaultFrequencies(theta, head_dim);
  for (float f : inv_freq) {
    if (std::isfinite(f)) continue;
    (inner_theta ? *rope : config).Refuse("rope_theta", "a base with finite frequencies");
    return {};
  }
  if (rope == nullptr) return inv_freq;

  if (rope->NumberOr("partial_rotary_factor", 1.0) != 1.0) {
    rope->Refuse("partial_rotary_factor", "1");
  }
  const absl::string_view key = rope->Has("rope_type") || !rope->Has("type") ? "rope_type" : "type";
  const std::string type = rope->StringOr(key, "default");
  if (type == "linear") {
    ScaleLinear(*rope, inv_freq);
  } else if (type == "llama3") {
    ScaleLlama3(*rope, inv_freq);
  } else if (type != "default") {
    rope->Refuse(key, "\"default\", \"linear\" or \"llama3\"");
  }
  return inv_freq;
}

}  // namespace ninfer::frontend
