// Tested by tests/text_trie_test.cc.
#include "text/trie.h"

#include <algorithm>

#include "text/spec.h"

namespace ninfer {

TrieArrays BuildTrie(std::vector<std::pair<absl::string_view, uint32_t>> keys) {
  std::sort(keys.begin(), keys.end());
  struct Range {  // the keys below a node, and how many bytes they share
    size_t begin;
    size_t end;
    size_t depth;
  };
  TrieArrays trie;
  std::vector<Range> nodes = {{0, keys.size(), 0}};
  trie.labels.push_back(0);
  for (size_t node = 0; node < nodes.size(); ++node) {
    Range range = nodes[node];
    uint32_t value = kNoRank;
    if (range.begin < range.end && keys[range.begin].first.size() == range.depth) {
      value = keys[range.begin++].second;
    }
    trie.values.push_back(value);
    trie.first.push_back(static_cast<uint32_t>(nodes.size()));
    while (range.begin < range.end) {
      const char byte = keys[range.begin].first[range.depth];
      size_t end = range.begin;
      while (end < range.end && keys[end].first[range.depth] == byte) ++end;
      nodes.push_back({range.begin, end, range.depth + 1});
      trie.labels.push_back(static_cast<uint8_t>(byte));
      range.begin = end;
    }
  }
  trie.first.push_back(static_cast<uint32_t>(nodes.size()));
  return trie;
}

bool Trie::IsSound(uint32_t limit) const {
  const size_t n = labels.size();
  if (n == 0 || values.size() != n || first.size() != n + 1 || first[n] != n) return false;
  for (size_t node = 0; node < n; ++node) {
    // A child behind its parent: no walk comes back.
    if (first[node] <= node || first[node] > first[node + 1]) return false;
    if (values[node] != kNoRank && values[node] >= limit) return false;
  }
  return true;
}

}  // namespace ninfer
