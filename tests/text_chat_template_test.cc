// Chat templates against what transformers, or Jinja's language cases, give.
#include <ctime>
#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "tests/test_data.h"
#include "text/chat_template.h"
#include "text/jinja/python_text.h"
#include "text/jinja/template.h"

namespace ninfer {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson ReadJson(const std::string& path) {
  const auto text = ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return OrderedJson::parse(*text);
}

std::tm Time(const std::string& iso) {
  std::tm time = {};
  EXPECT_NE(strptime(iso.c_str(), "%Y-%m-%dT%H:%M:%S", &time), nullptr);
  return time;
}

std::vector<std::pair<std::string, std::string>> Tokens(const OrderedJson& json) {
  std::vector<std::pair<std::string, std::string>> tokens;
  for (const auto& [name, token] : json.items()) tokens.emplace_back(name, token);
  return tokens;
}

// The request of a case: the arguments of apply_chat_template, and variables for the rest.
ChatRequest Request(const OrderedJson& test, const std::string& now) {
  ChatRequest request;
  request.messages = test["messages"];
  request.variables = OrderedJson::object();
  request.now = Time(now);
  for (const auto& [name, value] : test["options"].items()) {
    if (name == "tools") {
      request.tools = value;
    } else if (name == "documents") {
      request.documents = value;
    } else if (name == "add_generation_prompt") {
      request.add_generation_prompt = value;
    } else if (name == "continue_final_message") {
      request.continue_final_message = value;
    } else if (name != "generation_spans") {
      request.variables[name] = value;
    }
  }
  return request;
}

void ExpectError(const OrderedJson& wanted, const absl::Status& status) {
  ASSERT_FALSE(status.ok()) << "expected the error " << wanted["message"];
  static const std::set<std::string> kExact = {"TemplateError",          "SecurityError",
                                               "UndefinedError",         "TemplateSyntaxError",
                                               "TemplateAssertionError", "TemplateRuntimeError"};
  const std::string type = wanted["type"];
  if (kExact.count(type) == 0) return;
  const std::string message =
      absl::StrReplaceAll(wanted["message"].get<std::string>(), {{"\n", "\\n"}});
  EXPECT_TRUE(absl::EndsWith(status.message(), absl::StrCat(": ", type, ": ", message)))
      << status << "\nexpected " << type << ": " << message;
  if (wanted.contains("line")) {
    EXPECT_TRUE(
        absl::StrContains(status.message(), absl::StrCat("line ", wanted["line"].get<int>(), ":")))
        << status;
  }
}

void CheckCases(const std::string& folder) {
  const OrderedJson golden = ReadJson(JoinPath(folder, "cases.json"));
  for (const OrderedJson& test : golden["cases"]) {
    SCOPED_TRACE(test["name"]);
    std::string text;
    if (test.contains("template")) {
      text = test["template"];
    } else {
      const auto file = ReadFile(JoinPath(folder, test["template_file"].get<std::string>()));
      ASSERT_TRUE(file.ok()) << file.status();
      text = *file;
    }
    const auto parsed = ChatTemplate::Parse(text, Tokens(golden["special_tokens"]));
    if (!parsed.ok()) {
      EXPECT_TRUE(test.contains("error")) << parsed.status();
      if (test.contains("error")) ExpectError(test["error"], parsed.status());
      continue;
    }
    const auto rendered = (*parsed)->Render(Request(test, golden["now"]));
    if (test.contains("error")) {
      ExpectError(test["error"], rendered.status());
      continue;
    }
    EXPECT_TRUE(rendered.ok()) << rendered.status();
    if (!rendered.ok()) continue;
    EXPECT_EQ(rendered->text, test["text"].get<std::string>());
    if (!test.contains("generation")) continue;
    OrderedJson spans = OrderedJson::array();
    const absl::string_view all = rendered->text;
    for (const auto& [start, length] : rendered->generation) {
      const size_t begin = jinja::CharCount(all.substr(0, start));
      spans.push_back({begin, begin + jinja::CharCount(all.substr(start, length))});
    }
    EXPECT_EQ(spans, test["generation"]);
  }
}

TEST(ChatTemplateGoldens, TextsErrorsAndSpansOfTheSecondSetAreThoseOfTransformers) {
  // Those of the test data where there are any, so that what is added there is tested.
  const std::string given = TestDataPath("goldens/chat-templates-2");
  CheckCases(PathExists(given) ? given : NINFER_SOURCE_DIR "/tests/data/chat-templates");
}

// The first set was made for JavaScript, which prints `true` where Python prints `True`. Where the
// two differ, transformers' own result counts: tests/chat_language_cases.py wrote it down.
OrderedJson Differences() {
  return ReadJson(NINFER_SOURCE_DIR "/tests/data/chat_differences.json");
}

std::string Fnv1a(absl::string_view text) {
  uint64_t value = 0xCBF29CE484222325;
  for (const char c : text) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return absl::StrCat(absl::Hex(value, absl::kZeroPad16));
}

void ExpectOutcome(const OrderedJson& differences, const std::string& name,
                   const std::string& wanted, const jinja::Rendered& rendered) {
  if (!differences.contains(name)) {
    EXPECT_EQ(rendered.error.message, "") << rendered.error.type;
    EXPECT_EQ(rendered.text, wanted);
    return;
  }
  const OrderedJson& row = differences[name];
  if (row.contains("error")) {
    EXPECT_EQ(rendered.error.type, row["error"].get<std::string>());
  } else if (row.contains("text")) {
    EXPECT_EQ(rendered.text, row["text"].get<std::string>());
  } else {
    EXPECT_EQ(Fnv1a(rendered.text), row["fnv1a"].get<std::string>()) << rendered.text;
  }
}

TEST(ChatTemplateGoldens, TemplatesOfReleasedModelsGiveTheirTexts) {
  NINFER_TEST_DATA_OR_SKIP(path, "goldens/chat-templates/real-templates.json");
  const OrderedJson differences = Differences();
  for (const OrderedJson& test : ReadJson(path)) {
    SCOPED_TRACE(test["name"]);
    jinja::Error error;
    const auto parsed = jinja::Template::Parse(test["chat_template"].get<std::string>(), &error);
    ASSERT_NE(parsed, nullptr) << error.message;
    ExpectOutcome(differences, test["name"], test["target"],
                  parsed->Render(test["data"], Time("2025-07-10T00:00:00")));
  }
}

TEST(ChatTemplateGoldens, TemplatesFoundInReleasedModelsParse) {
  NINFER_TEST_DATA_OR_SKIP(path, "goldens/chat-templates/must-parse.json");
  for (const OrderedJson& test : ReadJson(path)) {
    jinja::Error error;
    EXPECT_NE(jinja::Template::Parse(test["gguf"].get<std::string>(), &error), nullptr)
        << test["model"] << ": line " << error.line << ": " << error.message;
  }
}

TEST(ChatTemplateGoldens, TheLanguageCasesGiveTheirTexts) {
  NINFER_TEST_DATA_OR_SKIP(path, "goldens/chat-templates/language-cases.json");
  const OrderedJson cases = ReadJson(path);
  const OrderedJson differences = Differences();
  for (const auto& [name, test] : cases.items()) {
    SCOPED_TRACE(name);
    jinja::Error error;
    const auto parsed = jinja::Template::Parse(test["template"].get<std::string>(), &error);
    EXPECT_NE(parsed, nullptr) << error.message;
    if (parsed == nullptr) continue;
    ExpectOutcome(differences, name, test["expected"],
                  parsed->Render(test["context"], Time("2025-07-10T00:00:00")));
  }
}

// Jinja 3.1: `if value:` stands before the loops of its lazy filters.
TEST(Jinja, LazyFiltersDoNotLookAtWhatIsFalse) {
  for (const char* value : {"none", "false", "0", "''", "[]", "missing"}) {
    for (const char* filter : {"map('no such')", "map(attribute='a')", "select", "reject",
                               "selectattr('a', 'equalto', 1)", "rejectattr('a')"}) {
      jinja::Error error;
      const std::string text = absl::StrCat("{{ ", value, " | ", filter, " | list | length }}");
      const auto parsed = jinja::Template::Parse(text, &error);
      ASSERT_NE(parsed, nullptr) << text << ": " << error.message;
      const auto outcome = parsed->Render(OrderedJson::object(), Time("2025-07-10T00:00:00"));
      EXPECT_EQ(outcome.error.message, "") << text;
      EXPECT_EQ(outcome.text, "0") << text;
    }
  }
}

// A model folder's files.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(JoinPath(GetEnv("TEST_TMPDIR", "."), "chat-" + name)) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(JoinPath(path_, "additional_chat_templates"));
  }
  void Write(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(WriteFile(JoinPath(path_, name), text).ok());
  }
  std::string Choose(absl::string_view name, bool tools) const {
    const auto source = ReadChatTemplates(path_);
    if (!source.ok()) return std::string(source.status().message());
    const auto chosen = source->Choose(name, tools);
    return chosen.ok() ? *chosen : std::string(chosen.status().message());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(ChatTemplateFolder, AFileOfItsOwnGoesBeforeTheConfigsTemplate) {
  const Folder folder("files");
  EXPECT_EQ(folder.Choose("", false), "expected a model with a chat template, found one without");
  folder.Write("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(folder.Choose("", true), "config");
  folder.Write("chat_template.json", R"({"chat_template": "json"})");
  EXPECT_EQ(folder.Choose("", false), "json");
  folder.Write("chat_template.jinja", "jinja");
  EXPECT_EQ(folder.Choose("", false), "jinja");
  folder.Write("additional_chat_templates/rag.jinja", "of documents");
  EXPECT_EQ(folder.Choose("rag", false), "of documents");
  EXPECT_EQ(folder.Choose("odd", false), "chat template: expected one of default, rag, found odd");
}

TEST(ChatTemplateFolder, OfNamedTemplatesThoseForToolsAreForTools) {
  const Folder folder("named");
  folder.Write("tokenizer_config.json", R"({"chat_template": [
      {"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]})");
  EXPECT_EQ(folder.Choose("", false), "d");
  EXPECT_EQ(folder.Choose("", true), "t");
}

TEST(ChatTemplateFolder, SpecialTokensAreTextsOrTokensWithFlags) {
  const Folder folder("tokens");
  folder.Write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": {"content": "</s>"},
      "pad_token": null, "add_bos_token": true, "extra_special_tokens": {"image_token": "<i>"}})");
  folder.Write("special_tokens_map.json", R"({"bos_token": "other", "unk_token": "<u>"})");
  const auto source = ReadChatTemplates(folder.path());
  ASSERT_TRUE(source.ok()) << source.status();
  const std::map<std::string, std::string> tokens(source->special_tokens.begin(),
                                                  source->special_tokens.end());
  EXPECT_EQ(tokens, (std::map<std::string, std::string>{{"bos_token", "<s>"},
                                                        {"eos_token", "</s>"},
                                                        {"image_token", "<i>"},
                                                        {"unk_token", "<u>"}}));
}

TEST(ChatTemplateFolder, WhatNoFileNamesIsTheTokenizerClasss) {
  const Folder folder("class");
  folder.Write("tokenizer_config.json",
               R"({"tokenizer_class": "LlamaTokenizerFast", "eos_token": null})");
  folder.Write("special_tokens_map.json", R"({"unk_token": "<u>"})");
  const auto source = ReadChatTemplates(folder.path());
  ASSERT_TRUE(source.ok()) << source.status();
  const std::map<std::string, std::string> tokens(source->special_tokens.begin(),
                                                  source->special_tokens.end());
  EXPECT_EQ(tokens,
            (std::map<std::string, std::string>{{"bos_token", "<s>"}, {"unk_token", "<u>"}}));
}

TEST(ChatTemplateFolder, OtherShapesAreRefusedByFileAndKey) {
  const Folder folder("bad");
  const std::string path = JoinPath(folder.path(), "tokenizer_config.json");
  folder.Write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_EQ(folder.Choose("", false), path +
                                          ": chat_template: expected a string or a list of "
                                          "named templates, found number");
  folder.Write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_EQ(folder.Choose("", false),
            path + ": chat_template: template: expected a string, found nothing");
  folder.Write("tokenizer_config.json", "{");
  EXPECT_EQ(folder.Choose("", false), path + ": not valid JSON");
}

}  // namespace
}  // namespace ninfer
