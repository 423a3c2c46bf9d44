// Byte pair encoding over tables: one word in, ids out.
//
// The pair of neighbours with the lowest rank merges first, the leftmost of equals, until none is
// left (Sennrich et al. 2016, arXiv:1508.07909). Two kinds: with a list of merges (Hugging Face
// tokenizers), and by pieces, where any two symbols merge whose joined text is a piece
// (SentencePiece). Short words scan for the best pair; long ones use a heap, so that a megabyte
// without a blank stays n log n.
// Tested by tests/text_zoo_test.cc and tests/text_robustness_test.cc.
#ifndef NINFER_TEXT_BPE_H_
#define NINFER_TEXT_BPE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "text/tables.h"

namespace ninfer {

// Ids of words that were seen before in the same text.
class WordCache {
 public:
  struct Entry {
    uint64_t hash = 0;
    uint32_t text = 0;
    uint32_t text_size = 0;
    uint32_t ids = 0;
    uint32_t ids_size = 0;  // 0: empty
  };
  const Entry* Find(uint64_t hash, absl::string_view text) const;
  void Insert(uint64_t hash, absl::string_view text, const int32_t* ids, size_t count);
  const int32_t* ids(const Entry& entry) const { return ids_.data() + entry.ids; }

 private:
  std::vector<Entry> entries_;
  size_t used_ = 0;
  std::string text_;
  std::vector<int32_t> ids_;
};

// What one Encode call keeps between words.
struct BpeScratch {
  struct Symbol {
    int32_t id;  // -1: no piece has this text (SentencePiece only)
    uint32_t begin;
    uint32_t end;
    uint32_t rank;    // of the merge with the next symbol, or kNoRank
    uint32_t result;  // what that merge gives
  };
  std::vector<Symbol> symbols;
  std::vector<uint32_t> previous;
  std::vector<uint32_t> next;
  WordCache cache;
};

class Bpe {
 public:
  // `tables` must outlive the model.
  explicit Bpe(const Tables* tables);

  // Appends the ids of `word` (valid UTF-8, under 2 GiB).
  void Encode(absl::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;

  // Runs the merges over `word`, without cache or short cuts.
  void EncodeWord(absl::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;

 private:
  bool Has(ModelFlag flag) const { return (tables_->model_flags & flag) != 0; }
  int32_t FindInModel(absl::string_view text) const;
  int32_t FindCharacter(absl::string_view character) const;
  void EncodeOneWord(absl::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;
  void SplitCharacters(absl::string_view word, BpeScratch* scratch) const;
  void SplitCharactersByPiece(absl::string_view word, BpeScratch* scratch) const;
  void FindPair(absl::string_view word, BpeScratch::Symbol* left,
                const BpeScratch::Symbol& right) const;
  void MergeShort(absl::string_view word, BpeScratch* scratch) const;
  void MergeLong(absl::string_view word, BpeScratch* scratch) const;
  void EmitByPiece(absl::string_view word, const BpeScratch& scratch,
                   std::vector<int32_t>* ids) const;

  const Tables* tables_;
  bool affixes_;                       // a prefix or suffix is put on characters
  std::array<int32_t, 256> byte_ids_;  // <0x00> to <0xFF>, or -1
  bool has_all_bytes_;
  std::array<int32_t, 0x180> character_ids_;  // of the first characters, or -1
};

}  // namespace ninfer

#endif  // NINFER_TEXT_BPE_H_
