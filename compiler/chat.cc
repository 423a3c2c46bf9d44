// The chat templates of a model folder, into a plan's metadata.
// Tested by tests/chat_test.py.
#include "base/status.h"
#include "compiler/compile.h"
#include "text/chat_template.h"

namespace ninfer::compiler {

absl::Status ReadChat(const Source& source, const Callbacks& callbacks, plan::Plan* plan) {
  if (source.folder.empty()) return absl::OkStatus();
  NINFER_ASSIGN_OR_RETURN(ChatTemplateSource chat, ReadChatTemplates(source.folder));
  for (const auto& [name, text] : chat.templates) {
    // Only chats need it: the model is as good for texts.
    const absl::Status parsed = ChatTemplate::Parse(text, {}).status();
    if (!parsed.ok()) {
      callbacks.Log(absl::StrCat(source.folder, ": the template \"", name,
                                 "\" cannot be used: ", parsed.message()));
    }
  }
  for (auto& named : chat.templates) {
    if (named.first == "default") {
      plan->metadata.chat_template = std::move(named.second);
    } else {
      plan->metadata.more_chat_templates.push_back(std::move(named));
    }
  }
  plan->metadata.special_tokens = std::move(chat.special_tokens);
  return absl::OkStatus();
}

}  // namespace ninfer::compiler
