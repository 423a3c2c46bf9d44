// The tables of a tokenizer as a plan stores them: damage is refused or harmless, never a crash.
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/text_testing.h"
#include "text/detokenizer.h"
#include "text/tables.h"
#include "text/tables_format.h"

namespace ninfer {
namespace {

std::string TablesOf(const std::string& name) {
  const auto tokenizer = Tokenizer::FromFolder(ZooPath(name));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return (*tokenizer)->Serialize();
}

// Uses a tokenizer that may have been made of damaged tables.
void Use(const Tokenizer& tokenizer) {
  const Ids ids = tokenizer.Encode("Hello <s>w\u00f6rld</s>  12 \u72d0\U0001F98A\n\n's", true);
  tokenizer.Decode(ids, true);
  IncrementalDetokenizer detokenizer(&tokenizer, false);
  for (int32_t id = -2; id < 300; ++id) {
    detokenizer.Append(id);
    tokenizer.IdToPiece(id);
  }
  detokenizer.Finish();
  tokenizer.PieceToId("a");
}

TEST(TextTablesTest, TablesCutAnywhereAreRefused) {
  const std::string bytes = TablesOf("llama3");
  for (size_t size = 0; size < bytes.size(); size += size < 256 ? 1 : 61) {
    const auto tokenizer = Tokenizer::Deserialize(absl::string_view(bytes).substr(0, size));
    ASSERT_FALSE(tokenizer.ok()) << size;
  }
  EXPECT_FALSE(Tokenizer::Deserialize(bytes + "x").ok());
}

TEST(TextTablesTest, TablesWithAnyByteFlippedAreRefusedOrHarmless) {
  std::mt19937 random(3);
  for (const char* name : {"llama3", "spm-bpe", "added-flags", "xlm-roberta", "bert-cased"}) {
    const std::string bytes = TablesOf(name);
    for (size_t i = 0; i < bytes.size(); i += 1 + random() % (i < 256 ? 1 : 97)) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << random() % 8));
      const auto tokenizer = Tokenizer::Deserialize(damaged);
      if (tokenizer.ok()) Use(**tokenizer);
    }
  }
}

TEST(TextTablesTest, RefusalsNameWhatWasExpected) {
  std::string bytes = TablesOf("gpt2");
  EXPECT_EQ(Tokenizer::Deserialize("").status().message(),
            "tokenizer tables: damaged: shorter than its header");
  EXPECT_EQ(Tokenizer::Deserialize(std::string(1000, 'x')).status().message(),
            "tokenizer tables: damaged: no magic number");
  EXPECT_EQ(Tokenizer::Deserialize(bytes + "12345678").status().message(),
            absl::StrCat("tokenizer tables: expected ", bytes.size(), " bytes, found ",
                         bytes.size() + 8));
  bytes[4] = 9;
  EXPECT_EQ(Tokenizer::Deserialize(bytes).status().message(),
            "tokenizer tables: expected version 2, found 9");
}

TEST(TextTablesTest, EverySectionIsCheckedAgainstTheBlock) {
  const std::string bytes = TablesOf("gpt2");
  for (int section = 0; section < kSectionCount; ++section) {
    for (const uint64_t value : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{bytes.size()} + 8}) {
      for (const bool offset : {false, true}) {
        std::string damaged = bytes;
        TablesHeader header;
        std::memcpy(&header, damaged.data(), sizeof(header));
        (offset ? header.sections[section].offset : header.sections[section].count) = value;
        std::memcpy(damaged.data(), &header, sizeof(header));
        EXPECT_FALSE(Tokenizer::Deserialize(damaged).ok()) << section;
      }
    }
  }
}

TEST(TextTablesTest, UnalignedBytesLoad) {
  const std::string bytes = absl::StrCat("x", TablesOf("gpt2"));
  const auto tokenizer = Tokenizer::Deserialize(absl::string_view(bytes).substr(1));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  Use(**tokenizer);
}

TEST(TextTablesTest, TheSameTokenizerGivesTheSameBytes) {
  EXPECT_EQ(TablesOf("gemma"), TablesOf("gemma"));
}

}  // namespace
}  // namespace ninfer
