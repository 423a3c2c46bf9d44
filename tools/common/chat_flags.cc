#include "tools/common/chat_flags.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/status.h"
#include "text/json_fields.h"

namespace ninfer::tools {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr int kMaxDepth = 210;  // a template's request may be 200 deep
constexpr uint64_t kFileLimit = uint64_t{64} << 20;

absl::StatusOr<OrderedJson> ParseJson(const std::string& text, const std::string& name) {
  NINFER_RETURN_IF_ERROR(CheckJsonDepth(text, name, kMaxDepth));
  OrderedJson json = OrderedJson::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument(name, ": not valid JSON");
  return json;
}

absl::StatusOr<OrderedJson> ReadJson(const std::string& path) {
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileLimit));
  return ParseJson(text, path);
}

// A file with an array of `what`.
absl::StatusOr<OrderedJson> ReadArray(const std::string& path, const char* what) {
  NINFER_ASSIGN_OR_RETURN(OrderedJson json, ReadJson(path));
  if (json.is_array()) return json;
  return InvalidArgument(path, ": expected an array of ", what, ", found ", json.type_name());
}

// An array of messages, or an object that holds one.
absl::StatusOr<OrderedJson> ReadMessages(const std::string& path) {
  NINFER_ASSIGN_OR_RETURN(OrderedJson json, ReadJson(path));
  const bool holds = json.is_object() && json.contains("messages");
  OrderedJson messages = holds ? std::move(json["messages"]) : std::move(json);
  if (!messages.is_array()) {
    return InvalidArgument(path,
                           ": expected an array of messages, or an object with the key "
                           "\"messages\" that holds one, found ",
                           holds ? "in it " : "", messages.type_name());
  }
  if (messages.empty()) {
    return InvalidArgument(path, ": expected one message at least, found none");
  }
  return messages;
}

}  // namespace

void AddChatFlags(CLI::App* app, RunFlags* flags) {
  const char* group = "For conversations";
  app->add_flag("--chat", flags->chat, "talk with the model; /help tells the commands")
      ->group(group);
  app->add_option("--system", flags->system, "with --chat: what the model is told to be")
      ->group(group);
  app->add_option("--messages", flags->messages, "answer the conversation in this JSON file")
      ->group(group);
  app->add_option("--tools", flags->tools, "a JSON file with the tools that the model may call")
      ->group(group);
  app->add_option("--documents", flags->documents, "a JSON file with documents for the template")
      ->group(group);
  app->add_option("--chat-template", flags->chat_template, "a file to use in place of the model's")
      ->group(group);
  app->add_option("--chat-template-kwargs", flags->template_kwargs,
                  "a JSON object of further variables, as {\"enable_thinking\": false}")
      ->group(group);
  app->add_flag("--show-prompt", flags->show_prompt,
                "with --messages: print the text that the template gives, and end")
      ->group(group);
}

absl::Status CheckChatFlags(const RunFlags& flags) {
  const bool prompt =
      flags.prompt.has_value() || flags.prompt_file.has_value() || flags.prompt_ids.has_value();
  if (flags.chat && !flags.messages.empty()) {
    return InvalidArgument("expected one of --chat and --messages, found both");
  }
  if (IsChat(flags) && prompt) {
    return InvalidArgument("expected a conversation or a prompt, found both");
  }
  if (flags.chat && (flags.json || !flags.logits.empty() || !flags.dump_to.empty())) {
    return InvalidArgument("--chat: expected none of --json, --logits and --dump-to, found one");
  }
  if (flags.system.has_value() && !flags.chat) {
    return InvalidArgument("--system: expected --chat, found none");
  }
  if (flags.show_prompt && flags.messages.empty()) {
    return InvalidArgument("--show-prompt: expected --messages, found none");
  }
  const bool helper = !flags.tools.empty() || !flags.documents.empty() ||
                      !flags.chat_template.empty() || !flags.template_kwargs.empty();
  if (helper && !IsChat(flags)) {
    return InvalidArgument("flags for conversations: expected --chat or --messages, found none");
  }
  return absl::OkStatus();
}

absl::StatusOr<ChatRequest> ChatRequestOf(const RunFlags& flags) {
  ChatRequest request;
  request.messages = OrderedJson::array();
  request.add_generation_prompt = true;
  if (!flags.messages.empty()) {
    NINFER_ASSIGN_OR_RETURN(request.messages, ReadMessages(flags.messages));
    if (request.messages.back().is_object()) {
      const auto role = request.messages.back().find("role");
      request.continue_final_message =
          role != request.messages.back().end() && *role == "assistant";
      request.add_generation_prompt = !request.continue_final_message;
    }
  } else if (flags.system.has_value()) {
    request.messages.push_back({{"role", "system"}, {"content", *flags.system}});
  }
  if (!flags.tools.empty()) {
    NINFER_ASSIGN_OR_RETURN(request.tools, ReadArray(flags.tools, "tools"));
  }
  if (!flags.documents.empty()) {
    NINFER_ASSIGN_OR_RETURN(request.documents, ReadArray(flags.documents, "documents"));
  }
  if (!flags.template_kwargs.empty()) {
    NINFER_ASSIGN_OR_RETURN(request.variables,
                            ParseJson(flags.template_kwargs, "--chat-template-kwargs"));
    if (!request.variables.is_object()) {
      return InvalidArgument("--chat-template-kwargs: expected an object, found ",
                             request.variables.type_name());
    }
  }
  return request;
}

absl::StatusOr<std::unique_ptr<runtime::Chat>> ChatOf(const RunFlags& flags,
                                                      const runtime::Model& model,
                                                      const ChatRequest& request) {
  std::string own;
  if (!flags.chat_template.empty()) {
    NINFER_ASSIGN_OR_RETURN(own, ReadFile(flags.chat_template, kFileLimit));
    if (own.empty())
      return InvalidArgument(flags.chat_template, ": expected a template, found none");
  }
  return runtime::Chat::Create(model.executor()->metadata(), model.tokenizer(),
                               !request.tools.is_null(), own);
}

}  // namespace ninfer::tools
