// Regular expressions: Oniguruma's syntax on PCRE2, and the hand-written scanners against PCRE2.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "text/pattern.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

constexpr char kLlama3[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

// The text with a bar at each cut.
std::string Cut(const Pattern& pattern, const std::string& text) {
  std::vector<Pattern::Range> ranges;
  pattern.FindAll(text, &ranges);
  std::string out;
  for (const auto& range : ranges) {
    if (range.begin == range.end) continue;
    if (!out.empty()) out += "|";
    out += text.substr(range.begin, range.end - range.begin);
  }
  return out;
}

std::string CutBy(const std::string& expression, const std::string& text) {
  const auto pattern = Pattern::Regex(expression);
  EXPECT_TRUE(pattern.ok()) << pattern.status();
  return pattern.ok() ? Cut(**pattern, text) : "";
}

TEST(TextPatternTest, SyntaxMeansWhatOnigurumaMeans) {
  EXPECT_EQ(CutBy(R"(\p{N}{1,3}+)", "123456789"), "123456789");  // a quantifier of a quantifier
  EXPECT_EQ(CutBy(R"(\p{N}{1,3})", "12345"), "123|45");
  EXPECT_EQ(CutBy(R"(a{,2})", "aaa"), "aa|a");
  EXPECT_EQ(CutBy(R"(a{2}?b)", "b"), "b");
  EXPECT_EQ(CutBy(R"(\s+)", "a\u180eb\u0085c\u200bd\x1cx"), "a\u180eb|\u0085|c\u200bd\x1cx");
  EXPECT_EQ(CutBy(R"([^\S\n]+)", "a \n b\u180ec"), "a| |\n| |b\u180ec");
  EXPECT_EQ(CutBy(R"(\w+)", "a\u0300b\u203fc\u24b6d\u200de\u00b2f"),
            "a\u0300b\u203fc\u24b6d|\u200d|e\u00b2f");
  EXPECT_EQ(CutBy(R"(\d+)", "a\u0663\u00b24"), "a|\u0663|\u00b2|4");
  EXPECT_EQ(CutBy(R"(\h+)", "abcx 12"), "abc|x |12");
  EXPECT_EQ(CutBy(R"(^b)", "ab\nbb\nb"), "ab\n|b|b\n|b");
  EXPECT_EQ(CutBy(R"(a$)", "a\nba"), "a|\nb|a");
  EXPECT_EQ(CutBy(R"(.+)", "a\nb\rc"), "a|\n|b\rc");
  EXPECT_EQ(CutBy(R"((?m).+)", "a\nb"), "a\nb");
  EXPECT_EQ(CutBy(R"((?i:'s))", "x'\u017f"), "x|'\u017f");
  EXPECT_EQ(CutBy(R"([a[bc]]+)", "abcd"), "abc|d");
  EXPECT_EQ(CutBy(R"([^(\s|[.,])]+)", "ab (c."), "ab| (|c|.");
  EXPECT_EQ(CutBy(R"([[:alpha:]]+)", "a\u00e91"), "a\u00e9|1");
  EXPECT_EQ(CutBy(R"((?<x>a)\k<x>)", "aab"), "aa|b");
  EXPECT_EQ(CutBy(R"((?<=a)b)", "abb"), "a|b|b");
  EXPECT_EQ(CutBy(R"(\u0041)", "xA"), "x|A");
  EXPECT_EQ(CutBy(R"(\bb)", "a\u0300b b"), "a\u0300b |b");
  EXPECT_EQ(CutBy(R"([a-z&&[^b]]+)", "aabcd"), "aa|b|cd");
  EXPECT_EQ(CutBy(R"([\p{L}&&[^\p{Han}]]+)", "ab\u72d0c"), "ab|\u72d0|c");
  EXPECT_EQ(CutBy(R"([^a-z&&[a-f]]+)", "abxyz1"), "ab|xyz1");
  EXPECT_EQ(CutBy(R"([a[^b-z]]+)", "aB1bza"), "aB1|bz|a");
  EXPECT_EQ(CutBy(R"([\W\d]+)", "a1. b"), "a|1. |b");
  EXPECT_EQ(CutBy(R"([[:^alpha:]]+)", "a1.b"), "a|1.|b");
  EXPECT_EQ(CutBy(R"(\p{Han}+)", "\u3001\u72d0\u3005"), "\u3001|\u72d0\u3005");  // not extensions
  EXPECT_EQ(CutBy(R"(\p{^Letter}+)", "a1 b"), "a|1 |b");
  EXPECT_EQ(CutBy(R"([\P{Uppercase_Letter}]+)", "aB1"), "a|B|1");
  EXPECT_EQ(CutBy(R"([[:punct:]]+)", "a$+!\u00bfb"), "a|$+!\u00bf|b");
  EXPECT_EQ(CutBy(R"([[:punct:]]+)", "a\u20ac\u00a4b"), "a|\u20ac\u00a4|b");
  EXPECT_EQ(CutBy(R"([[:graph:]]+)", "a\u20ac b\n"), "a\u20ac| |b|\n");
  EXPECT_EQ(CutBy(R"([[:print:]]+)", "a\u20ac b\n"), "a\u20ac b|\n");
  // Numbers that are no digits are words by themselves in Latin-1 alone, and in no class.
  EXPECT_EQ(CutBy(R"(\w+)", "a\u0d70b"), "a|\u0d70|b");
  EXPECT_EQ(CutBy(R"([\w']+)", "a\u00b2b'"), "a|\u00b2|b'");
  EXPECT_EQ(CutBy(R"([^\w\s]+)", "x\u00b2y!"), "x|\u00b2|y|!");
  EXPECT_EQ(CutBy(R"(\p{Punct}+)", "a$+!\u00bfb"), "a$+|!\u00bf|b");
  EXPECT_EQ(CutBy(R"([[:word:]]+)", "a_1-\u00b2"), "a_1|-\u00b2");
  EXPECT_EQ(CutBy(R"(\p{Alnum}+)", "a1\u00b2"), "a1|\u00b2");
  EXPECT_EQ(CutBy("", "abc"), "a|b|c");
  EXPECT_EQ(CutBy("(?=b)", "abab"), "a|ba|b");
}

TEST(TextPatternTest, WhatHasNoCounterpartIsRefused) {
  const std::string prefix = "regular expression not understood: ";
  const std::map<std::string, std::string> refused = {
      {R"([a&&])", "an empty class near character 5"},
      {R"((?x)a)", "(?x) near character 2"},
      {R"(\y)", "\\y near character 0"},
      {R"(a))", "unmatched ) near character 1"},
      {R"([a)", "a class without its end near character 2"},
      {R"((?~a))", "a group of an unknown kind near character 2"},
      {"\\", "a backslash at the end near character 0"},
      {R"(\p{Nonsense})", "unknown property after \\P or \\p near character 13"},
  };
  for (const auto& [expression, message] : refused) {
    EXPECT_EQ(Pattern::Regex(expression).status().message(), prefix + message) << expression;
  }
}

TEST(TextPatternTest, DeepNestingIsRefused) {
  const std::string deep = std::string(5000, '(') + std::string(5000, ')');
  EXPECT_FALSE(Pattern::Regex(deep).ok());
  EXPECT_FALSE(Pattern::Regex(std::string(5000, '[')).ok());
}

TEST(TextPatternTest, CatastrophicBacktrackingEnds) {
  const auto pattern = Pattern::Regex("(a|a)*(a|a)*(a|a)*b");
  ASSERT_TRUE(pattern.ok());
  const std::string text(200, 'a');
  EXPECT_EQ(Cut(**pattern, text), text);
}

TEST(TextPatternTest, LiteralMatchesDoNotOverlap) {
  EXPECT_EQ(Cut(*Pattern::Literal("aa"), "aaab"), "aa|ab");
  EXPECT_EQ(Cut(*Pattern::Literal(""), "ab"), "ab");
}

// Characters of every class, and the ones that decide between alternatives.
std::string RandomText(std::mt19937* random) {
  static const char* const kParts[] = {" ",       " ",
                                       "  ",      "\n",
                                       "\r\n",    "\t",
                                       "'",       "'s",
                                       "'S",      "'re",
                                       "'LL",     "'ll",
                                       "'\u017f", "'d",
                                       "'VE",     "a",
                                       "b",       "Z",
                                       "word",    "1",
                                       "23",      "4567",
                                       ".",       ",",
                                       "!?",      "(",
                                       "\u00a0",  "\u3000",
                                       "\u0085",  "\u2028",
                                       "\u00e9",  "e\u0301",
                                       "\u72d0",  "\u0939\u093f",
                                       "\u0663",  "\u00b2",
                                       "\u2160",  "\U0001F98A",
                                       "\u200d",  "\u180e",
                                       "_",       "\u20ac",
                                       "l",       "r",
                                       "e",       "\x01",
                                       "\x7f"};
  std::string text;
  for (int i = (*random)() % 14; i > 0; --i) text += kParts[(*random)() % std::size(kParts)];
  return text;
}

TEST(TextPatternTest, ScannersCutAsTheirExpressionsDo) {
  std::mt19937 random(7);
  for (const std::string& expression :
       {std::string(kGpt2Split), std::string(kQwen2Split), std::string(kLlama3)}) {
    const auto scanner = Pattern::Regex(expression);
    const auto pcre = Pattern::Regex(expression, /*use_scanner=*/false);
    ASSERT_TRUE(scanner.ok() && pcre.ok());
    ASSERT_NE((*scanner)->scanner(), nullptr);
    ASSERT_EQ((*pcre)->scanner(), nullptr);
    for (int round = 0; round < 60000; ++round) {
      const std::string text = RandomText(&random);
      ASSERT_EQ(Cut(**scanner, text), Cut(**pcre, text)) << expression;
    }
  }
}

TEST(TextPatternTest, ScannersAgreeOnEveryCharacter) {
  const auto scanner = Pattern::Regex(kLlama3);
  const auto pcre = Pattern::Regex(kLlama3, /*use_scanner=*/false);
  int differences = 0;
  for (char32_t c = 1; c < 0x30000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "a";
    AppendUtf8(c, &text);
    AppendUtf8(c, &text);
    text += "1";
    if (Cut(**scanner, text) != Cut(**pcre, text)) ++differences;
  }
  // PCRE2 and utf8proc come from neighbouring versions of Unicode: only new characters may differ.
  EXPECT_LT(differences, 250);
}

}  // namespace
}  // namespace ninfer
