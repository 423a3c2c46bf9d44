// Tested by tests/text_zoo_test.cc and tests/text_robustness_test.cc.
#include "text/detokenizer.h"

#include "text/decode.h"

namespace ninfer {

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer* tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer),
      skip_special_tokens_(skip_special_tokens),
      chain_(tokenizer->NewDecodeChain()) {}

IncrementalDetokenizer::~IncrementalDetokenizer() = default;

std::string IncrementalDetokenizer::Append(int32_t id) {
  tokenizer_->PushPiece(id, skip_special_tokens_, chain_.get());
  return chain_->Take();
}

std::string IncrementalDetokenizer::Finish() {
  chain_->Finish();
  return chain_->Take();
}

}  // namespace ninfer
