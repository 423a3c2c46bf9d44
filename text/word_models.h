// WordPiece (the longest piece first, from the left) and WordLevel (whole words only).
// Tested by tests/text_zoo_test.cc.
#ifndef NINFER_TEXT_WORD_MODELS_H_
#define NINFER_TEXT_WORD_MODELS_H_

#include "text/model.h"
#include "text/trie.h"

namespace ninfer {

// A word of which any part has no piece is one unknown token; so is a word of more than
// Program::max_word characters.
class WordPiece : public WordModel {
 public:
  explicit WordPiece(const Tables* tables);
  void EncodeWord(absl::string_view word, ModelScratch* scratch,
                  std::vector<int32_t>* ids) const override;

 private:
  TrieArrays arrays_;
  Trie trie_;                     // of the pieces
  uint32_t inner_ = Trie::kRoot;  // behind the continuing prefix
  bool has_inner_ = true;         // some piece has that prefix
};

class WordLevel : public WordModel {
 public:
  explicit WordLevel(const Tables* tables) : WordModel(tables) {}
  void EncodeWord(absl::string_view word, ModelScratch* scratch,
                  std::vector<int32_t>* ids) const override;
};

}  // namespace ninfer

#endif  // NINFER_TEXT_WORD_MODELS_H_
