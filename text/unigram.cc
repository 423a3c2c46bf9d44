// One pass from left to right keeps the best path to the end of every character; of equal paths the
// one found first, which starts furthest left. The order of additions and comparisons is that of
// Hugging Face tokenizers (doubles) and of SentencePiece (floats): pieces with equal sums are told
// apart by rounding alone. Tested by tests/text_zoo_test.cc and tests/text_sentencepiece_test.cc.
#include "text/unigram.h"

#include <algorithm>

#include "text/unicode.h"

namespace ninfer {
namespace {

constexpr uint32_t kUnreached = 0xFFFFFFFF;

}  // namespace

void Unigram::FindPaths(absl::string_view word, ModelScratch* scratch) const {
  const Trie& trie = tables_->trie;
  const int32_t unk_id = tables_->program.unk_id;
  const double unk_score = tables_->program.unk_score;
  const bool as_float = Has(kFloatScoresFlag);
  std::vector<ModelScratch::Node>& nodes = scratch->nodes;
  nodes.assign(word.size() + 1, {0, kUnreached, -1});
  const auto reach = [&](size_t end, size_t from, int32_t id, double sum) {
    ModelScratch::Node& node = nodes[end];
    const double score = as_float ? static_cast<float>(sum) : sum;
    if (node.from != kUnreached && !(score > node.score)) return;
    node = {score, static_cast<uint32_t>(from), id};
  };
  for (size_t start = 0; start < word.size();) {
    const double here = nodes[start].score;
    const size_t next = start + Utf8Length(word[start]);
    bool has_character = false;
    uint32_t node = Trie::kRoot;
    for (size_t end = start; end < word.size();) {
      node = trie.Child(node, static_cast<uint8_t>(word[end++]));
      if (node == Trie::kRoot) break;
      const uint32_t id = trie.values[node];
      if (id == kNoRank) continue;
      reach(end, start, static_cast<int32_t>(id), tables_->scores[id] + here);
      has_character = has_character || end == next;
    }
    if (!has_character) reach(next, start, unk_id, unk_score + here);
    start = next;
  }
}

void Unigram::EmitUnknown(absl::string_view text, std::vector<int32_t>* ids) const {
  if (!Has(kFloatScoresFlag)) {
    const int32_t id = FindInModel(text);
    if (id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  if (Has(kByteFallbackFlag) && AppendBytes(text, ids)) return;
  ids->push_back(tables_->program.unk_id);
}

void Unigram::EncodeWord(absl::string_view word, ModelScratch* scratch,
                         std::vector<int32_t>* ids) const {
  FindPaths(word, scratch);
  std::vector<ModelScratch::Node>& nodes = scratch->nodes;
  // The path is found from its end; each node is made to point to the node behind it instead.
  size_t end = word.size();
  uint32_t behind = kUnreached;
  while (end > 0) {
    const uint32_t from = nodes[end].from;
    nodes[end].from = behind;
    behind = static_cast<uint32_t>(end);
    end = from;
  }
  size_t start = 0;
  size_t unknown = 0;  // where the run of unknown characters began that ends at `start`
  for (size_t at = behind; at != kUnreached; at = nodes[at].from) {
    const bool is_unknown = nodes[at].id == tables_->program.unk_id;
    if (!is_unknown) {
      if (unknown < start) EmitUnknown(word.substr(unknown, start - unknown), ids);
      ids->push_back(nodes[at].id);
      unknown = at;
    }
    start = at;
  }
  if (unknown < start) EmitUnknown(word.substr(unknown, start - unknown), ids);
}

}  // namespace ninfer
