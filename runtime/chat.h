// Conversations as prompts: a model's chat template and its tokenizer together.
// Tested by tests/chat_test.py.
#ifndef NINFER_RUNTIME_CHAT_H_
#define NINFER_RUNTIME_CHAT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/plan.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace ninfer::runtime {

struct ChatPrompt {
  std::string text;
  std::vector<int32_t> ids;  // of the text; the template writes the special tokens itself
};

// A text as a message's content in parts.
nlohmann::ordered_json PartsOf(const std::string& text);

class Chat {
 public:
  // The model's template for a request with or without tools, or `own_template` if it is given.
  // Refuses a model without a template or a tokenizer, and a template that does not parse. The
  // tokenizer must outlive the object.
  static absl::StatusOr<std::unique_ptr<Chat>> Create(const plan::Metadata& metadata,
                                                      const Tokenizer* tokenizer, bool has_tools,
                                                      const std::string& own_template = "");

  absl::StatusOr<ChatPrompt> Prompt(const ChatRequest& request) const;
  // The ids of a text that the template made. `begins` is of models with a processor, for which
  // transformers adds special tokens to a text that does not begin with the first one.
  std::vector<int32_t> Encode(absl::string_view text, bool begins) const;
  // Whether the template passes over a content that is a text, and wants a list of parts.
  bool WantsParts() const;

 private:
  Chat(std::unique_ptr<ChatTemplate> chat_template, const Tokenizer* tokenizer, std::string first)
      : template_(std::move(chat_template)), tokenizer_(tokenizer), first_(std::move(first)) {}
  std::unique_ptr<ChatTemplate> template_;
  const Tokenizer* tokenizer_;
  const std::string first_;  // bos_token, or empty
};

}  // namespace ninfer::runtime

#endif  // NINFER_RUNTIME_CHAT_H_
