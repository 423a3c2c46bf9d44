// The typed reader over config.json.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontend/config.h"

namespace ninfer::frontend {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<ConfigReader> Reader(absl::string_view text) {
  auto reader = ConfigReader::Parse("config.json", text);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return std::move(reader).value();
}

std::string MessageOf(const ConfigReader& reader) { return std::string(reader.status().message()); }

TEST(Config, ReadsEachType) {
  auto config = Reader(R"({"i": 3, "f": 1e-5, "b": true, "s": "silu", "l": ["a", "b"]})");
  EXPECT_EQ(config->Int("i", 1, 10), 3);
  EXPECT_EQ(config->Number("i"), 3.0);
  EXPECT_EQ(config->Number("f"), 1e-5);
  EXPECT_TRUE(config->BoolOr("b", false));
  EXPECT_EQ(config->StringOr("s", "x"), "silu");
  EXPECT_THAT(config->Strings("l"), ElementsAre("a", "b"));
  EXPECT_TRUE(config->ok()) << config->status();
}

TEST(Config, AbsentKeysTakeTheirDefaults) {
  auto config = Reader("{}");
  EXPECT_EQ(config->IntOr("i", 7, 1, 10), 7);
  EXPECT_EQ(config->NumberOr("f", 0.5), 0.5);
  EXPECT_TRUE(config->BoolOr("b", true));
  EXPECT_EQ(config->StringOr("s", "x"), "x");
  EXPECT_FALSE(config->OptionalInt("o", 1, 10).has_value());
  EXPECT_FALSE(config->Ids("ids").has_value());
  EXPECT_EQ(config->Object("nested"), nullptr);
  EXPECT_TRUE(config->ok()) << config->status();
}

TEST(Config, NullIsFalseForAFlagAndNoneWhereTheClassTakesNone) {
  auto config = Reader(R"({"b": null, "o": null, "ids": null, "l": null, "nested": null})");
  EXPECT_FALSE(config->BoolOr("b", true));
  EXPECT_FALSE(config->OptionalInt("o", 1, 10).has_value());
  EXPECT_FALSE(config->OptionalNumber("o").has_value());
  ASSERT_TRUE(config->Ids("ids").has_value());
  EXPECT_TRUE(config->Ids("ids")->empty());
  EXPECT_TRUE(config->Strings("l").empty());
  EXPECT_EQ(config->Object("nested"), nullptr);
  EXPECT_TRUE(config->ok()) << config->status();
}

TEST(Config, NullWhereASizeIsNeededIsAnError) {
  auto config = Reader(R"({"i": null})");
  EXPECT_EQ(config->IntOr("i", 7, 1, 10), 1);
  EXPECT_EQ(MessageOf(*config), "config.json: i: expected an integer, found null");
}

TEST(Config, ARequiredKeyThatIsAbsentIsNamed) {
  auto config = Reader("{}");
  EXPECT_EQ(config->Int("hidden_size", 1, 10), 1);
  EXPECT_EQ(MessageOf(*config), "config.json: hidden_size: expected an integer, found nothing");
}

TEST(Config, AWrongTypeSaysWhatWasExpectedAndFound) {
  const auto error = [](auto read) {
    auto config = Reader(R"({"k": "x", "n": 3, "l": ["a", 1]})");
    read(*config);
    return MessageOf(*config);
  };
  EXPECT_EQ(error([](ConfigReader& c) { c.Number("k"); }),
            "config.json: k: expected a number, found a string");
  EXPECT_EQ(error([](ConfigReader& c) { c.BoolOr("k", true); }),
            "config.json: k: expected true or false, found a string");
  EXPECT_EQ(error([](ConfigReader& c) { c.StringOr("n", ""); }),
            "config.json: n: expected a string, found a number");
  EXPECT_EQ(error([](ConfigReader& c) { c.Strings("l"); }),
            "config.json: l: expected a list of strings, found a number");
  EXPECT_EQ(error([](ConfigReader& c) { c.Object("n"); }),
            "config.json: n: expected an object, found a number");
  EXPECT_EQ(error([](ConfigReader& c) { c.Ids("k"); }),
            "config.json: k: expected a token id or a list of them, found a string");
}

TEST(Config, IntegersOutsideTheirRangeAreShown) {
  auto error = [](absl::string_view text) {
    auto config = Reader(text);
    config->Int("i", 1, 10);
    return MessageOf(*config);
  };
  EXPECT_EQ(error(R"({"i": 11})"), "config.json: i: expected an integer in [1, 10], found 11");
  EXPECT_EQ(error(R"({"i": 2.5})"), "config.json: i: expected an integer in [1, 10], found 2.5");
  EXPECT_EQ(error(R"({"i": 18446744073709551615})"),
            "config.json: i: expected an integer in [1, 10], found 18446744073709551615");
}

TEST(Config, IdsAreOneIdOrAList) {
  auto config = Reader(R"({"one": 2, "many": [2, 21]})");
  EXPECT_THAT(*config->Ids("one"), ElementsAre(2));
  EXPECT_THAT(*config->Ids("many"), ElementsAre(2, 21));
}

TEST(Config, NestedErrorsNameThePath) {
  auto config = Reader(R"({"rope_scaling": {"factor": "x"}})");
  ConfigReader* rope = config->Object("rope_scaling");
  ASSERT_NE(rope, nullptr);
  rope->Number("factor");
  EXPECT_EQ(MessageOf(*config),
            "config.json: rope_scaling.factor: expected a number, found a string");
}

TEST(Config, AnObjectThatIsAbsentIsTheFallbackAndErrorsNameItsPath) {
  auto config = Reader(R"({"there": {"size": 1}, "null": null})");
  const auto size = [&config](const char* key) {
    return config->ObjectOr(key, R"({"size": 7})")->Int("size", 0, 9);
  };
  EXPECT_EQ(size("there"), 1);
  EXPECT_EQ(size("null"), 7);
  EXPECT_EQ(size("absent"), 7);
  config->ObjectOr("absent", R"({"size": 7})")->Refuse("size", "9");
  EXPECT_EQ(MessageOf(*config), "config.json: absent.size: expected 9, found 7");
  auto other = Reader(R"({"text": "x"})");
  EXPECT_EQ(other->ObjectOr("text", "{}"), nullptr);
  EXPECT_EQ(MessageOf(*other), "config.json: text: expected an object, found a string");
}

TEST(Config, TheFirstErrorIsKept) {
  auto config = Reader("{}");
  config->Int("a", 1, 2);
  config->Int("b", 1, 2);
  EXPECT_EQ(MessageOf(*config), "config.json: a: expected an integer, found nothing");
}

TEST(Config, RemembersWhichKeysWereRead) {
  auto config = Reader(R"({"a": 1, "b": 2})");
  config->Int("a", 1, 2);
  EXPECT_TRUE(config->WasRead("a"));
  EXPECT_FALSE(config->WasRead("b"));
}

TEST(Config, TextThatIsNotAJsonObjectIsRefusedWithItsLine) {
  const auto error = [](absl::string_view text) {
    return std::string(ConfigReader::Parse("config.json", text).status().message());
  };
  EXPECT_EQ(error(""), "config.json: expected JSON, found a syntax error in line 1");
  EXPECT_EQ(error("{\n\"a\": 1,\n}"), "config.json: expected JSON, found a syntax error in line 3");
  EXPECT_EQ(error("[]"), "config.json: expected a JSON object, found another value");
  EXPECT_EQ(error("3"), "config.json: expected a JSON object, found another value");
  EXPECT_EQ(error("{\"a\": 1e999}"), "config.json: expected JSON, found a syntax error in line 1");
  EXPECT_EQ(error("{\"a\":" + std::string(1000, '[')),
            "config.json: expected JSON at most 64 levels deep, found more");
}

TEST(Config, AsInPythonTheLastOfTwoEqualKeysCounts) {
  EXPECT_EQ(Reader(R"({"a": 1, "a": 2})")->Int("a", 0, 9), 2);
}

}  // namespace
}  // namespace ninfer::frontend
