// A model's chat template: messages in, the text of the prompt out, as `apply_chat_template` of
// Hugging Face transformers gives it, string for string.
// Tested by tests/text_chat_template_test.cc.
#ifndef NINFER_TEXT_CHAT_TEMPLATE_H_
#define NINFER_TEXT_CHAT_TEMPLATE_H_

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace ninfer {

namespace jinja {
class Template;
}

// What a model folder has for chats, as it is written there.
struct ChatTemplateSource {
  // (name, text). A model with one template has one named "default".
  std::vector<std::pair<std::string, std::string>> templates;
  // ("bos_token", "<s>") and its like: variables of every template.
  std::vector<std::pair<std::string, std::string>> special_tokens;

  // transformers' choice: `name` if it is given; else, where there are tools, "tool_use" if there
  // is one; else "default".
  absl::StatusOr<std::string> Choose(absl::string_view name, bool has_tools) const;
};

// Reads chat_template.jinja, chat_template.json, additional_chat_templates/*.jinja, and
// tokenizer_config.json, whichever there are; a file of its own goes before the config's template.
absl::StatusOr<ChatTemplateSource> ReadChatTemplates(const std::string& folder);

struct ChatRequest {
  nlohmann::ordered_json messages;   // an array of objects
  nlohmann::ordered_json tools;      // an array of objects, or null
  nlohmann::ordered_json documents;  // an array of objects, or null
  nlohmann::ordered_json variables;  // an object of further variables, or null
  bool add_generation_prompt = false;
  bool continue_final_message = false;  // ends the text behind the last message's content
  absl::optional<std::tm> now;          // what strftime_now sees; the local time if it is empty
};

struct RenderedChat {
  std::string text;
  // The parts between {% generation %} and {% endgeneration %}: first byte of `text`, length.
  std::vector<std::pair<size_t, size_t>> generation;
};

// Immutable, and safe to use from several threads. A template that runs too long, nests too deep
// or writes too much is an error, as are those of the template; each names the template's line.
class ChatTemplate {
 public:
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Parse(
      absl::string_view text, std::vector<std::pair<std::string, std::string>> special_tokens);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  absl::StatusOr<RenderedChat> Render(const ChatRequest& request) const;

 private:
  ChatTemplate();
  std::string text_;
  std::unique_ptr<const jinja::Template> template_;
  std::vector<std::pair<std::string, std::string>> special_tokens_;
};

}  // namespace ninfer

#endif  // NINFER_TEXT_CHAT_TEMPLATE_H_
