// Text to token ids and back: BPE, Unigram, WordPiece and WordLevel, with the normalizers,
// pre-tokenizers and decoders of Hugging Face tokenizers and of SentencePiece.
//
// A tokenizer is a block of tables (text/tables.h) and what little is set up over it at load. It is
// made from a model folder at compile time (which needs the readers of tokenizer.json and
// tokenizer.model), stored in a plan, and used in place at run time, without those readers. It
// agrees id for id with Hugging Face tokenizers, and for tokenizer.model with SentencePiece; the
// special tokens of a tokenizer.model are recognised in text, as transformers does.
//
// Text that is not UTF-8 is repaired first: each maximal ill-formed part becomes U+FFFD.
// Tested by tests/text_zoo_test.cc, tests/text_models_test.cc and tests/text_robustness_test.cc.
#ifndef NINFER_TEXT_TOKENIZER_H_
#define NINFER_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace ninfer {

class DecodeChain;
struct TokenizerSpec;

// What a folder has of a tokenizer that is read from two files, where one is missing, for a
// message: " (vocab.json is there, merges.txt is not)"; else empty.
absl::StatusOr<std::string> IncompleteTokenizer(const std::string& folder);

// Immutable, and safe to use from several threads.
class Tokenizer {
 public:
  // Reads the first that there is of tokenizer.json, tokenizer.model, vocab.json with merges.txt,
  // encoder.json with vocab.bpe, tekken.json, NAME.tiktoken and vocab.txt, and what
  // tokenizer_config.json and its companions add. Null where the folder has none of them.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromFolder(const std::string& folder);
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromSpec(TokenizerSpec spec);
  // The tables that `Serialize` gave. Copies `bytes`.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Deserialize(absl::string_view bytes);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  std::string Serialize() const;

  // `add_special_tokens` puts around the text what the tokenizer's post-processor says (BOS, EOS).
  // Special tokens that are spelled out in the text are recognised unless `special_in_text` is
  // false; then they are ordinary text, while added tokens that are not special are still found.
  std::vector<int32_t> Encode(absl::string_view text, bool add_special_tokens,
                              bool special_in_text = true) const;

  // Two texts as one input, as the post-processor joins them, with the type of each id.
  struct Pair {
    std::vector<int32_t> ids;
    std::vector<uint32_t> type_ids;
  };
  Pair EncodePair(absl::string_view first, absl::string_view second) const;

  // Ids that the vocabulary does not have are left out. For a stream, see text/detokenizer.h.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const;

  std::string IdToPiece(int32_t id) const;  // empty for an id that has no piece
  absl::optional<int32_t> PieceToId(absl::string_view piece) const;
  int32_t vocab_size() const;  // the highest id + 1
  bool IsSpecial(int32_t id) const;

  // What Encode puts before and behind a text.
  absl::Span<const int32_t> prefix_ids() const;
  absl::Span<const int32_t> suffix_ids() const;

 private:
  friend class IncrementalDetokenizer;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<DecodeChain> NewDecodeChain() const;
  // Hands the piece of `id` to the chain, unless it is unknown or to be skipped.
  void PushPiece(int32_t id, bool skip_special_tokens, DecodeChain* chain) const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace ninfer

#endif  // NINFER_TEXT_TOKENIZER_H_
