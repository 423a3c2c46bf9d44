// Tested by tests/chat_test.py.
#include "runtime/chat.h"

#include "absl/strings/match.h"
#include "base/status.h"

namespace ninfer::runtime {
namespace {

constexpr char kWord[] = "ninfer";  // looked for in what a template makes

}  // namespace

absl::StatusOr<std::unique_ptr<Chat>> Chat::Create(const plan::Metadata& metadata,
                                                   const Tokenizer* tokenizer, bool has_tools,
                                                   const std::string& own_template) {
  if (tokenizer == nullptr) {
    return InvalidArgument("chat: expected a model with a tokenizer, found one without");
  }
  ChatTemplateSource source;
  source.special_tokens = metadata.special_tokens;
  source.templates = metadata.more_chat_templates;
  if (!metadata.chat_template.empty()) {
    source.templates.emplace_back("default", metadata.chat_template);
  }
  std::string text = own_template;
  if (text.empty()) {
    NINFER_ASSIGN_OR_RETURN(text, source.Choose("", has_tools));
  }
  NINFER_ASSIGN_OR_RETURN(std::unique_ptr<ChatTemplate> parsed,
                          ChatTemplate::Parse(text, source.special_tokens));
  std::string first;
  for (const auto& [name, token] : metadata.special_tokens) {
    if (name == "bos_token") first = token;
  }
  return std::unique_ptr<Chat>(new Chat(std::move(parsed), tokenizer, std::move(first)));
}

std::vector<int32_t> Chat::Encode(absl::string_view text, bool begins) const {
  return tokenizer_->Encode(text, begins && !first_.empty() && !absl::StartsWith(text, first_));
}

bool Chat::WantsParts() const {
  const auto shows = [this](nlohmann::ordered_json content) {
    ChatRequest request;
    request.messages = {{{"role", "user"}, {"content", std::move(content)}}};
    const absl::StatusOr<RenderedChat> rendered = template_->Render(request);
    return rendered.ok() && absl::StrContains(rendered->text, kWord);
  };
  return !shows(kWord) && shows(PartsOf(kWord));
}

nlohmann::ordered_json PartsOf(const std::string& text) {
  return nlohmann::ordered_json::array({{{"type", "text"}, {"text", text}}});
}

absl::StatusOr<ChatPrompt> Chat::Prompt(const ChatRequest& request) const {
  NINFER_ASSIGN_OR_RETURN(RenderedChat rendered, template_->Render(request));
  ChatPrompt prompt;
  prompt.ids = Encode(rendered.text, /*begins=*/false);
  prompt.text = std::move(rendered.text);
  if (prompt.ids.empty()) return InvalidArgument("chat template: expected a text, found none");
  return prompt;
}

}  // namespace ninfer::runtime
