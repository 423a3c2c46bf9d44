// Ids to text, one at a time, as they are generated.
// Tested by tests/text_zoo_test.cc and tests/text_robustness_test.cc.
#ifndef NINFER_TEXT_DETOKENIZER_H_
#define NINFER_TEXT_DETOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace ninfer {

// What Append and Finish return, joined, is what Tokenizer::Decode gives for all ids at once. Every
// returned text is whole UTF-8 characters. Text is returned as soon as no later id can change it:
// an unfinished character waits, and so does a run of SentencePiece's byte tokens, which decoding
// takes as a whole.
class IncrementalDetokenizer {
 public:
  // `tokenizer` must outlive the detokenizer.
  IncrementalDetokenizer(const Tokenizer* tokenizer, bool skip_special_tokens);
  ~IncrementalDetokenizer();

  std::string Append(int32_t id);
  std::string Finish();  // what is left; no Append may follow

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::unique_ptr<DecodeChain> chain_;
};

}  // namespace ninfer

#endif  // NINFER_TEXT_DETOKENIZER_H_
