// Language models of models that see as LLaVA does (Liu et al., 2023), by a tower, a projector and
// the rows that it gives: Gemma 3 from 4B on, and Mistral 3 (Mistral Small 3.1 and 3.2, Ministral
// 3). What stands in text_config is imported; tower and projector are left aside. Agrees with
// transformers' modeling_gemma3.py and modeling_mistral3.py on text; defaults are Gemma3Config's
// and Mistral3Config's. Tested by tests/eager_models_test.cc and tests/frontend_folders_test.cc.
#include "frontend/arch/llava.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ninfer::frontend {
namespace {

struct TextModel {
  absl::string_view model_type;
  Decoder (*read)(ModelBuilder& m);
};

// What Mistral3Config has where there is no text_config.
constexpr absl::string_view kMistral3Text = R"({"head_dim": 128, "hidden_size": 5120,
    "intermediate_size": 32768, "max_position_embeddings": 131072, "num_attention_heads": 32,
    "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
    "rope_theta": 1e9, "sliding_window": null, "vocab_size": 131072})";

// `known` are the models that text_config may be of, first the one that names none.
absl::Status BuildText(ModelBuilder& m, absl::Span<const TextModel> known,
                       absl::string_view default_text) {
  ConfigReader& config = m.config();
  // The head is tied as the whole says, whatever text_config does.
  const bool tied = config.BoolOr("tie_word_embeddings", true);
  ConfigReader* text = config.ObjectOr("text_config", default_text);
  if (!config.ok()) return config.status();
  const std::string type = text->StringOr("model_type", known[0].model_type);
  m.UseConfig(text);
  m.LeaveOutPictures();
  for (const TextModel& model : known) {
    if (model.model_type != type) continue;
    Decoder d = model.read(m);
    d.tied = tied;
    d.logits_softcap = 0;  // transformers' class of the whole caps no logits
    // Names as transformers 4 had them, or as transformers 5 has them in memory.
    const bool older = m.HasWhole("language_model.model.norm.weight");
    d.prefix = older ? "language_model.model." : "model.language_model.";
    d.head = older ? "language_model.lm_head" : "lm_head";
    return BuildDecoder(m, d);
  }
  const auto quoted = [](std::string* out, const TextModel& model) {
    absl::StrAppend(out, "\"", model.model_type, "\"");
  };
  text->Refuse("model_type", absl::StrJoin(known, " or ", quoted));
  return config.status();
}

}  // namespace

absl::Status BuildGemma3Text(ModelBuilder& m) {
  return BuildText(m, {{"gemma3_text", ReadGemma3}}, "{}");
}

absl::Status BuildMistral3Text(ModelBuilder& m) {
  return BuildText(m, {{"mistral", ReadMistral}, {"ministral3", ReadMinistral3}}, kMistral3Text);
}

}  // namespace ninfer::frontend
