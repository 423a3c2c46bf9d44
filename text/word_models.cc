// Tested by tests/text_zoo_test.cc.
#include "text/word_models.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ninfer {

WordPiece::WordPiece(const Tables* tables) : WordModel(tables) {
  std::vector<std::pair<absl::string_view, uint32_t>> keys;
  for (uint32_t id = 0; id < tables->vocab_size; ++id) {
    if ((tables->flags[id] & kInModel) == 0 || tables->piece(id).empty()) continue;
    keys.emplace_back(tables->piece(id), id);
  }
  // Tables that were damaged may have a piece twice.
  const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end(), same), keys.end());
  arrays_ = BuildTrie(std::move(keys));
  trie_ = {arrays_.first, arrays_.labels, arrays_.values};
  inner_ = Trie::kRoot;
  for (const char c : tables->program.continuing_subword_prefix) {
    inner_ = trie_.Child(inner_, static_cast<uint8_t>(c));
    has_inner_ = inner_ != Trie::kRoot;
    if (!has_inner_) break;
  }
}

void WordPiece::EncodeWord(absl::string_view word, ModelScratch*, std::vector<int32_t>* ids) const {
  const Program& program = tables_->program;
  const size_t before = ids->size();
  size_t characters = 0;
  for (const char c : word) characters += (c & 0xC0) != 0x80;
  bool known = characters <= program.max_word;
  for (size_t start = 0; known && start < word.size();) {
    uint32_t node = start > 0 ? inner_ : Trie::kRoot;
    size_t end = start;
    uint32_t id = kNoRank;
    for (size_t at = start; at < word.size() && (start == 0 || has_inner_);) {
      node = trie_.Child(node, static_cast<uint8_t>(word[at++]));
      if (node == Trie::kRoot) break;
      const bool whole = at == word.size() || (word[at] & 0xC0) != 0x80;
      if (!whole || trie_.values[node] == kNoRank) continue;
      id = trie_.values[node];
      end = at;
    }
    known = id != kNoRank;
    if (known) ids->push_back(static_cast<int32_t>(id));
    start = end;
  }
  if (known) return;
  ids->resize(before);
  ids->push_back(program.unk_id);
}

void WordLevel::EncodeWord(absl::string_view word, ModelScratch*, std::vector<int32_t>* ids) const {
  const int32_t id = FindInModel(word);
  ids->push_back(id >= 0 ? id : tables_->program.unk_id);
}

}  // namespace ninfer
