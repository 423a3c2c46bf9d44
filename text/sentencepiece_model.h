// The reader of SentencePiece's tokenizer.model. Compile side only.
// Tested by tests/text_sentencepiece_test.cc.
#ifndef NINFER_TEXT_SENTENCEPIECE_MODEL_H_
#define NINFER_TEXT_SENTENCEPIECE_MODEL_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "text/spec_builder.h"

namespace ninfer {

struct SentencePieceOptions {
  bool add_bos = true;
  bool add_eos = false;
  // transformers' "legacy": every piece of text between special tokens gets the dummy prefix, not
  // only the start of the text.
  bool prefix_everywhere = false;
};

absl::Status ReadSentencePieceModel(absl::string_view bytes, absl::string_view name,
                                    const SentencePieceOptions& options, SpecBuilder* builder);

}  // namespace ninfer

#endif  // NINFER_TEXT_SENTENCEPIECE_MODEL_H_
