// Decoders: pieces back to text, as a chain of stages that take one piece at a time.
//
// Decoding a whole list and decoding a stream are the same chain, so that they cannot differ. A
// stage passes text on as soon as it is certain. What is not certain is held: an unfinished
// character, a run of byte pieces (<0x41>), which is replaced as a whole if it is not UTF-8, and
// the last piece before a BPE suffix rule.
// Tested by tests/text_components_test.cc and tests/text_zoo_test.cc.
#ifndef NINFER_TEXT_DECODE_H_
#define NINFER_TEXT_DECODE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "text/normalize.h"

namespace ninfer {

// One stage: pieces arrive as fragments of text, each piece closed by EndPiece.
class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void Text(absl::string_view text) = 0;
  virtual void EndPiece() = 0;
  virtual void Finish() = 0;  // no more pieces; passes on to the next stage
};

class DecodeChain {
 public:
  // The steps must outlive the chain. Without a decoder, pieces are joined with blanks.
  DecodeChain(absl::Span<const CompiledStep> steps, bool has_decoder);

  DecodeChain(const DecodeChain&) = delete;
  DecodeChain& operator=(const DecodeChain&) = delete;

  void Push(absl::string_view piece);
  void Finish();
  // The text that has become certain since the last call.
  std::string Take() {
    std::string taken;
    taken.swap(out_);
    return taken;
  }

 private:
  std::string out_;
  size_t pushed_ = 0;                                 // bytes of all pieces
  std::vector<std::unique_ptr<DecodeStage>> stages_;  // from the last to the first
};

}  // namespace ninfer

#endif  // NINFER_TEXT_DECODE_H_
