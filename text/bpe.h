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
#include "text/model.h"

namespace ninfer {

class Bpe : public WordModel {
 public:
  explicit Bpe(const Tables* tables);

  void EncodeWord(absl::string_view word, ModelScratch* scratch,
                  std::vector<int32_t>* ids) const override;

 private:
  int32_t FindCharacter(absl::string_view character) const;
  void SplitCharacters(absl::string_view word, ModelScratch* scratch) const;
  void SplitCharactersByPiece(absl::string_view word, ModelScratch* scratch) const;
  void FindPair(absl::string_view word, ModelScratch::Symbol* left,
                const ModelScratch::Symbol& right) const;
  void MergeShort(absl::string_view word, ModelScratch* scratch) const;
  void MergeLong(absl::string_view word, ModelScratch* scratch) const;
  void EmitByPiece(absl::string_view word, const ModelScratch& scratch,
                   std::vector<int32_t>* ids) const;

  bool affixes_;                              // a prefix or suffix is put on characters
  std::array<int32_t, 0x180> character_ids_;  // of the first characters, or -1
};

}  // namespace ninfer

#endif  // NINFER_TEXT_BPE_H_
