// Single normalizers, pre-tokenizers and decoders against tests/data/tokenizer-zoo/components.json.
#include <utf8proc.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "tests/text_testing.h"
#include "text/decode.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer_json.h"

namespace ninfer {
namespace {

absl::Status Read(const std::string& slot, const nlohmann::json& part, std::vector<Step>* steps) {
  if (slot == "normalizer") return ReadNormalizer(part, slot, steps);
  if (slot == "pre_tokenizer") return ReadPreTokenizer(part, slot, steps);
  return ReadDecoder(part, slot, steps);
}

nlohmann::json RunSteps(const std::string& slot, const std::vector<CompiledStep>& steps,
                        const nlohmann::json& in) {
  if (slot == "normalizer") {
    std::string text = in;
    bool at_start = true;
    Normalize(steps, &text, &at_start);
    return text;
  }
  if (slot == "pre_tokenizer") {
    WordList list;
    PreTokenize(steps, in.get<std::string>(), true, &list);
    nlohmann::json words = nlohmann::json::array();
    for (const auto& word : list.words) words.push_back(std::string(list.text(word)));
    return words;
  }
  DecodeChain chain(steps, /*has_decoder=*/true);
  for (const auto& piece : in) chain.Push(piece.get<std::string>());
  chain.Finish();
  return chain.Take();
}

TEST(TextComponentsTest, EveryComponentGivesWhatTokenizersGives) {
  const nlohmann::json components = ReadJson(ZooPath("components.json"));
  int cases = 0;
  for (const auto& component : components) {
    const std::string slot = component["slot"];
    SCOPED_TRACE(slot + " " + component["part"].dump());
    std::vector<Step> steps;
    const absl::Status status = Read(slot, component["part"], &steps);
    ASSERT_TRUE(status.ok()) << status;
    std::vector<CompiledStep> compiled;
    ASSERT_TRUE(CompileSteps(steps, &compiled).ok());
    for (const auto& test : component["cases"]) {
      if (slot == "pre_tokenizer" && test["in"] == "") continue;  // nothing calls them with no text
      EXPECT_EQ(RunSteps(slot, compiled, test["in"]), test["out"]) << test["in"];
      ++cases;
    }
  }
  EXPECT_GT(cases, 1000);
}

TEST(TextComponentsTest, BadComponentsAreRefusedInOneLine) {
  const std::map<std::string, std::string> refused = {
      {R"({"type":"Precompiled","precompiled_charsmap":""})",
       "normalizer: Precompiled: precompiled_charsmap: cut short"},
      {R"({"type":"Precompiled","precompiled_charsmap":"!"})",
       "normalizer: Precompiled: precompiled_charsmap: expected base64"},
      {R"({"type":"Precompiled","precompiled_charsmap":"/////w=="})",
       "normalizer: Precompiled: precompiled_charsmap: expected a double array of at most 0 bytes, "
       "found 4294967295"},
      {R"({"type":"Rot13"})", "normalizer: Rot13 is not supported"},
      {R"({"type":"Sequence"})", "normalizer.normalizers: expected a list, found nothing"},
      {R"({"type":"Replace","content":"x","pattern":{"Regex":"(a"}})",
       "normalizer: Replace: regular expression not understood: missing closing parenthesis near "
       "character 2"},
      {R"({"type":"Replace","content":1,"pattern":{"String":"a"}})",
       "normalizer: Replace: content: expected a string, found number"},
      {R"({"type":"Prepend"})", "normalizer: Prepend: prepend: expected a string, found nothing"},
      {R"("NFC")", "normalizer: expected an object, found string"},
      {R"({})", "normalizer: type: expected a string, found nothing"},
  };
  for (const auto& [text, message] : refused) {
    std::vector<Step> steps;
    EXPECT_EQ(ReadNormalizer(nlohmann::json::parse(text), "normalizer", &steps).message(), message);
  }
}

TEST(TextComponentsTest, MetaspaceRefusesAReplacementOfSeveralCharacters) {
  std::vector<Step> steps;
  const auto part = nlohmann::json::parse(R"({"type":"Metaspace","replacement":"ab"})");
  EXPECT_EQ(ReadPreTokenizer(part, "pre_tokenizer", &steps).message(),
            "pre_tokenizer: Metaspace: replacement: expected one character, found 'ab'");
}

TEST(TextComponentsTest, SequencesNestedTooDeeplyAreRefused) {
  nlohmann::json part = {{"type", "NFC"}};
  for (int i = 0; i < 50; ++i) {
    part = {{"type", "Sequence"}, {"normalizers", nlohmann::json::array({part})}};
  }
  std::vector<Step> steps;
  EXPECT_EQ(ReadNormalizer(part, "normalizer", &steps).message(),
            "normalizer: sequences nested too deeply");
}

TEST(TextComponentsTest, NormalFormsAreThoseOfUtf8proc) {
  const int options[] = {UTF8PROC_COMPOSE, UTF8PROC_DECOMPOSE, UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                         UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
  std::mt19937 random(4);
  for (int form = 0; form < 4; ++form) {
    Step step;
    step.kind = static_cast<uint8_t>(form);
    std::vector<CompiledStep> compiled;
    ASSERT_TRUE(CompileSteps({step}, &compiled).ok());
    for (char32_t c = 1; c < 0x30000; ++c) {
      if (c >= 0xD800 && c <= 0xDFFF) continue;
      std::string text = "e";
      AppendUtf8(c, &text);
      for (int i = random() % 4; i > 0; --i) AppendUtf8(0x300 + random() % 0x70, &text);
      utf8proc_uint8_t* expected = nullptr;
      const auto size =
          utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), text.size(),
                       &expected, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options[form]));
      bool at_start = true;
      std::string normal = text;
      Normalize(compiled, &normal, &at_start);
      ASSERT_EQ(normal, std::string(reinterpret_cast<const char*>(expected), size)) << text;
      std::free(expected);
    }
  }
}

TEST(TextComponentsTest, StripOfMoreThanThePieceLeavesNothing) {
  std::vector<Step> steps;
  const auto part = nlohmann::json::parse(R"({"type":"Strip","content":"x","start":5,"stop":5})");
  ASSERT_TRUE(ReadDecoder(part, "decoder", &steps).ok());
  std::vector<CompiledStep> compiled;
  ASSERT_TRUE(CompileSteps(steps, &compiled).ok());
  EXPECT_EQ(RunSteps("decoder", compiled, {"xxx", "xxaxx", "", "xxxxxxx"}), "a");
}

}  // namespace
}  // namespace ninfer
