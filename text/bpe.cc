// Merging, and what happens to characters that no piece has (byte pieces, unknown token, nothing):
// the rules and their order are those of Hugging Face tokenizers (models/bpe) and of SentencePiece
// (bpe_model.cc).
// Tested by tests/text_zoo_test.cc and tests/text_robustness_test.cc.
#include "text/bpe.h"

#include <algorithm>
#include <queue>

#include "absl/strings/str_cat.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

constexpr size_t kShortWord = 40;  // symbols; up to here a scan beats a heap
constexpr uint32_t kNone = 0xFFFFFFFF;

using Symbol = ModelScratch::Symbol;

}  // namespace

Bpe::Bpe(const Tables* tables) : WordModel(tables) {
  affixes_ = !tables->program.continuing_subword_prefix.empty() ||
             !tables->program.end_of_word_suffix.empty();
  for (char32_t c = 0; c < character_ids_.size(); ++c) {
    std::string character;
    AppendUtf8(c, &character);
    character_ids_[c] = FindInModel(character);
  }
}

int32_t Bpe::FindCharacter(absl::string_view character) const {
  if (character.size() <= 2) {
    const char32_t c = DecodeAt(character, 0).value;
    if (c < character_ids_.size()) return character_ids_[c];
  }
  return FindInModel(character);
}

void Bpe::EncodeWord(absl::string_view word, ModelScratch* scratch,
                     std::vector<int32_t>* ids) const {
  scratch->symbols.clear();
  if (Has(kByPieceFlag)) {
    SplitCharactersByPiece(word, scratch);
  } else {
    SplitCharacters(word, scratch);
  }
  std::vector<Symbol>& symbols = scratch->symbols;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) FindPair(word, &symbols[i], symbols[i + 1]);
  if (symbols.size() <= kShortWord) {
    MergeShort(word, scratch);
  } else {
    MergeLong(word, scratch);
  }
  if (Has(kByPieceFlag)) {
    EmitByPiece(word, *scratch, ids);
    return;
  }
  for (const Symbol& symbol : symbols) ids->push_back(symbol.id);
}

void Bpe::SplitCharacters(absl::string_view word, ModelScratch* scratch) const {
  const Program& program = tables_->program;
  std::string spelled;
  bool unknown = false;  // an unknown token waits: more of them may fuse with it
  const auto add = [&](int32_t id) { scratch->symbols.push_back({id, 0, 0, kNoRank, 0}); };
  for (size_t pos = 0; pos < word.size();) {
    const size_t length = Utf8Length(word[pos]);
    absl::string_view character = word.substr(pos, length);
    if (affixes_) {
      spelled.clear();
      if (pos > 0) spelled = program.continuing_subword_prefix;
      absl::StrAppend(&spelled, character);
      if (pos + length == word.size()) spelled += program.end_of_word_suffix;
      character = spelled;
    }
    pos += length;
    const int32_t id = affixes_ ? FindInModel(character) : FindCharacter(character);
    if (id >= 0) {
      if (unknown) add(program.unk_id);
      unknown = false;
      add(id);
      continue;
    }
    if (Has(kByteFallbackFlag) && HasBytes(character)) {
      for (const char c : character) add(byte_ids_[static_cast<uint8_t>(c)]);
    } else if (program.unk_id >= 0) {
      if (unknown && !Has(kFuseUnkFlag)) add(program.unk_id);
      unknown = true;
    }
  }
  if (unknown) add(program.unk_id);
}

void Bpe::SplitCharactersByPiece(absl::string_view word, ModelScratch* scratch) const {
  for (size_t pos = 0; pos < word.size();) {
    const size_t length = Utf8Length(word[pos]);
    const int32_t id = FindCharacter(word.substr(pos, length));
    scratch->symbols.push_back(
        {id, static_cast<uint32_t>(pos), static_cast<uint32_t>(pos + length), kNoRank, 0});
    pos += length;
  }
}

