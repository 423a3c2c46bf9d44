// See the header.
// Tested by tests/frontend_test.cc.
#include "frontend/generation.h"

#include <memory>

#include "base/file.h"
#include "base/has_file.h"
#include "base/status.h"
#include "frontend/json.h"

namespace ninfer::frontend {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 24;

std::vector<int32_t> InVocabulary(const std::vector<int64_t>& ids, const ModelInfo& info) {
  std::vector<int32_t> kept;
  for (int64_t id : ids) {
    if (id >= 0 && id < info.vocab_size) kept.push_back(static_cast<int32_t>(id));
  }
  return kept;
}

// An absent key, and one that is null where `null_clears` is false, leaves what is known.
void ReadId(ConfigReader& config, absl::string_view key, bool null_clears, const ModelInfo& info,
            absl::optional<int32_t>& id) {
  const auto ids = config.Ids(key);
  if (!ids.has_value() || (ids->empty() && !null_clears)) return;
  const std::vector<int32_t> kept = InVocabulary(*ids, info);
  id = kept.empty() ? absl::nullopt : absl::optional<int32_t>(kept[0]);
}

void ReadIds(ConfigReader& config, bool null_clears, ModelInfo& info) {
  ReadId(config, "bos_token_id", null_clears, info, info.bos_id);
  ReadId(config, "pad_token_id", null_clears, info, info.pad_id);
  const auto eos = config.Ids("eos_token_id");
  if (!eos.has_value() || (eos->empty() && !null_clears)) return;
  info.eos_ids = InVocabulary(*eos, info);
}

// A number of `least` to `most`, the bounds that sampling has (runtime/sampling/samplers.def):
// refused here, where the file and the key are known.
absl::optional<double> NumberIn(ConfigReader& config, absl::string_view key, double least,
                                double most) {
  const absl::optional<double> value = config.OptionalNumber(key);
  if (value.has_value() && !(*value >= least && *value <= most)) {
    config.Refuse(key, absl::StrCat(least, " to ", most));
  }
  return value;
}

// What generate() would do and nothing here does, save where the value asks for nothing.
std::vector<std::string> NotDone(const ConfigReader& config) {
  static constexpr struct {
    absl::string_view key;
    int neutral;  // of numbers
  } kKeys[] = {
      {"num_beams", 1},
      {"no_repeat_ngram_size", 0},
      {"min_length", 0},
      {"min_new_tokens", 0},
      {"typical_p", 1},
      {"epsilon_cutoff", 0},
      {"eta_cutoff", 0},
      {"top_h", 0},
      {"bad_words_ids", 0},
      {"sequence_bias", 0},
      {"suppress_tokens", 0},
      {"begin_suppress_tokens", 0},
      {"stop_strings", 0},
      {"forced_bos_token_id", 0},
      {"forced_eos_token_id", 0},
      {"penalty_alpha", 0},
      {"guidance_scale", 1},
      {"exponential_decay_length_penalty", 0},
      {"diversity_penalty", 0},
      {"watermarking_config", 0},
      {"encoder_repetition_penalty", 1},
  };
  std::vector<std::string> found;
  for (const auto& [key, neutral] : kKeys) {
    const nlohmann::json* value = config.Peek(key);
    if (value == nullptr || value->is_null() || *value == false || value->empty()) continue;
    if (*value == neutral) continue;
    found.push_back(absl::StrCat(key, " = ", DescribeValue(*value)));
  }
  return found;
}

void DropOutside(ModelInfo& info) {
  info.eos_ids = InVocabulary(std::vector<int64_t>(info.eos_ids.begin(), info.eos_ids.end()), info);
  if (info.bos_id.has_value() && *info.bos_id >= info.vocab_size) info.bos_id.reset();
}

}  // namespace

void ReadConfigIds(ConfigReader& config, ModelInfo& info) {
  DropOutside(info);
  ReadIds(config, /*null_clears=*/true, info);
}

absl::Status ReadGenerationConfig(const std::string& folder, ModelInfo& info) {
  const std::string path = JoinPath(folder, "generation_config.json");
  NINFER_ASSIGN_OR_RETURN(const bool there, HasFile(path));
  if (!there) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  NINFER_ASSIGN_OR_RETURN(const std::unique_ptr<ConfigReader> config,
                          ConfigReader::Parse(path, text));
  ReadIds(*config, /*null_clears=*/false, info);
  for (int64_t id : config->Ids("eos_token_id").value_or(std::vector<int64_t>())) {
    if (id < 0) config->Refuse("eos_token_id", "ids of 0 and above");
  }
  info.do_sample = config->OptionalBool("do_sample");
  info.temperature = NumberIn(*config, "temperature", 0, 1e9);
  info.top_p = NumberIn(*config, "top_p", 0, 1);
  info.top_k = config->OptionalInt("top_k", 0, INT32_MAX);
  info.min_p = NumberIn(*config, "min_p", 0, 1);
  info.repetition_penalty = NumberIn(*config, "repetition_penalty", 1e-3, 1e3);
  info.max_new_tokens = config->OptionalInt("max_new_tokens", 1, INT32_MAX);
  info.not_generated_with = NotDone(*config);
  info.default_prompt = config->StringOr("default_prompt", "");
  return config->status();
}

}  // namespace ninfer::frontend
