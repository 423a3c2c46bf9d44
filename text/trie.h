// A prefix tree over bytes, stored flat. Nodes lie in breadth-first order, so that the children of
// a node are neighbours, sorted by their byte.
//
//   first    u32[nodes + 1]: the children of node n are first[n] up to first[n + 1]
//   labels   u8[nodes]: the byte that leads to a node
//   values   u32[nodes]: what ends at a node, or kNoRank
//
// Tested by tests/text_trie_test.cc.
#ifndef NINFER_TEXT_TRIE_H_
#define NINFER_TEXT_TRIE_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ninfer {

struct TrieArrays {
  std::vector<uint32_t> first;
  std::vector<uint8_t> labels;
  std::vector<uint32_t> values;
};

// `keys` with their values; no key is empty or comes twice.
TrieArrays BuildTrie(std::vector<std::pair<absl::string_view, uint32_t>> keys);

struct Trie {
  static constexpr uint32_t kRoot = 0;  // also: no such child

  absl::Span<const uint32_t> first;
  absl::Span<const uint8_t> labels;
  absl::Span<const uint32_t> values;

  // Whether the arrays fit together, and no value is `limit` or more.
  bool IsSound(uint32_t limit) const;

  uint32_t Child(uint32_t node, uint8_t byte) const {
    uint32_t low = first[node];
    uint32_t high = first[node + 1];
    while (high - low > 1) {
      const uint32_t middle = low + (high - low) / 2;
      (labels[middle] <= byte ? low : high) = middle;
    }
    return low < high && labels[low] == byte ? low : kRoot;
  }
};

}  // namespace ninfer

#endif  // NINFER_TEXT_TRIE_H_
