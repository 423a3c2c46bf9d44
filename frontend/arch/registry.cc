// See the header.
// Tested by tests/frontend_test.cc.
#include "frontend/arch/registry.h"

#include <string>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace ninfer::frontend {

#define ARCH(function, model_type, architecture, ignorable) absl::Status function(ModelBuilder& m);
#include "frontend/archs.def"

namespace {

// Options that change what some family of Hugging Face models computes. One that the chosen family
// does not read must be absent, null, false, empty or `neutral`.
constexpr struct {
  absl::string_view key;
  double neutral;
} kOptions[] = {
    {"add_cross_attention", 0},
    {"alibi", 0},
    {"attention_chunk_size", 0},
    {"attention_multiplier", 1},
    {"attn_logit_softcapping", 0},
    {"attn_temperature_tuning", 0},
    {"clip_qkv", 0},
    {"decoder_sparse_step", 1},
    {"embedding_multiplier", 1},
    {"final_logit_softcapping", 0},
    {"is_encoder_decoder", 0},
    {"logit_scale", 1},
    {"logits_scaling", 1},
    {"mlp_only_layers", 0},
    {"n_routed_experts", 0},
    {"new_decoder_architecture", 0},
    {"no_rope_layer_interval", 0},
    {"no_rope_layers", 0},
    {"num_experts", 0},
    {"num_local_experts", 0},
    {"parallel_attn", 0},
    {"partial_rotary_factor", 1},
    {"pruned_heads", 0},
    {"qk_layernorm", 0},
    {"qk_norm", 0},
    {"quantization_config", 0},
    {"query_pre_attn_scalar", 0},
    {"residual_multiplier", 1},
    {"rope_interleaved", 0},
    {"rope_local_base_freq", 0},
    {"rotary_dim", 0},
    {"rotary_pct", 1},
    {"sliding_window", 0},
    {"use_bidirectional_attention", 0},
    {"use_mrope", 0},
    {"use_parallel_residual", 0},
    {"use_qk_norm", 0},
    {"use_sliding_window", 0},
};

bool IsNeutral(const nlohmann::json& value, double neutral) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == neutral;
  return (value.is_array() || value.is_object()) && value.empty();
}

// Of "LlamaForCausalLM", "LlamaModel" (the same without its head, whose tensors have no prefix) and
// "LLaMAForCausalLM" (as older checkpoints spell it): "llama". Empty for what has another head.
std::string FamilyOf(absl::string_view architecture) {
  const std::string lower = absl::AsciiStrToLower(architecture);
  for (absl::string_view end :
       {"forcausallm", "lmheadmodel", "forconditionalgeneration", "model"}) {
    if (absl::EndsWith(lower, end)) return lower.substr(0, lower.size() - end.size());
  }
  return "";
}

bool NamesFamily(const std::vector<std::string>& names, const ArchRow& row) {
  const std::string family = FamilyOf(row.architecture);
  return absl::c_any_of(names, [&](const std::string& name) { return FamilyOf(name) == family; });
}

}  // namespace

absl::Span<const ArchRow> ArchRows() {
  static const std::vector<ArchRow>& rows = *new std::vector<ArchRow>{
#define ARCH(function, model_type, architecture, ignorable) \
  {function, model_type, architecture, absl::StrSplit(ignorable, ' ', absl::SkipEmpty())},
#include "frontend/archs.def"
  };
  return rows;
}

const ArchRow* ChooseArch(ConfigReader& config) {
  const std::vector<std::string> names = config.Strings("architectures");
  const std::string model_type = config.Has("model_type") ? config.StringOr("model_type", "") : "";
  if (!config.ok()) return nullptr;
  const auto name_of_row = [](std::string* out, const ArchRow& row) {
    absl::StrAppend(out, row.architecture);
  };
  for (const ArchRow& row : ArchRows()) {
    const bool typed = row.model_type == model_type;
    if (typed && (names.empty() || NamesFamily(names, row))) return &row;
    if (!absl::c_linear_search(names, row.architecture)) continue;
    if (model_type.empty()) return &row;
    config.Refuse("model_type",
                  absl::StrCat("\"", row.model_type, "\" with architecture ", row.architecture));
    return nullptr;
  }
  config.Refuse(names.empty() && !model_type.empty() ? "model_type" : "architectures",
                absl::StrCat("one of ", absl::StrJoin(ArchRows(), ", ", name_of_row)));
  return nullptr;
}

void RefuseUnreadOptions(const ArchRow& row, ConfigReader& config) {
  for (const auto& option : kOptions) {
    const nlohmann::json* value = config.Peek(option.key);
    if (value == nullptr || config.WasRead(option.key) || IsNeutral(*value, option.neutral)) {
      continue;
    }
    config.Refuse(option.key, absl::StrCat("no such option for ", row.architecture));
    return;
  }
  const nlohmann::json* layers = config.Peek("layer_types");
  if (layers == nullptr || config.WasRead("layer_types") || !layers->is_array()) return;
  for (const nlohmann::json& type : *layers) {
    if (type == "full_attention") continue;
    config.Refuse("layer_types", "\"full_attention\" in every layer");
    return;
  }
}

}  // namespace ninfer::frontend
