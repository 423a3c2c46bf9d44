// The chat templates and special tokens of a model folder, from the files that transformers reads.
// Tested by tests/text_chat_template_test.cc.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/has_file.h"
#include "base/status.h"
#include "text/chat_template.h"
#include "text/json_fields.h"
#include "text/tokenizer_class.h"

namespace ninfer {
namespace {

constexpr uint64_t kTemplateLimit = uint64_t{1} << 22;
constexpr uint64_t kConfigLimit = uint64_t{1} << 28;
constexpr char kDefault[] = "default";

using Pairs = std::vector<std::pair<std::string, std::string>>;

bool Has(const Pairs& pairs, absl::string_view name) {
  return std::any_of(pairs.begin(), pairs.end(),
                     [&](const auto& pair) { return pair.first == name; });
}

// additional_chat_templates/NAME.jinja, in order of names.
absl::Status ReadAdditional(const std::string& folder, Pairs* templates) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(JoinPath(folder, "additional_chat_templates"), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() == ".jinja") names.push_back(entry->path().string());
  }
  std::sort(names.begin(), names.end());
  for (const std::string& path : names) {
    NINFER_ASSIGN_OR_RETURN(std::string text, ReadFile(path, kTemplateLimit));
    templates->emplace_back(std::filesystem::path(path).stem().string(), std::move(text));
  }
  return absl::OkStatus();
}

// The member chat_template: a text, or a list of named ones.
absl::Status ReadMember(const Json& config, const std::string& path, Pairs* templates) {
  const Json* member = Field(config, "chat_template");
  const std::string where = absl::StrCat(path, ": chat_template");
  if (member == nullptr) return absl::OkStatus();
  if (member->is_string()) {
    templates->emplace_back(kDefault, member->get<std::string>());
    return absl::OkStatus();
  }
  if (!member->is_array()) return WrongType(where, "a string or a list of named templates", member);
  for (const Json& item : *member) {
    if (!item.is_object()) return WrongType(where, "named templates", &item);
    NINFER_ASSIGN_OR_RETURN(std::string name, StringField(item, "name", where));
    NINFER_ASSIGN_OR_RETURN(std::string text, StringField(item, "template", where));
    templates->emplace_back(std::move(name), std::move(text));
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> ReadConfig(const std::string& path) {
  NINFER_ASSIGN_OR_RETURN(const bool there, HasFile(path));
  if (!there) return Json::object();
  NINFER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigLimit));
  return ParseJsonObject(text, path);
}

// "bos_token" and its like, written as a text or as a token with flags.
void AddTokens(const Json& config, Pairs* tokens) {
  const auto add = [&](const std::string& name, const Json& value) {
    const Json* content = value.is_object() ? Field(value, "content") : &value;
    if (content != nullptr && content->is_string() && !Has(*tokens, name)) {
      tokens->emplace_back(name, content->get<std::string>());
    }
  };
  for (const auto& [name, value] : config.items()) {
    if (absl::EndsWith(name, "_token")) add(name, value);
  }
  for (const char* key : {"extra_special_tokens", "model_specific_special_tokens"}) {
    const Json* named = Field(config, key);
    if (named == nullptr || !named->is_object()) continue;
    for (const auto& [name, value] : named->items()) add(name, value);
  }
}

}  // namespace

absl::StatusOr<std::string> ChatTemplateSource::Choose(absl::string_view name,
                                                       bool has_tools) const {
  if (templates.empty()) {
    return InvalidArgument("expected a model with a chat template, found one without");
  }
  const bool for_tools = has_tools && Has(templates, "tool_use");
  const absl::string_view wanted = !name.empty() ? name : for_tools ? "tool_use" : kDefault;
  std::vector<std::string> names;
  for (const auto& [each, text] : templates) {
    if (each == wanted) return text;
    names.push_back(each);
  }
  std::string list;
  for (const std::string& each : names) absl::StrAppend(&list, list.empty() ? "" : ", ", each);
  return InvalidArgument("chat template: expected one of ", list, ", found ", wanted);
}

absl::StatusOr<ChatTemplateSource> ReadChatTemplates(const std::string& folder) {
  ChatTemplateSource source;
  const std::string config_path = JoinPath(folder, "tokenizer_config.json");
  NINFER_ASSIGN_OR_RETURN(const Json config, ReadConfig(config_path));
  AddTokens(config, &source.special_tokens);
  NINFER_ASSIGN_OR_RETURN(const Json map, ReadConfig(JoinPath(folder, "special_tokens_map.json")));
  AddTokens(map, &source.special_tokens);
  for (auto& [name, token] : DefaultTokens(config)) {
    if (!Has(source.special_tokens, name) && !map.contains(name)) {
      source.special_tokens.emplace_back(name, std::move(token));
    }
  }
  const std::string own = JoinPath(folder, "chat_template.jinja");
  const std::string json = JoinPath(folder, "chat_template.json");
  NINFER_ASSIGN_OR_RETURN(const bool has_own, HasFile(own));
  NINFER_ASSIGN_OR_RETURN(const bool has_json, HasFile(json));
  if (has_own) {
    NINFER_ASSIGN_OR_RETURN(std::string text, ReadFile(own, kTemplateLimit));
    source.templates.emplace_back(kDefault, std::move(text));
  } else if (has_json) {
    NINFER_ASSIGN_OR_RETURN(const Json object, ReadConfig(json));
    NINFER_RETURN_IF_ERROR(ReadMember(object, json, &source.templates));
  }
  NINFER_RETURN_IF_ERROR(ReadAdditional(folder, &source.templates));
  if (source.templates.empty()) {
    NINFER_RETURN_IF_ERROR(ReadMember(config, config_path, &source.templates));
  }
  return source;
}

}  // namespace ninfer