void Bpe::FindPair(absl::string_view word, Symbol* left, const Symbol& right) const {
  left->rank = kNoRank;
  if (Has(kByPieceFlag)) {
    const int32_t id = FindInModel(word.substr(left->begin, right.end - left->begin));
    if (id < 0) return;
    left->rank = tables_->ranks[id];
    left->result = static_cast<uint32_t>(id);
    return;
  }
  const MergeSlot* slot =
      tables_->FindMerge(static_cast<uint32_t>(left->id), static_cast<uint32_t>(right.id));
  if (slot == nullptr) return;
  left->rank = slot->rank;
  left->result = slot->result;
}

void Bpe::MergeShort(absl::string_view word, ModelScratch* scratch) const {
  std::vector<Symbol>& symbols = scratch->symbols;
  while (symbols.size() > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < symbols.size(); ++i) {
      if (symbols[i].rank < symbols[best].rank) best = i;
    }
    if (symbols[best].rank == kNoRank) return;
    symbols[best].id = static_cast<int32_t>(symbols[best].result);
    symbols[best].end = symbols[best + 1].end;
    symbols.erase(symbols.begin() + best + 1);
    if (best + 1 < symbols.size()) {
      FindPair(word, &symbols[best], symbols[best + 1]);
    } else {
      symbols[best].rank = kNoRank;
    }
    if (best > 0) FindPair(word, &symbols[best - 1], symbols[best]);
  }
}

void Bpe::MergeLong(absl::string_view word, ModelScratch* scratch) const {
  struct Candidate {
    uint32_t rank;
    uint32_t left;
    uint32_t right;
    uint32_t result;
    bool operator<(const Candidate& other) const {  // the heap's top is the lowest rank
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  std::vector<Symbol>& symbols = scratch->symbols;
  std::vector<uint32_t>& previous = scratch->previous;
  std::vector<uint32_t>& next = scratch->next;
  const uint32_t n = static_cast<uint32_t>(symbols.size());
  previous.resize(n);
  next.resize(n);
  std::vector<Candidate> initial;
  for (uint32_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == n ? kNone : i + 1;
    if (symbols[i].rank != kNoRank) {
      initial.push_back({symbols[i].rank, i, i + 1, symbols[i].result});
    }
  }
  std::priority_queue<Candidate> heap(std::less<Candidate>(), std::move(initial));
  const auto propose = [&](uint32_t left) {
    if (left == kNone || next[left] == kNone) return;
    Symbol& symbol = symbols[left];
    FindPair(word, &symbol, symbols[next[left]]);
    if (symbol.rank != kNoRank) heap.push({symbol.rank, left, next[left], symbol.result});
  };
  constexpr int32_t kGone = -2;
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    Symbol& left = symbols[top.left];
    // A candidate is stale once either symbol has merged with another neighbour since.
    if (left.id == kGone || next[top.left] != top.right || left.rank != top.rank ||
        left.result != top.result) {
      continue;
    }
    left.id = static_cast<int32_t>(top.result);
    left.end = symbols[top.right].end;
    left.rank = kNoRank;
    symbols[top.right].id = kGone;
    next[top.left] = next[top.right];
    if (next[top.left] != kNone) previous[next[top.left]] = top.left;
    propose(previous[top.left]);
    propose(top.left);
  }
  symbols.erase(std::remove_if(symbols.begin(), symbols.end(),
                               [](const Symbol& symbol) { return symbol.id == kGone; }),
                symbols.end());
}

void Bpe::EmitByPiece(absl::string_view word, const ModelScratch& scratch,
                      std::vector<int32_t>* ids) const {
  bool after_unknown = false;
  for (const Symbol& symbol : scratch.symbols) {
    if (symbol.id >= 0) {
      ids->push_back(symbol.id);
      after_unknown = false;
    } else if (Has(kByteFallbackFlag) && has_all_bytes_) {
      for (uint32_t i = symbol.begin; i < symbol.end; ++i) {
        ids->push_back(byte_ids_[static_cast<uint8_t>(word[i])]);
      }
    } else if (tables_->program.unk_id >= 0) {
      if (!after_unknown || !Has(kFuseUnkFlag)) ids->push_back(tables_->program.unk_id);
      after_unknown = true;
    }
  }
}

}  // namespace ninfer
