// Templates that mean harm or are long: errors that name the line, in little time.
#include <chrono>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "text/chat_template.h"
#include "text/jinja/template.h"

namespace ninfer {
namespace {

using ::testing::HasSubstr;

std::string Repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// The error of a template, or its text; "" before an error's message where it gave a text.
struct Outcome {
  std::string error, text;
  int line = 0;
};

Outcome Try(const std::string& text, const nlohmann::ordered_json& variables = {{"x", 1}}) {
  const auto start = std::chrono::steady_clock::now();
  jinja::Error error;
  const auto parsed = jinja::Template::Parse(text, &error);
  Outcome outcome;
  if (parsed == nullptr) {
    outcome = {error.type + ": " + error.message, "", error.line};
  } else {
    jinja::Rendered rendered = parsed->Render(variables, std::tm());
    if (!rendered.error.type.empty()) {
      outcome = {rendered.error.type + ": " + rendered.error.message, "", rendered.error.line};
    }
    outcome.text = std::move(rendered.text);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 20) << text.substr(0, 100);  // it takes seconds at most
  return outcome;
}

TEST(ChatTemplateLimits, AnEndlessTemplateStopsAfterItsSteps) {
  const std::string loop = "{% for i in range(100000) %}";
  const Outcome outcome = Try("\n" + loop + loop + "{{ i }}{% endfor %}{% endfor %}");
  EXPECT_EQ(outcome.error, "limit: more than 5000000 steps");
  EXPECT_EQ(outcome.line, 2);
  EXPECT_THAT(Try("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").error,
              HasSubstr("limit: nested deeper than"));
  EXPECT_THAT(Try("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}").error,
              HasSubstr("limit: nested deeper than"));
}

TEST(ChatTemplateLimits, TextsThatBuiltinsLookAtAreCounted) {
  const std::string text = "{% set s = ' ' * 5000000 %}{% for i in range(99999) %}";
  for (const char* use : {"{{ s | trim }}", "{{ s.strip() }}", "{{ s.lstrip('x') }}",
                          "{{ s.removeprefix('a') }}", "{{ s is lower }}", "{{ s.startswith(s) }}",
                          "{{ [s] | map('trim') | join }}", "{{ [s] | select('upper') | list }}"}) {
    EXPECT_THAT(Try(text + use + "{% endfor %}").error, HasSubstr("limit: more than")) << use;
  }
}

TEST(ChatTemplateLimits, AWidthBeyondMeaningIsAnErrorAndNotAnotherWidth) {
  for (const char* use : {"'%10001d' % 1", "'%*d' % (10001, 1)", "'%.10001s' % 'a'",
                          "'{:10001}'.format(1)", "'{:.10001}'.format('a')"}) {
    EXPECT_EQ(Try(absl::StrCat("{{ ", use, " }}")).error, "limit: a width of more than 10000")
        << use;
  }
  EXPECT_EQ(Try("{{ '%.501f' % 1 }}").error, "limit: a precision of more than 500");
  EXPECT_EQ(Try("{{ 'a' | indent(10001, true) }}").error, "limit: an indent of more than 10000");
  EXPECT_EQ(Try("{{ [1] | tojson(indent=10001) }}").error, "limit: an indent of more than 10000");
  EXPECT_EQ(Try("{{ 'a'.expandtabs(10001) }}").error, "limit: a tab of more than 10000");
  EXPECT_EQ(Try("{{ ('%10000d' % 1) | length }}").text, "10000");
  EXPECT_EQ(Try("{{ ([1] | tojson(indent=2000)) | length }}").text, "2005");
}

TEST(ChatTemplateLimits, TextsAndListsDoNotFillTheMemory) {
  const char* const kGreedy[] = {
      "{{ 'a' * 99999999999 }}",
      "{{ [1] * 99999999999 }}",
      "{{ 'a'.center(99999999999) }}",
      "{{ 'a'.zfill(99999999999) }}",
      "{{ 'a'.ljust(99999999999) }}",
      "{% set ns = namespace(s='abcdefgh') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
      "{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}"
      "{% endfor %}",
      "{% set ns = namespace(s='aaaa') %}{% for i in range(99) %}"
      "{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
      "{% set ns = namespace(s='aaaa') %}{% for i in range(99) %}"
      "{% set ns.s = ns.s.join(ns.s) %}{% endfor %}",
      "{% set s = 'abcdefgh' * 1000000 %}{% for i in range(99999) %}{{ s }}{% endfor %}",
      "{{ ('a' * 20000000).split('a') | length }}",
      "{% set s = 'a' * 10000000 %}{% for i in range(99999) %}{{ s.count('b') }}{% endfor %}",
      "{% set s = 'a' * 10000000 %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}",
      "{% set s = ['a'] * 1000000 %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}",
      "{% set s = ['a'] * 1000000 %}{% for i in range(99999) %}{{ s == s + [] }}{% endfor %}",
      "{% set s = ['a'] * 1000000 %}{% for i in range(99999) %}{{ s | sort | length }}{% endfor %}",
      "{% set s = 'é' * 9000000 %}{% for i in range(99999) %}{{ s[8999999] }}{% endfor %}",
      "{% set s = 'a b ' * 900000 %}{% for i in range(99999) %}{{ s | wordwrap(3) }}{% endfor %}",
      "{{ ('a' * 4000000) | wordwrap(1) }}",
      "{{ ('a' * 4000).replace('a', 'b' * 1000000) }}",
      "{% set s = ([1] * 1000000) | reverse %}{% for i in range(99999) %}{{ s | first }}{% endfor "
      "%}",
  };
  for (const char* text : kGreedy)
    EXPECT_THAT(Try(text).error, HasSubstr("limit: more than")) << text;
}

TEST(ChatTemplateLimits, ParsingOfDeepNestingIsRefused) {
  const auto refused = [](const std::string& text) {
    EXPECT_THAT(Try(text).error, HasSubstr("nested deeper than")) << text.substr(0, 60);
  };
  const int deep = 100000;
  refused("{{ " + Repeated("(", deep) + "1" + Repeated(")", deep) + " }}");
  refused("{{ " + Repeated("[", deep) + Repeated("]", deep) + " }}");
  refused("{{ " + Repeated("{1:", deep) + "1" + Repeated("}", deep) + " }}");
  refused("{{ " + Repeated("not ", deep) + "1 }}");
  refused("{{ " + Repeated("-", deep) + "1 }}");
  refused("{{ 1" + Repeated(" + 1", deep) + " }}");
  refused("{{ 1" + Repeated(" and 1", deep) + " }}");
  refused("{{ x" + Repeated(".a", deep) + " }}");
  refused("{{ x" + Repeated("[0]", deep) + " }}");
  refused("{{ x" + Repeated("()", deep) + " }}");
  refused("{{ x" + Repeated("|string", deep) + " }}");
  refused("{{ x" + Repeated(" if x else x", deep) + " }}");
  refused(Repeated("{% if x %}", deep) + Repeated("{% endif %}", deep));
  refused("{% if x %}" + Repeated("{% elif x %}", deep) + "{% endif %}");
  refused("{% for " + Repeated("(", deep) + " in x %}{% endfor %}");
  refused(Repeated("{% macro f() %}", deep));
}

TEST(ChatTemplateLimits, ValuesThatHoldThemselvesArePrintedToTheLimit) {
  for (const char* use : {"{{ ns }}", "{{ ns.l == ns.m }}", "{{ ns.l | tojson }}",
                          "{{ ns.l < ns.m }}", "{{ ns.l | pprint }}"}) {
    const std::string text = absl::StrCat(
        "{% set ns = namespace(l=[], m=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}"
        "{% set ns.m = [ns.m] %}{% endfor %}",
        use);
    EXPECT_THAT(Try(text).error, HasSubstr("limit: nested deeper than")) << use;
  }
  EXPECT_THAT(Try("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}").error,
              HasSubstr("limit: nested deeper than"));
}

TEST(ChatTemplateLimits, DeepJsonIsRefused) {
  nlohmann::ordered_json deep = nlohmann::ordered_json::array();
  for (int i = 0; i < 20000; ++i) {
    nlohmann::ordered_json outer = nlohmann::ordered_json::array();
    outer.push_back(std::move(deep));
    deep = std::move(outer);
  }
  EXPECT_THAT(Try("{{ x }}", {{"x", std::move(deep)}}).error, HasSubstr("nested deeper than"));
}

TEST(ChatTemplateLimits, TextThatIsNotUtf8IsRefused) {
  EXPECT_EQ(Try("a\xff").error, "TemplateSyntaxError: the template is not UTF-8");
}

TEST(ChatTemplateLimits, IntegersBeyondTheirWidthAreErrors) {
  for (const char* text : {"{{ 2 ** 200 }}", "{{ 10 ** 30 * 10 ** 30 }}", "{{ 1e300 | int }}"}) {
    EXPECT_THAT(Try(text).error, HasSubstr("an integer of more than 127 bits")) << text;
  }
  EXPECT_EQ(Try("{{ 2 ** 126 }}").text, "85070591730234615865843651857942052864");
}

// As CPython has it: what has items may have too many of them, save a tuple.
TEST(ChatTemplateLanguage, APercentFormatTakesAListAsOneArgument) {
  EXPECT_EQ(Try("{{ 'abc' % [1] }}").text, "abc");
  EXPECT_EQ(Try("{{ '%s' % [1, 2] }}").text, "[1, 2]");
  EXPECT_EQ(Try("{{ '%s %s' % [1, 2] }}").error,
            "TypeError: not enough arguments for format string");
  EXPECT_EQ(Try("{{ 'abc' % (1,) }}").error,
            "TypeError: not all arguments converted during string formatting");
}

TEST(ChatTemplateLanguage, SplitLeavesTheBlanksBehindItsLastCut) {
  EXPECT_EQ(Try("{{ '  a b  c  '.split(none, 1) }}").text, "['a', 'b  c  ']");
  EXPECT_EQ(Try("{{ '  a b  c  '.rsplit(none, 1) }}").text, "['  a b', 'c']");
  EXPECT_EQ(Try("{{ '  a b  c  '.split(none, 0) }}").text, "['a b  c  ']");
  EXPECT_EQ(Try("{{ '  a  '.split(none, 1) }}{{ '  a b '.rsplit() }}").text, "['a']['a', 'b']");
}

TEST(ChatTemplateLanguage, AsciiFormsEscapeEveryOtherCharacter) {
  EXPECT_EQ(Try(R"({{ '%a %r' % ('é', 'é') }} {{ '{!a}'.format(['\u20ac', '\U0001F600']) }})").text,
            R"('\xe9' 'é' ['\u20ac', '\U0001f600'])");
  EXPECT_EQ(Try(R"({{ '~\x7f\x80' | tojson(ensure_ascii=true) }})").text, R"("~\u007f\u0080")");
}

TEST(ChatTemplateLanguage, AFloatIsWholeHoweverLarge) {
  EXPECT_EQ(Try("{{ (1e300).is_integer() }} {{ (-3.0).is_integer() }}").text, "True True");
  EXPECT_EQ(Try("{{ (0.5).is_integer() }} {{ (x * 1e308 * 10).is_integer() }}").text,
            "False False");
}

TEST(ChatTemplateLimits, AnErrorNamesItsLine) {
  const auto chat = ChatTemplate::Parse("a\nb\n{{ raise_exception('no\nway') }}", {});
  ASSERT_TRUE(chat.ok()) << chat.status();
  ChatRequest request;
  request.messages = nlohmann::ordered_json::parse(R"([{"role": "user", "content": "x"}])");
  EXPECT_EQ((*chat)->Render(request).status().message(),
            "chat template, line 3: TemplateError: no\\nway");
  EXPECT_EQ(ChatTemplate::Parse("a\n{% if %}", {}).status().message(),
            "chat template, line 2: TemplateSyntaxError: Expected an expression, got 'end of "
            "statement block'");
}

TEST(ChatTemplateLimits, RequestsOfTheWrongShapeAreRefused) {
  const auto chat = ChatTemplate::Parse("{{ messages }}", {});
  ASSERT_TRUE(chat.ok());
  const auto message = [&](const char* messages, const char* tools) {
    ChatRequest request;
    request.messages = nlohmann::ordered_json::parse(messages);
    request.tools = nlohmann::ordered_json::parse(tools);
    return std::string((*chat)->Render(request).status().message());
  };
  EXPECT_EQ(message("{}", "null"), "messages: expected an array, found object");
  EXPECT_EQ(message("[]", "null"), "messages: expected at least one, found none");
  EXPECT_EQ(message("[{}, 1]", "null"), "messages[1]: expected an object, found number");
  EXPECT_EQ(message("[{}]", "[\"f\"]"), "tools[0]: expected an object, found string");
}

}  // namespace
}  // namespace ninfer
