// See the header.
// Tested by tests/hub_choose_test.cc.
#include "hub/choose.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace ninfer::hub {
namespace {

// What says how a model is used, where it is there.
constexpr const char* kOptional[] = {"generation_config.json",   "tokenizer_config.json",
                                     "special_tokens_map.json",  "added_tokens.json",
                                     "chat_template.jinja",      "chat_template.json",
                                     "preprocessor_config.json", "processor_config.json"};
constexpr char kTemplates[] = "additional_chat_templates";
// Tokenizers in the order in which a folder's is chosen; a second file belongs to the first.
constexpr const char* kTokenizers[][2] = {{"tokenizer.json", nullptr},
                                          {"tokenizer.model", nullptr},
                                          {"vocab.json", "merges.txt"},
                                          {"encoder.json", "vocab.bpe"},
                                          {"tekken.json", nullptr}};
constexpr char kTiktoken[] = ".tiktoken";  // a file with any name before it
constexpr char kLastTokenizer[] = "vocab.txt";
// Weights likewise: one file, or an index and what it names.
constexpr const char* kWeights[][2] = {{"model.safetensors", "model.safetensors.index.json"},
                                       {"pytorch_model.bin", "pytorch_model.bin.index.json"}};

bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

void AddTokenizer(Names& names, Choice* choice) {
  for (const auto& [first, second] : kTokenizers) {
    if (!names.Has(first) || (second != nullptr && !names.Has(second))) continue;
    choice->files.push_back(first);
    if (second != nullptr) choice->files.push_back(second);
    return;
  }
  const std::vector<std::string> tiktoken = names.Like("", kTiktoken);
  if (!tiktoken.empty()) {
    choice->files.push_back(tiktoken.front());
  } else if (names.Has(kLastTokenizer)) {
    choice->files.push_back(kLastTokenizer);
  }
}

bool AddWeights(Names& names, Choice* choice) {
  for (const auto& [single, index] : kWeights) {
    if (names.Has(single)) {
      choice->files.push_back(single);
      return true;
    }
    if (names.Has(index)) {
      choice->files.push_back(index);
      choice->index = index;
      return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<Choice> ChooseFiles(Names& names) {
  Choice choice;
  if (!names.Has("config.json")) return InvalidArgument("expected config.json, found none");
  choice.files.push_back("config.json");
  for (const char* name : kOptional) {
    if (names.Has(name)) choice.files.push_back(name);
  }
  for (const std::string& name : names.Like(kTemplates, ".jinja")) choice.files.push_back(name);
  AddTokenizer(names, &choice);
  if (!AddWeights(names, &choice)) {
    return InvalidArgument(
        "expected model.safetensors or pytorch_model.bin, or the .index.json of either, found "
        "none");
  }
  return choice;
}

std::vector<std::string> NamesLike(const std::vector<std::string>& names, absl::string_view folder,
                                   absl::string_view suffix) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    absl::string_view file = name;
    if (!folder.empty() &&
        !(absl::ConsumePrefix(&file, folder) && absl::ConsumePrefix(&file, "/"))) {
      continue;
    }
    if (absl::EndsWith(file, suffix) && IsPlainName(std::string(file))) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

absl::StatusOr<std::vector<std::string>> ShardsOf(absl::string_view file, absl::string_view text) {
  const nlohmann::json index = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object()) {
    return InvalidArgument(file, ": expected an object with weight_map, found another text");
  }
  std::set<std::string> shards;
  for (const auto& item : map->items()) {
    if (!item.value().is_string() || !IsPlainName(item.value().get<std::string>())) {
      return InvalidArgument(
          file, ": weight_map: expected names of files, found ",
          item.value().dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
    }
    shards.insert(item.value().get<std::string>());
  }
  return std::vector<std::string>(shards.begin(), shards.end());
}

}  // namespace ninfer::hub
