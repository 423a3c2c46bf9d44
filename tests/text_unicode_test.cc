// Code points, classes, byte letters, and the repair of bytes that are not UTF-8.
#include <gtest/gtest.h>

#include <random>

#include "text/unicode.h"

namespace ninfer {
namespace {

TEST(TextUnicodeTest, EveryCodePointSurvivesEncodingAndDecoding) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, &text);
    ASSERT_TRUE(IsValidUtf8(text)) << static_cast<uint32_t>(c);
    ASSERT_EQ(Utf8Length(text[0]), static_cast<int>(text.size()));
    ASSERT_EQ(DecodeAt(text, 0).value, c);
    ASSERT_EQ(DecodeBefore("x" + text, 1 + text.size()).value, c);
    ASSERT_EQ(RepairUtf8(text), text);
  }
}

TEST(TextUnicodeTest, IllFormedBytesAreNotUtf8) {
  for (const char* bytes :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xE2\x82", "\xE2\x82z"}) {
    EXPECT_FALSE(IsValidUtf8(bytes)) << bytes;
    EXPECT_TRUE(IsValidUtf8(RepairUtf8(bytes)));
  }
}

TEST(TextUnicodeTest, RepairReplacesEachMaximalPartOnce) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(RepairUtf8("a\xE2\x82"
                       "b"),
            "a" + r + "b");
  EXPECT_EQ(RepairUtf8("\xF0\x9F\x98"), r);
  EXPECT_EQ(RepairUtf8("\xF0\x9F\xF0\x9F\x98\x80"), r + "\xF0\x9F\x98\x80");
  EXPECT_EQ(RepairUtf8("\xC0\x80"), r + r);
  EXPECT_EQ(RepairUtf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(RepairUtf8("\xED\xA0z"), r + r + "z");
  EXPECT_EQ(RepairUtf8("\xED\xA0"), r + r);
  EXPECT_EQ(RepairUtf8("\xF4\x90\x80\x80"), r + r + r + r);
}

TEST(TextUnicodeTest, RepairInPiecesEqualsRepairAtOnce) {
  std::mt19937 random(1);
  const std::string alphabet = "a\x80\xA0\xBF\xC3\xE2\x82\xED\x9F\xF0\x90\xF4\xFF";
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (int i = random() % 12; i > 0; --i) bytes += alphabet[random() % alphabet.size()];
    Utf8Repairer repairer;
    std::string out;
    for (const char c : bytes) {
      repairer.Append(std::string(1, c), &out);
      ASSERT_TRUE(IsValidUtf8(out));
    }
    repairer.Finish(&out);
    ASSERT_EQ(out, RepairUtf8(bytes));
    ASSERT_EQ(IsValidUtf8(bytes), out == bytes);
  }
}

TEST(TextUnicodeTest, ByteLettersAreAOneToOneMap) {
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(LetterToByte(ByteToLetter(static_cast<uint8_t>(byte))), byte);
  }
  EXPECT_EQ(ByteToLetter(' '), 0x120u);
  EXPECT_EQ(ByteToLetter('A'), 'A');
  EXPECT_EQ(LetterToByte(' '), -1);
  EXPECT_EQ(LetterToByte(0x144), -1);
  EXPECT_EQ(LetterToByte(0x4E00), -1);
}

TEST(TextUnicodeTest, ClassesAreThoseOfTheReference) {
  EXPECT_TRUE(IsWhitespace(0x85) && IsWhitespace(0x3000) && IsWhitespace('\v'));
  EXPECT_FALSE(IsWhitespace(0x180E) || IsWhitespace(0x200B) || IsWhitespace(0x1C));
  EXPECT_TRUE(IsWord('_') && IsWord(0x300) && IsWord(0x24B6) && IsWord(0x200D) && IsWord(0x203F));
  EXPECT_FALSE(IsWord(0xB2) || IsWord('-'));
  EXPECT_TRUE(IsNumber(0xB2) && IsNumber(0x663) && IsNumber(0x2160));
  EXPECT_TRUE(IsPunctuation('$') && IsPunctuation(0x3002));
  EXPECT_FALSE(IsPunctuation(0x20AC));
}

}  // namespace
}  // namespace ninfer
