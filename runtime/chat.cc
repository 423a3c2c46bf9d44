// Tested by tests/chat_test.py.
#include "runtime/chat.h"

#include "base/status.h"

namespace ninfer::runtime {

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
  return std::unique_ptr<Chat>(new Chat(std::move(parsed), tokenizer));
}

absl::StatusOr<ChatPrompt> Chat::Prompt(const ChatRequest& request) const {
  NINFER_ASSIGN_OR_RETURN(RenderedChat rendered, template_->Render(request));
  ChatPrompt prompt;
  prompt.ids = tokenizer_->Encode(rendered.text, /*add_special_tokens=*/false);
  prompt.text = std::move(rendered.text);
  if (prompt.ids.empty()) return InvalidArgument("chat template: expected a text, found none");
  return prompt;
}

}  // namespace ninfer::runtime
