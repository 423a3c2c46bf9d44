// See the header.
// Tested by tests/frontend_options_test.cc and tests/eager_models_test.cc.
#include "frontend/arch/rope.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "frontend/arch/common.h"

namespace ninfer::frontend {
namespace {

constexpr double kMaxFactor = 1e6;

double ReadPositive(ConfigReader& config, absl::string_view key) {
  const double value = config.Number(key);
  if (value > 0) return value;
  config.Refuse(key, "a number above 0");
  return 1.0;
}

// A number of positions.
double ReadLength(ConfigReader& config, absl::string_view key) {
  const double value = config.Number(key);
  if (value >= 1 && value <= static_cast<double>(kMaxContext)) return value;
  config.Refuse(key, absl::StrCat("a number in [1, ", kMaxContext, "]"));
  return 1.0;
}

double PositiveOr(ConfigReader& config, absl::string_view key, double fallback) {
  return config.Has(key) ? ReadPositive(config, key) : fallback;
}

// transformers warns of a factor below 1 and computes; such a one is a mistake in the file.
double ReadFactor(ConfigReader& config) {
  const double value = config.Number("factor");
  if (value >= 1 && value <= kMaxFactor) return value;
  config.Refuse("factor", "a number in [1, 1e6]");
  return 1.0;
}

// What the types are read from and made for.
struct Source {
  ConfigReader& config;
  ConfigReader& rope;  // rope_parameters or rope_scaling
  const RopeOptions& options;
  double theta;
  int64_t context;
  int64_t columns;  // that are turned
};

// A key beside rope_parameters wins over the one inside, as in transformers.
double OriginalLength(Source& s) {
  const absl::string_view key = "original_max_position_embeddings";
  if (s.options.layer_type.empty() && s.config.Has(key)) return ReadLength(s.config, key);
  if (s.options.original_length > 0) return static_cast<double>(s.options.original_length);
  return s.rope.Has(key) ? ReadLength(s.rope, key) : static_cast<double>(s.context);
}

void ScaleLinear(Source& s, Rope& out) {
  const float factor = static_cast<float>(ReadFactor(s.rope));
  for (float& f : out.inv_freq) f /= factor;
}

// Llama 3.1: short wavelengths are kept, long ones divided by the factor, the band between blended.
void ScaleLlama3(Source& s, Rope& out) {
  const double factor = ReadFactor(s.rope);
  const double low = ReadPositive(s.rope, "low_freq_factor");
  const double high = ReadPositive(s.rope, "high_freq_factor");
  const double original = OriginalLength(s);
  if (high <= low) s.rope.Refuse("high_freq_factor", "a number above low_freq_factor");
  const float longest_kept = static_cast<float>(original / high);
  const float shortest_divided = static_cast<float>(original / low);
  for (float& f : out.inv_freq) {
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

// NTK-aware scaling whose base grows with the text ("dynamic").
void ScaleDynamic(Source& s, Rope& out) {
  out.growth = ReadFactor(s.rope);
  out.original_length = s.context;
  if (s.columns <= 2) s.config.Refuse("head_dim", "above 2 columns that are turned");
}

double YarnMscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// Yarn (Peng et al., 2023): dimensions that turn often are kept, those that turn seldom divided by
// the factor, with a ramp between; cos and sin grow with the factor's logarithm.
void ScaleYarn(Source& s, Rope& out) {
  const double original = OriginalLength(s);
  double factor = static_cast<double>(s.context) / original;
  if (s.rope.Peek("factor") == nullptr || s.rope.Has("factor")) factor = ReadFactor(s.rope);
  const double mscale = s.rope.OptionalNumber("mscale").value_or(0);
  const double mscale_all = s.rope.OptionalNumber("mscale_all_dim").value_or(0);
  const bool both = mscale != 0 && mscale_all != 0;
  out.scale =
      both ? YarnMscale(factor, mscale) / YarnMscale(factor, mscale_all) : YarnMscale(factor, 1.0);
  out.scale = PositiveOr(s.rope, "attention_factor", out.scale);
  const auto rotations = [&s](absl::string_view key, double fallback) {
    const double value = s.rope.OptionalNumber(key).value_or(0);
    return value == 0 ? fallback : ReadPositive(s.rope, key);
  };
  const double columns = static_cast<double>(s.columns);
  const auto dimension = [&](double turns) {
    return columns * std::log(original / (turns * 2 * M_PI)) / (2 * std::log(s.theta));
  };
  double low = dimension(rotations("beta_fast", 32));
  double high = dimension(rotations("beta_slow", 1));
  if (s.rope.BoolOr("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, columns - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < out.inv_freq.size(); ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float kept = 1.0f - ramp;
    const float power = std::pow(static_cast<float>(s.theta),
                                 static_cast<float>(2 * i) / static_cast<float>(s.columns));
    const float divided = 1.0f / (static_cast<float>(factor) * power);
    out.inv_freq[i] = divided * (1.0f - kept) + out.inv_freq[i] * kept;
  }
}

std::vector<float> DividedBy(Source& s, absl::string_view key) {
  const std::vector<double> factors = s.rope.Numbers(key);
  if (static_cast<int64_t>(factors.size()) != s.columns / 2) {
    s.rope.Refuse(key, absl::StrCat("a list of ", s.columns / 2, " numbers"));
    return {};
  }
  std::vector<float> inv_freq;
  for (size_t i = 0; i < factors.size(); ++i) {
    const float power = std::pow(static_cast<float>(s.theta),
                                 static_cast<float>(2 * i) / static_cast<float>(s.columns));
    inv_freq.push_back(1.0f / (static_cast<float>(factors[i]) * power));
  }
  return inv_freq;
}

// LongRoPE (Ding et al., 2024): a divisor for each frequency, one list for short texts and one for
// texts beyond the original length.
void ScaleLongRope(Source& s, Rope& out) {
  const double original = OriginalLength(s);
  const double factor = PositiveOr(s.rope, "factor", static_cast<double>(s.context) / original);
  out.scale = factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
  out.scale = PositiveOr(s.rope, "attention_factor", out.scale);
  out.original_length = static_cast<int64_t>(original);
  out.inv_freq = DividedBy(s, "short_factor");
  out.long_inv_freq = DividedBy(s, "long_factor");
}

constexpr struct {
  absl::string_view name;
  void (*scale)(Source& s, Rope& out);
} kTypes[] = {
    {"default", [](Source&, Rope&) {}}, {"linear", ScaleLinear},
    {"dynamic", ScaleDynamic},          {"yarn", ScaleYarn},
    {"longrope", ScaleLongRope},        {"llama3", ScaleLlama3},
};

bool AreFinite(const std::vector<float>& frequencies) {
  return std::all_of(frequencies.begin(), frequencies.end(),
                     [](float f) { return std::isfinite(f); });
}

void Scale(Source& s, Rope& out) {
  const bool own = s.rope.Has("rope_type") || !s.rope.Has("type");
  const absl::string_view key = own ? "rope_type" : "type";
  std::string type = s.rope.StringOr(key, "default");
  if (s.options.scaled_is_longrope && (type == "su" || type == "yarn")) type = "longrope";
  for (const auto& row : kTypes) {
    if (row.name != type) continue;
    row.scale(s, out);
    // Numbers that are each in order may still divide by zero together.
    if (!AreFinite(out.inv_freq) || !AreFinite(out.long_inv_freq) || !std::isfinite(out.scale)) {
      s.rope.Refuse(key, "a type that gives finite frequencies with the numbers beside it");
    }
    return;
  }
  s.rope.Refuse(key, "\"default\", \"linear\", \"dynamic\", \"yarn\", \"longrope\" or \"llama3\"");
}

// Where both spellings stand, transformers takes the older one.
ConfigReader* FindParameters(ConfigReader& config, const RopeOptions& options) {
  ConfigReader* parameters = config.Object("rope_parameters");
  if (parameters != nullptr && !options.layer_type.empty()) {
    parameters = parameters->Object(options.layer_type);
  } else if (parameters != nullptr && parameters->Has("full_attention")) {
    config.Refuse("rope_parameters", "the same parameters for every layer");
  }
  if (!options.reads_rope_scaling) return parameters;
  ConfigReader* scaling = config.Object("rope_scaling");
  // To transformers an empty one is none.
  const bool some = scaling != nullptr && !config.Peek("rope_scaling")->empty();
  return some || parameters == nullptr ? scaling : parameters;
}

// The columns of a head that are turned.
int64_t ReadColumns(ConfigReader& config, ConfigReader* rope, int64_t head_dim,
                    const RopeOptions& options) {
  const absl::string_view inner_key = "partial_rotary_factor";
  const bool inner = rope != nullptr && rope->Has(inner_key);
  ConfigReader& source = inner ? *rope : config;
  const absl::string_view key = inner ? inner_key : options.partial_key;
  double share = options.partial == 0 ? 1.0 : options.partial;
  if (options.partial != 0) share = config.NumberOr(options.partial_key, share);
  if (inner) {
    // Files that transformers 5 has written may name it in both places; the inner one counts.
    if (options.partial != 0) config.OptionalNumber(inner_key);
    share = source.Number(key);
  }
  if (options.partial == 0 && share != 1.0) source.Refuse(key, "1");
  const int64_t columns =
      share > 0 && share <= 1 ? static_cast<int64_t>(static_cast<double>(head_dim) * share) : 0;
  if (columns >= 2 && columns % 2 == 0) return columns;
  source.Refuse(key, absl::StrCat("a share of ", head_dim, " columns that is even"));
  return head_dim;
}

// Options that another family's attention takes from here.
void RefuseUnread(ConfigReader& rope) {
  for (const absl::string_view key : {"mrope_section", "llama_4_scaling_beta"}) {
    if (rope.Has(key) && !rope.WasRead(key)) rope.Refuse(key, "no such option");
  }
}

}  // namespace

std::vector<float> PlainFrequencies(double theta, int64_t columns) {
  std::vector<float> inv_freq;
  for (int64_t i = 0; i < columns; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(columns);
    inv_freq.push_back(1.0f / std::pow(static_cast<float>(theta), exponent));
  }
  return inv_freq;
}

Rope ReadRope(ConfigReader& config, int64_t head_dim, int64_t context, const RopeOptions& options) {
  Rope out;
  out.style = options.style;
  ConfigReader* rope = FindParameters(config, options);
  const bool inner_theta = rope != nullptr && rope->Has("rope_theta");
  ConfigReader& theta_source = inner_theta ? *rope : config;
  const absl::string_view theta_key = inner_theta ? "rope_theta" : options.theta_key;
  const double theta = PositiveOr(theta_source, theta_key, options.theta);
  const int64_t columns = ReadColumns(config, rope, head_dim, options);
  out.inv_freq = PlainFrequencies(theta, columns);
  if (!AreFinite(out.inv_freq)) {
    theta_source.Refuse(theta_key, "a base with finite frequencies");
    return out;
  }
  if (rope == nullptr) return out;
  Source source{config, *rope, options, theta, context, columns};
  Scale(source, out);
  if (options.reads_query_beta) {
    out.query_beta = rope->NumberOr("llama_4_scaling_beta", 0);
    out.original_length = static_cast<int64_t>(OriginalLength(source));
  }
  RefuseUnread(*rope);
  return out;
}

int64_t ContextOf(const Rope& rope, int64_t positions) {
  if (rope.growth <= 1) return positions;
  const double longest = static_cast<double>(positions) * rope.growth;
  return static_cast<int64_t>(std::min(longest, static_cast<double>(kMaxContext)));
}

}  // namespace ninfer::frontend
