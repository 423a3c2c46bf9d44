// The Unigram language model (Kudo 2018, arXiv:1804.10959): of all ways to cut a word into pieces,
// the one with the best sum of scores.
// Tested by tests/text_zoo_test.cc and tests/text_sentencepiece_test.cc.
#ifndef NINFER_TEXT_UNIGRAM_H_
#define NINFER_TEXT_UNIGRAM_H_

#include "text/model.h"

namespace ninfer {

class Unigram : public WordModel {
 public:
  explicit Unigram(const Tables* tables) : WordModel(tables) {}
  void EncodeWord(absl::string_view word, ModelScratch* scratch,
                  std::vector<int32_t>* ids) const override;

 private:
  void FindPaths(absl::string_view word, ModelScratch* scratch) const;
  void EmitUnknown(absl::string_view text, std::vector<int32_t>* ids) const;
};

}  // namespace ninfer

#endif  // NINFER_TEXT_UNIGRAM_H_
