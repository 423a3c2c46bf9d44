#include "text/chat_template.h"

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "text/jinja/python_text.h"
#include "text/jinja/template.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr int kMaxDepth = 200;
constexpr absl::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";

absl::Status ToStatus(const jinja::Error& error) {
  return InvalidArgument("chat template, line ", error.line, ": ", error.type, ": ",
                         absl::StrReplaceAll(error.message, {{"\n", "\\n"}, {"\r", "\\r"}}));
}

// A message as templates see it: without members that are null, and with what a model reasoned
// under the two names that templates look for.
OrderedJson Normalize(const OrderedJson& message) {
  OrderedJson kept = OrderedJson::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) kept[key] = value;
  }
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = kept.find(name);
    if (found == kept.end()) continue;
    const OrderedJson reasoning = *found;
    OrderedJson named = OrderedJson::object();
    named["thinking"] = reasoning;
    for (const auto& [key, value] : kept.items()) named[key] = value;
    named["reasoning_content"] = reasoning;
    return named;
  }
  return kept;
}

// Marks the end of the last message's content; its text is left in `content`.
absl::Status MarkEnd(OrderedJson* message, std::string* content) {
  const auto found = message->find("content");
  OrderedJson* text = found == message->end() ? nullptr : &*found;
  if (text != nullptr && text->is_array()) {
    OrderedJson* last = nullptr;
    for (OrderedJson& part : *text) {
      if (part.is_object() && part.contains("text")) last = &part["text"];
    }
    text = last;
  }
  if (text == nullptr || !text->is_string()) {
    return InvalidArgument("messages: the last one has no text to continue");
  }
  *content = text->get<std::string>();
  *text = absl::StrCat(*content, kTag);
  return absl::OkStatus();
}

// Cuts `text` where the marked content ends.
absl::Status CutAtMark(absl::string_view content, std::string* text) {
  const absl::string_view mark = jinja::Strip(kTag, true, true);
  const size_t at = text->rfind(mark.data(), std::string::npos, mark.size());
  if (at == std::string::npos || !absl::StrContains(*text, jinja::Strip(content, true, true))) {
    return InvalidArgument(
        "chat template: the last message's content is not in its text, so that it cannot be "
        "continued");
  }
  const bool whole = text->compare(at, kTag.size(), kTag.data(), kTag.size()) == 0;
  text->resize(at);
  if (!whole) *text = std::string(jinja::Strip(*text, false, true));
  return absl::OkStatus();
}

// Values are copied and written by functions that call themselves for what is inside.
absl::Status CheckDepth(const OrderedJson& json, absl::string_view name) {
  std::vector<std::pair<const OrderedJson*, int>> open = {{&json, 0}};
  while (!open.empty()) {
    const auto [value, depth] = open.back();
    open.pop_back();
    if (!value->is_structured()) continue;
    if (depth == kMaxDepth) {
      return InvalidArgument(name, ": expected at most ", kMaxDepth,
                             " arrays and objects inside one another, found more");
    }
    for (const OrderedJson& item : *value) open.emplace_back(&item, depth + 1);
  }
  return absl::OkStatus();
}

absl::Status CheckObjects(const OrderedJson& json, absl::string_view name) {
  if (!json.is_array()) {
    return InvalidArgument(name, ": expected an array, found ", json.type_name());
  }
  for (size_t i = 0; i < json.size(); ++i) {
    if (!json[i].is_object()) {
      return InvalidArgument(name, "[", i, "]: expected an object, found ", json[i].type_name());
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRequest(const ChatRequest& request) {
  NINFER_RETURN_IF_ERROR(CheckDepth(request.messages, "messages"));
  NINFER_RETURN_IF_ERROR(CheckDepth(request.tools, "tools"));
  NINFER_RETURN_IF_ERROR(CheckDepth(request.documents, "documents"));
  NINFER_RETURN_IF_ERROR(CheckDepth(request.variables, "template variables"));
  NINFER_RETURN_IF_ERROR(CheckObjects(request.messages, "messages"));
  if (request.messages.empty()) {
    return InvalidArgument("messages: expected at least one, found none");
  }
  if (!request.tools.is_null()) NINFER_RETURN_IF_ERROR(CheckObjects(request.tools, "tools"));
  if (!request.documents.is_null()) {
    NINFER_RETURN_IF_ERROR(CheckObjects(request.documents, "documents"));
  }
  if (!request.variables.is_null() && !request.variables.is_object()) {
    return InvalidArgument("template variables: expected an object, found ",
                           request.variables.type_name());
  }
  if (request.continue_final_message && request.add_generation_prompt) {
    return InvalidArgument(
        "continue_final_message and add_generation_prompt: expected one of them, found both");
  }
  return absl::OkStatus();
}

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  return local;
}

}  // namespace

ChatTemplate::ChatTemplate() = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(
    absl::string_view text, std::vector<std::pair<std::string, std::string>> special_tokens) {
  jinja::Error error;
  std::unique_ptr<ChatTemplate> made(new ChatTemplate);
  made->template_ = jinja::Template::Parse(text, &error);
  if (made->template_ == nullptr) return ToStatus(error);
  made->text_ = std::string(text);
  made->special_tokens_ = std::move(special_tokens);
  return made;
}

absl::StatusOr<RenderedChat> ChatTemplate::Render(const ChatRequest& request) const {
  NINFER_RETURN_IF_ERROR(CheckRequest(request));
  OrderedJson variables = OrderedJson::object();
  for (const auto& [name, token] : special_tokens_) variables[name] = token;
  if (request.variables.is_object()) {
    for (const auto& [name, value] : request.variables.items()) variables[name] = value;
  }
  OrderedJson messages = OrderedJson::array();
  for (const OrderedJson& message : request.messages) messages.push_back(Normalize(message));
  std::string content;
  if (request.continue_final_message) {
    NINFER_RETURN_IF_ERROR(MarkEnd(&messages.back(), &content));
  }
  variables["messages"] = std::move(messages);
  variables["tools"] = request.tools;
  variables["documents"] = request.documents;
  variables["add_generation_prompt"] = request.add_generation_prompt;
  jinja::Rendered rendered =
      template_->Render(variables, request.now.has_value() ? *request.now : LocalTime());
  if (!rendered.error.type.empty()) return ToStatus(rendered.error);
  if (request.continue_final_message) {
    NINFER_RETURN_IF_ERROR(CutAtMark(content, &rendered.text));
  }
  return RenderedChat{std::move(rendered.text), std::move(rendered.generation)};
}

}  // namespace ninfer
