// The prefix tree against a search through the list of keys.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "text/spec.h"
#include "text/trie.h"

namespace ninfer {
namespace {

Trie View(const TrieArrays& arrays) {
  Trie trie;
  trie.first = arrays.first;
  trie.labels = arrays.labels;
  trie.values = arrays.values;
  return trie;
}

TEST(TextTrieTest, FindsEveryKeyThatBeginsAText) {
  std::mt19937 random(3);
  std::map<std::string, uint32_t> keys;
  const auto word = [&](size_t longest) {
    std::string text;
    for (size_t i = 1 + random() % longest; i > 0; --i) text += "ab\xC3\xA9\xFF\x01"[random() % 6];
    return text;
  };
  for (uint32_t i = 0; i < 500; ++i) keys.emplace(word(6), i);
  std::vector<std::pair<absl::string_view, uint32_t>> list(keys.begin(), keys.end());
  const TrieArrays arrays = BuildTrie(list);
  const Trie trie = View(arrays);
  ASSERT_TRUE(trie.IsSound(500));
  for (int round = 0; round < 2000; ++round) {
    const std::string text = word(9);
    uint32_t node = Trie::kRoot;
    bool gone = false;
    for (size_t size = 1; size <= text.size(); ++size) {
      if (!gone) node = trie.Child(node, static_cast<uint8_t>(text[size - 1]));
      gone = gone || node == Trie::kRoot;
      const auto it = keys.find(text.substr(0, size));
      ASSERT_EQ(gone ? kNoRank : trie.values[node], it == keys.end() ? kNoRank : it->second);
    }
  }
}

TEST(TextTrieTest, DamagedArraysAreNotSound) {
  const TrieArrays good = BuildTrie({{"ab", 0}, {"ac", 1}, {"b", 2}});
  EXPECT_TRUE(View(good).IsSound(3));
  EXPECT_FALSE(View(good).IsSound(2));  // a value beyond
  TrieArrays bad = good;
  bad.first[1] = 1;  // a node that is its own child
  EXPECT_FALSE(View(bad).IsSound(3));
  bad = good;
  bad.first.back() = 100;
  EXPECT_FALSE(View(bad).IsSound(3));
  bad = good;
  bad.labels.pop_back();
  EXPECT_FALSE(View(bad).IsSound(3));
  EXPECT_FALSE(View(TrieArrays()).IsSound(3));
}

}  // namespace
}  // namespace ninfer
